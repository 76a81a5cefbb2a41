"""What is counted: rows, events, delays, and rankings without a threshold.

Rules: counts of series are added before rates are taken (micro average);
rankings (AUC-PR, VUS-PR) are means over series.  *Rows in alarm* score above
1.0; *alerts* are what the device would have sent.  Never point-adjusted F1,
never a threshold that saw a label.

>>> counts = Counts(tp=8, fp=2, fn=2, tn=88, events=3, caught=2)
>>> counts.rates()["f1"], counts.rates()["fc1"]
(0.8, 0.7272727272727273)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
from sklearn.metrics import average_precision_score, confusion_matrix

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

HOUR_MS = 3_600_000
NO_PERIOD = 125  # rows; TSB-AD's window where the autocorrelation shows no period
SHORTEST_LAG, LONGEST_LAG = 3, 400  # rows
LONGEST_PERIOD = 300  # beyond SHORTEST_LAG; a longer one is none
PERIOD_ROWS = 20_000  # looked at
THRESHOLDS = 250  # of a VUS-PR


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What adds up over series; delays in seconds, NaN-free, of caught events."""

    tp: int = 0  # rows
    fp: int = 0
    fn: int = 0
    tn: int = 0
    events: int = 0
    caught: int = 0  # events that an alarm touches
    alarms: int = 0  # runs of rows, or alerts
    false_alarms: int = 0  # those that touch no event
    normal_hours: float = 0.0
    delays: tuple[float, ...] = ()

    def rates(self) -> dict[str, float]:
        """Turn counts into the figures people compare; 0 where there is nothing to divide."""
        precision, caught = _share(self.tp, self.tp + self.fp), _share(self.caught, self.events)
        missed = self.events - self.caught
        return {
            "f1": _share(2 * self.tp, 2 * self.tp + self.fp + self.fn),
            "far": _share(self.fp, self.fp + self.tn),
            "mar": _share(self.fn, self.fn + self.tp),
            "fc1": _share(2 * precision * caught, precision + caught),
            "overlap_f1": _share(2 * self.caught, 2 * self.caught + self.false_alarms + missed),
            "events_caught": caught,
            "false_alarms_per_hour": _share(self.false_alarms, self.normal_hours),
            "delay_median_s": float(np.median(self.delays)) if self.delays else 0.0,
            "delay_p90_s": float(np.percentile(self.delays, 90)) if self.delays else 0.0,
        }


def pooled(parts: Iterable[Counts]) -> Counts:
    """Add up."""
    names = Counts.__struct_fields__
    several = list(parts)
    totals = {n: sum(getattr(p, n) for p in several) for n in names if n != "delays"}
    return Counts(**totals, delays=tuple(d for part in several for d in part.delays))


def count(labels: Bools, alarms: Ints, told: Ints, times_ms: Ints, *, period_ms: int) -> Counts:
    """Count rows, events and delays.

    Parameters
    ----------
    labels : (N,) true where something was wrong.
    alarms : (A, 2) first and last row of each alarm, in order.
    told : (A,) row at which each became known.
    times_ms : (N,) of the rows.
    period_ms : what a row stands for.
    """
    inside = np.zeros(len(labels), dtype=bool)
    for first, last in alarms.tolist():
        inside[first : last + 1] = True
    tn, fp, fn, tp = confusion_matrix(labels, inside, labels=[False, True]).ravel().tolist()
    events = runs(labels)
    touching = (alarms[:, 0] <= events[:, 1:]) & (alarms[:, 1] >= events[:, :1])  # (E, A)
    caught = touching.any(axis=1)
    delays = []
    for event, touched in zip(events[caught], touching[caught], strict=True):
        row = int(told[touched].min())
        delays.append(max(0.0, float(times_ms[row] - times_ms[event[0]]) / 1000))
    return Counts(
        tp=tp, fp=fp, fn=fn, tn=tn, events=len(events), caught=int(caught.sum()),
        alarms=len(alarms), false_alarms=int((~touching.any(axis=0)).sum()),
        normal_hours=int((~labels).sum()) * period_ms / HOUR_MS, delays=tuple(delays),
    )  # fmt: skip


