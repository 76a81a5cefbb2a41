"""What a job needs of the lake: normal rows, incidents, and what people said.

Rules: a `Past` is all that the rest of retraining knows of a lake.  An
incident is a stretch somebody confirmed; its span is what was said, or else
its alert's.  An anomaly alert that nobody confirmed counts as an alarm.

>>> past = LakePast(open_lake("/var/lib/offbeat/lake"))  # doctest: +SKIP
>>> past.normal(("pump1",), start_ms=None, end_ms=None).rows  # doctest: +SKIP
60480
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from offbeat_train.lake.normal import judge, normal_history
from offbeat_train.retrain.measure import Stretch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from offbeat_train.history import History
    from offbeat_train.lake import Lake
    from offbeat_train.lake.normal import Edit

FOREVER = 1 << 53  # ms


class Span(NamedTuple):
    """A stretch of one asset's time, [start, end) in epoch ms."""

    asset: str
    start_ms: int
    end_ms: int


class Said(NamedTuple):
    """What became of the alerts of a stretch of time."""

    alarms: int  # anomaly alerts that nobody confirmed
    false_alarms: int  # alerts that people called false


class Past(Protocol):
    """The history of a fleet."""

    def assets(self) -> Sequence[str]:
        """Every asset's name."""
        ...

    def normal(self, assets: Sequence[str], *, start_ms: int | None, end_ms: int | None) -> History:
        """Normal rows: no confirmed anomalies, no maintenance; false alarms are normal."""
        ...

    def raw(self, asset: str, names: Sequence[str], *, start_ms: int, end_ms: int) -> Stretch:
        """One asset's rows as they came, columns as ``names``."""
        ...

    def incidents(self, assets: Sequence[str], *, end_ms: int | None) -> list[Span]:
        """What people confirmed, in order of asset and time."""
        ...

    def said(self, assets: Sequence[str], *, start_ms: int) -> Said:
        """Count alerts since."""
        ...


class LakePast:
    """A lake as a `Past`.

    Parameters
    ----------
    lake : what `offbeat record` and `offbeat import` wrote.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def assets(self) -> Sequence[str]:
        """Every asset that has samples."""
        return self._lake.assets()

    def normal(self, assets: Sequence[str], *, start_ms: int | None, end_ms: int | None) -> History:
        """Normal rows, by the lake's own rule."""
        return normal_history(self._lake, assets, start_ms, end_ms).history()

    def raw(self, asset: str, names: Sequence[str], *, start_ms: int, end_ms: int) -> Stretch:
        """Rows as they came."""
        frame = self._lake.samples(asset, start_ms, end_ms).reindex(columns=list(names))
        times = self._lake.rows(asset, start_ms, end_ms).times
        return Stretch(times, frame.to_numpy(dtype=np.float64))

    def incidents(self, assets: Sequence[str], *, end_ms: int | None) -> list[Span]:
        """What people confirmed."""
        found = {
            Span(edit.asset, edit.start_ms, edit.end_ms)
            for edit in self._edits(assets, end_ms)
            if edit.why == "confirmed"
        }
        return sorted(found, key=lambda span: (span.start_ms, span.asset))

    def said(self, assets: Sequence[str], *, start_ms: int) -> Said:
        """Count anomaly alerts that began since, and what was said of them."""
        began = {
            event.alert
            for asset in assets
            for event in self._lake.alerts(asset, start_ms=start_ms)
            if event.kind == "anomaly" and event.start_ms >= start_ms
        }
        confirmed, false = set(), set()
        for edit in self._edits(assets, None):
            if edit.why == "confirmed":
                confirmed.add(edit.id)
            elif edit.why == "false_alarm" and edit.start_ms >= start_ms:
                false.add(edit.id)
        return Said(alarms=len(began - confirmed), false_alarms=len(false))

    def _edits(self, assets: Sequence[str], end_ms: int | None) -> Iterator[Edit]:
        for asset in assets:
            yield from judge(
                self._lake.alerts(asset, end_ms=end_ms), self._lake.feedback(asset),
                self._lake.maintenance(asset), end_ms=FOREVER if end_ms is None else end_ms,
            )  # fmt: skip


def digest(history: History) -> str:
    """SHA-256 of a history's rows: sensors, assets, times, values and cuts; hex.

    NaN has one form, so the same rows give the same digest whatever file
    held them.
    """
    total = hashlib.sha256("\0".join(history.sensors).encode())
    for name in sorted(history.assets):
        recording = history.assets[name]
        values = np.where(np.isnan(recording.values), np.nan, recording.values)
        total.update(f"\0\0{name}\0{len(values)}".encode())
        for array, form in ((recording.times_ms, "<i8"), (values, "<f8"), (recording.cuts, "<i8")):
            total.update(np.ascontiguousarray(array, dtype=form).tobytes())
    return total.hexdigest()


def covered_ms(history: History, *, since_ms: int | None, most_gap_ms: int) -> int:
    """Time that rows after ``since_ms`` cover, summed over assets; gaps left out."""
    total = 0
    for recording in history.assets.values():
        for stretch in recording.stretches():
            times = recording.times_ms[stretch]
            times = times if since_ms is None else times[times > since_ms]
            steps = np.diff(times)
            total += int(steps[steps <= most_gap_ms].sum())
    return total
