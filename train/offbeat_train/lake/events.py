"""What is kept beside samples: alert events, feedback, maintenance.

Rules: each is a row with columns for people and queries, and the whole
object as JSON in ``json``, which alone is read back, so that fields of later
minors survive.  An event is seen once: an alert event by its ``id``, the
rest by all they say.

>>> said = Feedback(id="1", asset="p1", verdict="confirmed", time_ms=1_700_000_000_000)
>>> FEEDBACK.read(FEEDBACK.encode([said]), "part") == [said]
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from offbeat_edge.control import Feedback, Maintenance
from offbeat_edge.schema import AlertEvent
from offbeat_train.errors import LakeError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

STAMP = pa.timestamp("ms", "UTC")
JSON = "json"


R = TypeVar("R", AlertEvent, Feedback, Maintenance)


class Kind(Generic[R]):
    """One folder of events.

    Parameters
    ----------
    folder : its name in the lake.
    record : the events' type.
    columns : name → Arrow type.
    fill : an event as such a row.
    key : what makes an event that one.
    """

    def __init__(
        self,
        *,
        folder: str,
        record: type[R],
        columns: dict[str, Any],
        fill: Callable[[R], dict[str, object]],
        key: Callable[[R], Hashable],
    ) -> None:
        self.folder = folder
        self.record: type[R] = record
        self._schema = pa.schema({**columns, JSON: pa.string()})
        self._fill: Callable[[R], dict[str, object]] = fill
        self._key: Callable[[R], Hashable] = key
        self._decoder: msgspec.json.Decoder[R] = msgspec.json.Decoder(record)

    def once(self, events: Iterable[R]) -> list[R]:
        """Return events in order of their times, each the first time it came."""
        first: dict[Hashable, R] = {}
        for event in events:
            first.setdefault(self._key(event), event)
        return sorted(
            first.values(), key=lambda e: (e.time_ms, e.asset, getattr(e, "seq", 0), e.id)
        )

    def encode(self, events: Sequence[R]) -> bytes:
        """Return events as a Parquet file."""
        rows = [
            {**self._fill(event), JSON: msgspec.json.encode(event).decode()} for event in events
        ]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, schema=self._schema), sink, compression="zstd")
        return bytes(sink.getvalue())

    def read(self, data: memoryview | bytes, path: str) -> list[R]:
        """Read a Parquet file; LakeError names ``path`` when it is none of ours."""
        try:
            table = pq.read_table(pa.BufferReader(pa.py_buffer(data)), columns=[JSON])
            return [self._decoder.decode(text) for text in table.column(JSON).to_pylist()]
        except (pa.ArrowException, KeyError, OSError, TypeError, msgspec.MsgspecError) as error:
            told = " ".join(str(error).split())
            raise LakeError(f"expected a part of {self.folder}, got: {told}", path=path) from error


def _plain(event: Feedback | Maintenance) -> dict[str, object]:
    row = msgspec.structs.asdict(event)
    stamps = {key[:-3]: row.pop(key) for key in ("start_ms", "end_ms", "time_ms")}
    return {**row, **stamps}


def _alert(event: AlertEvent) -> dict[str, object]:
    plain = {name: getattr(event, name) for name in _ALERT if hasattr(event, name)}
    model = event.model
    named = (
        {}
        if model is None
        else {"version": model.version, "bundle": model.bundle, "config": model.config}
    )
    return {
        **plain,
        **named,
        "model": model and model.name,
        "start": event.start_ms,
        "end": event.end_ms,
        "time": event.time_ms,
        "contributions": msgspec.json.encode(event.contributions).decode(),
    }


_text, _number = pa.string(), pa.float64()
_SAID = {
    "schema": _text, "id": _text, "asset": _text, "by": _text, "note": _text,
    "start": STAMP, "end": STAMP, "time": STAMP,
}  # fmt: skip
_ALERT = {
    "id": _text, "alert": _text, "seq": pa.int64(), "type": _text, "kind": _text,
    "severity": _text, "site": _text, "asset": _text, "gateway": _text, "model": _text,
    "version": _text, "bundle": _text, "config": _text, "start": STAMP, "end": STAMP,
    "time": STAMP, "score": _number, "peak": _number, "message": _text, "contributions": _text,
}  # fmt: skip

ALERTS = Kind(
    folder="alerts",
    record=AlertEvent,
    columns=_ALERT,
    fill=_alert,
    key=lambda event: event.id,
)
FEEDBACK = Kind(
    folder="feedback",
    record=Feedback,
    columns={**_SAID, "alert": _text, "verdict": _text},
    fill=_plain,
    key=msgspec.structs.astuple,
)
MAINTENANCE = Kind(
    folder="maintenance",
    record=Maintenance,
    columns={**_SAID, "cancelled": pa.bool_()},
    fill=_plain,
    key=msgspec.structs.astuple,
)
KINDS: tuple[Kind[Any], ...] = (ALERTS, FEEDBACK, MAINTENANCE)