def runs(flags: Bools) -> Ints:
    """Give first and last row of each stretch of true ones, (n, 2)."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1], axis=1)


def auc_pr(labels: Bools, scores: Floats) -> float | None:
    """Average precision of ``scores`` (N,); None without both kinds of row."""
    if labels.all() or not labels.any():
        return None
    return float(average_precision_score(labels, scores))


def ucr_hit(labels: Bools, scores: Floats, *, slack: int = 100) -> bool:
    """Tell whether the highest of ``scores`` is near the one event: its length, or ``slack``."""
    ((first, last),) = runs(labels).tolist()
    margin = max(slack, last - first + 1)
    return bool(first + 1 - margin < int(np.argmax(scores)) < last + 1 + margin)


def vus_pr(labels: Bools, scores: Floats, *, window: int) -> float | None:
    """Volume under the precision-recall surface, as TSB-AD defines it (Paparrizos et al., 2022).

    For each width up to ``window`` (rows) the labels get shoulders on both
    sides; recall is weighed by the share of events that are touched.  None
    without both kinds of row.
    """
    if labels.all() or not labels.any():
        return None
    rows, events = len(labels), runs(labels)
    falling = np.sort(scores)[::-1]
    threshold = falling[np.linspace(0, rows - 1, THRESHOLDS).astype(np.intp)]
    flagged = np.searchsorted(-falling, -threshold, side="right")
    # A row counts from the first threshold that it reaches.
    reached = np.searchsorted(-threshold, -scores, side="left")
    positives = int(labels.sum())
    hits = np.bincount(reached[labels], minlength=THRESHOLDS + 1)[:THRESHOLDS].cumsum()
    total = 0.0
    for width in range(window + 1):
        at, credit = _shoulders(labels, events, width)
        part = np.bincount(reached[at], weights=credit, minlength=THRESHOLDS + 1)
        partial = part[:THRESHOLDS].cumsum()
        found = hits + partial
        recall = np.minimum(found / (positives + partial / 2), 1.0)
        recall = recall * _touched(events, scores, threshold, width // 2)
        total += float((np.diff(np.concatenate([[0.0], recall])) * (found / flagged)).sum())
    return total / (window + 1)


def vus_window(column: Floats) -> int:
    """Width that TSB-AD takes for a series: the period (rows) of its first sensor, or 125."""
    sample = column[:PERIOD_ROWS]
    away = sample - sample.mean()
    size = 1 << int(2 * len(away)).bit_length()
    spectrum = np.fft.rfft(away, size)
    lags = min(LONGEST_LAG, len(sample) - 1) + 1
    shape = np.fft.irfft(spectrum * np.conj(spectrum), size)[:lags]
    if not np.isfinite(shape).all() or shape[0] <= 0:
        return NO_PERIOD
    shape = (shape / shape[0])[SHORTEST_LAG:]
    inner = shape[1:-1]
    peaks = np.flatnonzero((inner > shape[:-2]) & (inner > shape[2:])) + 1
    if not peaks.size:
        return NO_PERIOD
    best = int(peaks[np.argmax(shape[peaks])])
    return best + SHORTEST_LAG if SHORTEST_LAG <= best <= LONGEST_PERIOD else NO_PERIOD


def _shoulders(labels: Bools, events: Ints, width: int) -> tuple[Ints, Floats]:
    """Give the normal rows beside events, and what finding each is worth (at most 1)."""
    half = width // 2
    if half == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    away = np.arange(1, half + 1)
    worth = np.sqrt(1.0 - away / width)
    at = np.concatenate([events[:, 1:] + away, events[:, :1] - away]).ravel()
    value = np.broadcast_to(worth, (2 * len(events), half)).ravel()
    inside = (at >= 0) & (at < len(labels))
    at, value = at[inside], value[inside]
    value, at = value[~labels[at]], at[~labels[at]]
    rows, place = np.unique(at, return_inverse=True)
    return rows, np.minimum(np.bincount(place, weights=value), 1.0)


def _touched(events: Ints, scores: Floats, threshold: Floats, half: int) -> Floats:
    """Share of events, widened by ``half``, merged where they meet, that a threshold finds."""
    begins, ends = events[:, 0] - half, events[:, 1] + half
    apart = np.concatenate([[True], begins[1:] > ends[:-1]])
    firsts = np.maximum(begins[apart], 0)
    lasts = np.minimum(np.append(ends[:-1][apart[1:]], ends[-1]), len(scores) - 1)
    tops = [scores[a : b + 1].max() for a, b in zip(firsts, lasts, strict=True)]
    share: Floats = (np.array(tops)[None, :] >= threshold[:, None]).mean(axis=1)
    return share


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
