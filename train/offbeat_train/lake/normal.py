"""What of a lake may teach a model what is normal.

The rule, for each asset:

* **Maintenance** that was not taken back is left out, whatever else is said.
* **Confirmed** anomalies are left out: the range the feedback names, or else
  the alert's, from its start to its end.
* **False alarms** and what was **expected** stay in: that is what normal
  looks like, says one who knows.
* An alert (``anomaly``, ``sensor_fault``) that **nobody reviewed** is left
  out, except where a false alarm or something expected overlaps it.  One that
  never ended lasts until the next of its kind, or to the end of the range.
* Of several verdicts on one alert the last one said counts.  Feedback
  without an alert and without a range speaks of the alerts open when it was
  said.

Every range left out, and every one that was put back, is in the audit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from offbeat_edge.schema import iso
from offbeat_train.errors import DataError
from offbeat_train.history import History
from offbeat_train.recordings import Recording

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from offbeat_edge.control import Feedback, Maintenance
    from offbeat_edge.schema import AlertEvent
    from offbeat_train.lake.reader import Lake
    from offbeat_train.lake.rows import Rows

Why = Literal["maintenance", "confirmed", "unreviewed", "false_alarm", "expected"]
JUDGED = ("anomaly", "sensor_fault")  # kinds of alerts that speak of the data
LEFT_OUT = ("maintenance", "confirmed", "unreviewed")


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit: a range of an asset, and what became of it."""

    asset: str
    start_ms: int
    end_ms: int  # the range is [start, end)
    why: Why
    id: str  # of the maintenance, feedback or alert
    by: str = ""
    note: str = ""
    rows: int = 0  # in the range; of those left out, not counted for an earlier line

    @property
    def left_out(self) -> bool:
        """Whether the rows were left out; false: kept as normal on somebody's word."""
        return self.why in LEFT_OUT


class Normal(NamedTuple):
    """Samples to learn from, and what was done to them."""

    frames: dict[str, pd.DataFrame]  # asset → UTC time index, a float64 column a sensor
    edits: tuple[Edit, ...]

    def history(self, sensors: tuple[str, ...] = ()) -> History:
        """Return the frames as ``fit`` takes them; no window spans what was left out.

        Parameters
        ----------
        sensors : those to keep, in order; empty: all, by name.

        Raises
        ------
        DataError : nothing is left, or a sensor is not there.
        """
        return _history(self, sensors)


def normal_history(
    lake: Lake, assets: Iterable[str], start_ms: int | None = None, end_ms: int | None = None
) -> Normal:
    """Return what is normal of some assets in [start, end), and the audit."""
    frames, edits = {}, []
    for asset in assets:
        rows = lake.rows(asset, start_ms, end_ms)
        if not len(rows.times):
            continue
        until = int(rows.times[-1]) + 1 if end_ms is None else end_ms
        found = judge(
            lake.alerts(asset, end_ms=until),
            lake.feedback(asset),
            lake.maintenance(asset),
            end_ms=until,
        )
        kept, counted = _apply(rows, found)
        frames[asset] = rows.frame()[kept]
        edits += [edit for edit in counted if edit.rows]
    return Normal(frames, tuple(edits))


def judge(
    alerts: Sequence[AlertEvent],
    feedback: Sequence[Feedback],
    maintenance: Sequence[Maintenance],
    *,
    end_ms: int,
) -> list[Edit]:
    """Return one asset's edits, by the rule above; strongest first.  Pure."""
    spans = _spans(alerts, end_ms)
    verdicts = _verdicts(spans, feedback)
    edits = [
        Edit(asset=m.asset, start_ms=m.start_ms, end_ms=m.end_ms, why="maintenance", id=m.id,
             by=m.by, note=m.note)
        for m in _standing(maintenance)
    ]  # fmt: skip
    heard = [edit for item in feedback for edit in _said(item, spans)]
    ruling = [edit for edit in heard if verdicts.get(edit.id, edit.why) == edit.why]
    edits += [edit for edit in ruling if edit.left_out]
    kept = [edit for edit in ruling if not edit.left_out]
    unreviewed = [
        Edit(
            asset=span.asset, start_ms=span.start_ms, end_ms=span.end_ms, why="unreviewed", id=name
        )
        for name, span in spans.items()
        if name not in verdicts
    ]
    return [*edits, *kept, *unreviewed]


class Span(NamedTuple):
    """When an alert was open."""

    asset: str
    start_ms: int
    end_ms: int


def _spans(alerts: Sequence[AlertEvent], end_ms: int) -> dict[str, Span]:
    """Return alert id → [start, end)."""
    spans = {}
    for kind in JUDGED:
        of_kind = sorted((e for e in alerts if e.kind == kind), key=lambda e: (e.start_ms, e.seq))
        ends = {event.alert: event.end_ms for event in of_kind if event.end_ms is not None}
        firsts = list({event.alert: event for event in reversed(of_kind)}.values())[::-1]
        nexts = [event.start_ms for event in firsts[1:]] + [end_ms]
        for event, following in zip(firsts, nexts, strict=False):
            end = max(event.start_ms, ends.get(event.alert, following))
            spans[event.alert] = Span(event.asset, event.start_ms, end)
    return spans


