"""Messages → what is kept of them: samples, alert events, feedback, maintenance.

Rules: pure; whatever the bytes, nothing is raised; an event whose topic says
another gateway or asset than its payload is refused, like any sample that
cannot be read.  Retained copies of events are taken too: once is once.

>>> intake = Intake(sources=[], max_payload_bytes=1 << 16, max_assets=10)
>>> intake.take("offbeat/fleet/feedback/p1", b"{}", 0, retained=False).rejects[0].reason
'bad_event'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from offbeat_edge.control import Feedback, Maintenance
from offbeat_edge.payload.decoder import Decoder
from offbeat_edge.schema import AlertEvent, Reject, Sample
from offbeat_edge.timestamps import MAX_MS, MIN_MS
from offbeat_edge.topics import NAME, ROOT
from offbeat_train.lake.events import ALERTS, FEEDBACK, MAINTENANCE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offbeat_edge.config import Source

T = TypeVar("T", Feedback, Maintenance)
E = TypeVar("E", AlertEvent, Feedback, Maintenance)
EVENT_FILTERS = (
    ("offbeat/+/asset/+/alert", 1),
    ("offbeat/fleet/feedback/+", 1),
    ("offbeat/fleet/maintenance/+", 1),
)


class Taken(NamedTuple):
    """What one message held."""

    samples: list[Sample]
    events: list[tuple[str, bytes]]  # the lake's folder, JSON
    rejects: list[Reject]


class Intake:
    """Reads messages of all the topics a recorder follows.

    Parameters
    ----------
    sources : the configuration's sources.
    max_payload_bytes : larger payloads are refused unread.
    max_assets : samples of further assets are refused.
    """

    def __init__(
        self, *, sources: Iterable[Source], max_payload_bytes: int, max_assets: int
    ) -> None:
        self._samples = Decoder(sources, max_payload_bytes=max_payload_bytes)
        self._max_bytes = max_payload_bytes
        self._max_assets = max_assets
        self._assets: set[str] = set()
        self._alert = msgspec.json.Decoder(AlertEvent).decode

    def take(self, topic: str, payload: bytes, stamp_ms: int, *, retained: bool) -> Taken:
        """Read one message; ``stamp_ms`` is the time of samples without their own."""
        try:
            if topic.startswith(f"{ROOT}/"):
                return self._event(topic, payload)
            samples, rejects = self._samples.decode(topic, payload, stamp_ms, retained)
        except Exception as error:  # noqa: BLE001 - whatever the bytes, the recorder lives
            return Taken([], [], [Reject("internal", repr(error), topic)])
        known = [sample for sample in samples if self._knows(sample.asset)]
        if len(known) < len(samples):
            detail = f"expected at most {self._max_assets} assets"
            rejects.append(Reject("too_many_assets", detail, topic))
        return Taken(known, [], rejects)

    def _knows(self, asset: str) -> bool:
        if asset not in self._assets:
            if len(self._assets) >= self._max_assets:
                return False
            self._assets.add(asset)
        return True

    def _event(self, topic: str, payload: bytes) -> Taken:
        if len(payload) > self._max_bytes:
            detail = f"expected at most {self._max_bytes} bytes, got {len(payload)}"
            return Taken([], [], [Reject("too_large", detail, topic)])
        try:
            folder, event = self._read(topic.split("/"), payload)
        except (ValueError, msgspec.MsgspecError) as error:
            return Taken([], [], [Reject("bad_event", str(error), topic)])
        return Taken([], [(folder, msgspec.json.encode(event))], [])

    def _read(
        self, levels: list[str], payload: bytes
    ) -> tuple[str, AlertEvent | Feedback | Maintenance]:
        if levels[1:3] == ["fleet", "feedback"]:
            return FEEDBACK.folder, _of(_said(payload, Feedback), levels[3])
        if levels[1:3] == ["fleet", "maintenance"]:
            return MAINTENANCE.folder, _of(_said(payload, Maintenance), levels[3])
        event = _of(self._alert(payload), levels[3])
        if event.gateway != levels[1]:
            raise ValueError(f"expected the gateway {levels[1]!r}, got {event.gateway!r}")
        if not all(MIN_MS <= t <= MAX_MS for t in (event.time_ms, event.start_ms)):
            raise ValueError(f"expected times of 2000 to 2100, got {event.time_ms}")
        return ALERTS.folder, msgspec.structs.replace(event, resent=False)


def _said(payload: bytes, kind: type[T]) -> T:
    """Read what people said; its type's own tag may be absent."""
    fields = msgspec.json.decode(payload)
    if not isinstance(fields, dict):
        raise ValueError("expected an object")  # noqa: TRY004 - of JSON
    tag = kind.__struct_config__.tag
    return msgspec.convert({"control": tag, **fields}, kind)


def _of(event: E, asset: str) -> E:
    if event.asset != asset or not NAME.fullmatch(asset):
        raise ValueError(f"expected the asset {asset!r}, got {event.asset!r}")
    return event