def _verdicts(spans: dict[str, Span], feedback: Sequence[Feedback]) -> dict[str, Why]:
    """Return alert id → the last verdict on it."""
    ordered = sorted(feedback, key=lambda item: item.time_ms)
    return {name: item.verdict for item in ordered for name in _meant(item, spans)}


def _meant(item: Feedback, spans: dict[str, Span]) -> list[str]:
    """Return the alerts that feedback speaks of."""
    if item.alert is not None:
        return [item.alert]
    if item.start_ms is not None and item.end_ms is not None:
        return []  # a range speaks for itself
    return [n for n, span in spans.items() if span.start_ms <= item.time_ms < span.end_ms]


def _said(item: Feedback, spans: dict[str, Span]) -> list[Edit]:
    """Return the ranges that feedback speaks of."""
    edits = []
    for name in _meant(item, spans) or [item.id]:
        span = spans.get(name)
        start = item.start_ms if item.start_ms is not None else span and span.start_ms
        end = item.end_ms if item.end_ms is not None else span and span.end_ms
        if start is not None and end is not None:
            edits.append(Edit(asset=item.asset, start_ms=start, end_ms=end, why=item.verdict,
                              id=name, by=item.by, note=item.note))  # fmt: skip
    return edits


def _standing(maintenance: Sequence[Maintenance]) -> list[Maintenance]:
    """Return announcements that were not taken back; the last word on an id counts."""
    ordered = sorted(maintenance, key=lambda m: (m.time_ms, m.cancelled))
    last = {item.id: item for item in ordered}
    return [item for item in last.values() if not item.cancelled]


def _apply(rows: Rows, edits: Sequence[Edit]) -> tuple[NDArray[np.bool_], list[Edit]]:
    """Return which rows stay (N,) bool, and the edits with their rows counted."""
    settled = np.zeros(len(rows.times), dtype=bool)  # decided by a stronger edit
    kept = np.ones(len(rows.times), dtype=bool)
    counted = []
    for edit in edits:
        low, high = np.searchsorted(rows.times, [edit.start_ms, edit.end_ms])
        fresh = ~settled[low:high]
        counted.append(msgspec.structs.replace(edit, rows=int(fresh.sum())))
        if edit.left_out:
            kept[low:high] &= ~fresh
        settled[low:high] = True
    return kept, counted


def _history(normal: Normal, wanted: tuple[str, ...]) -> History:
    frames = {asset: frame for asset, frame in normal.frames.items() if len(frame)}
    if not frames:
        raise DataError("expected normal rows in the lake, got none in that range", got=0)
    known = {str(name) for frame in frames.values() for name in frame.columns}
    if missing := [name for name in wanted if name not in known]:
        raise DataError(f"expected sensors {missing}, got only {', '.join(sorted(known))}")
    sensors = wanted or tuple(sorted(known))
    out = sum(edit.rows for edit in normal.edits if edit.left_out)
    recordings, first = {}, 0
    for asset, frame in frames.items():
        recordings[asset] = _recording(frame, sensors, _ends(normal, asset), first)
        first += len(frame)
    sizes = [len(frame) for frame in frames.values()]
    return History(
        assets=recordings, sensors=sensors, paths=(), rows=first + out, excluded=out, duplicates=0,
        time_said="UTC, of a lake", has_time=True,
        row_asset=np.repeat(np.arange(len(sizes), dtype=np.int64), sizes),
        row_record=np.concatenate([np.arange(size, dtype=np.int64) for size in sizes]),
        notes=tuple(map(_told, normal.edits)), warnings=(), named=bool(wanted),
    )  # fmt: skip


def _ends(normal: Normal, asset: str) -> list[int]:
    return [edit.end_ms for edit in normal.edits if edit.asset == asset and edit.left_out]


def _recording(
    frame: pd.DataFrame, sensors: tuple[str, ...], left_out_until: list[int], first: int
) -> Recording:
    index = pd.DatetimeIndex(frame.index)
    times = index.tz_convert(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    spots = np.unique(np.searchsorted(times, np.array(left_out_until, dtype=np.int64)))
    return Recording(
        times_ms=times,
        values=frame.reindex(columns=list(sensors)).to_numpy(dtype=np.float64),
        row=np.arange(first, first + len(times), dtype=np.int64),
        cuts=spots[(spots > 0) & (spots < len(times))].astype(np.int64),
    )


def _told(edit: Edit) -> str:
    what = "left out" if edit.left_out else "kept as normal"
    who = f" by {edit.by}" if edit.by else ""
    return (
        f"{edit.asset}: {edit.rows} rows from {iso(edit.start_ms)} to {iso(edit.end_ms)} {what}: "
        f"{edit.why.replace('_', ' ')}{who} ({edit.id})"
    )
