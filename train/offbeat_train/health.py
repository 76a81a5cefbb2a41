"""Is this history fit to learn from?  What is wrong with it, in figures.

Rules: nothing is changed here; every finding is a sentence with its numbers
and the sensor or asset it is about; cost is linear in the rows.

>>> health = examine(history)  # doctest: +SKIP
>>> health.sensors[0].cadence_ms, health.warnings  # doctest: +SKIP
(1000, ())
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from offbeat_edge.schema import iso
from offbeat_edge.sensorcheck import UNIT_FACTORS, UNIT_TOLERANCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_train.history import History, Recording

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

LATE = 0.99  # of a sensor's intervals are no longer than what counts as late
GAP_PERIODS = 5  # a silence of more than this many usual intervals is a gap
SENTINELS = (-1.0, 999.0, 9999.0, 99999.0, 999999.0, -99.0, -999.0, -9999.0, -99999.0,
             32767.0, -32768.0, 65535.0, 2147483647.0, -2147483648.0, 4294967295.0)  # fmt: skip
SENTINEL_APART = 10.0  # interquartile ranges between a sentinel and everything else
HABIT = 10  # times that something came; fewer may have been events
REST_FACTOR = 3  # as long as anywhere else: there a sensor rests
BLOCKS = 40  # a sensor's level is compared between this many parts of its history
MISSING_SHARE = 0.2  # of an asset's records; more is worth a warning
RISING_DISTINCT = 20  # different values; a switch thrown once is no counter
QUANTILE_ROWS = 1_000_000  # looked at for quantiles


@dataclass(frozen=True, kw_only=True)
class SensorHealth:
    """One sensor over all assets; numbers in its unit, ``share`` 0 to 1."""

    name: str
    count: int  # finite readings
    missing_share: float
    cadence_ms: int | None  # median interval between readings
    late_ms: int | None  # interval that all but one of a hundred keep
    low: float  # smallest and largest reading, sentinels left out
    high: float
    middle: float  # median
    spread: float  # interquartile range
    distinct: int  # different values, counted up to a thousand
    rises: bool  # never falls
    flat_share: float  # readings equal to the one before
    longest_flat: int  # readings without a change, at most, but where it rests
    sentinels: tuple[float, ...]
    habitual: tuple[float, ...] = ()  # of the sentinels, those that came again and again
    rests: tuple[float, ...] = ()  # of low and high: where it stays for long, and nowhere else

    @property
    def dead(self) -> bool:
        """No reading at all."""
        return self.count == 0

    @property
    def constant(self) -> bool:
        """Every reading is the same."""
        return self.count > 0 and self.low == self.high

    @property
    def flag(self) -> bool:
        """Only ever 0 or 1: a command or a state, decided elsewhere, not a measurement."""
        return self.low == 0.0 and self.high in (0.0, 1.0) and self.distinct <= 2

    @property
    def counter(self) -> bool:
        """It rises and never falls: energy, hours, pieces; what is next it never had."""
        return self.rises and self.distinct > RISING_DISTINCT


@dataclass(frozen=True, kw_only=True)
class AssetHealth:
    """One asset's records."""

    name: str
    records: int
    start_ms: int
    end_ms: int
    period_ms: int  # median interval between records
    gaps: int
    longest_gap_ms: int
    missing_ms: int  # in all gaps
    duplicates: int  # records that repeat a time
    out_of_order: int  # rows older than a row before them


@dataclass(frozen=True, kw_only=True)
class Health:
    """All findings."""

    sensors: tuple[SensorHealth, ...]
    assets: tuple[AssetHealth, ...]
    warnings: tuple[str, ...]


def examine(history: History) -> Health:
    """Measure a history and say what looks wrong."""
    assets = tuple(_asset(name, recording) for name, recording in history.assets.items())
    recordings = tuple(history.assets.values())
    warnings = [text for asset in assets for text in _asset_warnings(asset)]
    if history.duplicates:
        warnings.append(f"{history.duplicates} readings repeat a sensor's time; the last counts")
    sensors = []
    for index, name in enumerate(history.sensors):
        sensor = _sensor(name, [(r.times_ms, r.values[:, index]) for r in recordings])
        sensors.append(sensor)
        warnings += _sensor_warnings(sensor)
        for asset, recording in history.assets.items():
            warnings += _unit_jumps(f"{name!r} of {asset}", recording.values[:, index])
    return Health(sensors=tuple(sensors), assets=assets, warnings=tuple(warnings))


def sentinel_mask(values: Floats, sentinels: tuple[float, ...]) -> NDArray[np.bool_]:
    """Mark the readings that are sentinels; any shape."""
    return np.isin(values, sentinels) if sentinels else np.zeros(values.shape, dtype=bool)


# -------------------------------------------------------------------- assets


def _asset(name: str, recording: Recording) -> AssetHealth:
    times = recording.times_ms
    steps = np.diff(times)
    moving = steps[steps > 0]
    period = max(1, round(float(np.median(moving)))) if moving.size else 1
    longest = moving > GAP_PERIODS * period
    gaps = moving[longest]
    in_rows = times[np.argsort(recording.row, kind="stable")]
    late = in_rows < np.maximum.accumulate(in_rows) if in_rows.size else in_rows
    both = np.isfinite(recording.values[1:]) & np.isfinite(recording.values[:-1])
    repeats = (steps == 0) & both.any(axis=1)
    return AssetHealth(
        name=name,
        records=len(times),
        start_ms=int(times[0]),
        end_ms=int(times[-1]),
        period_ms=period,
        gaps=len(gaps),
        longest_gap_ms=int(gaps.max()) if gaps.size else 0,
        missing_ms=int((gaps - period).sum()),
        duplicates=int(repeats.sum()),
        out_of_order=int(late.sum()),
    )


def _asset_warnings(asset: AssetHealth) -> list[str]:
    found = []
    if asset.gaps:
        longest, missing = asset.longest_gap_ms / 1000, asset.missing_ms / 1000
        found.append(f"{asset.name}: {asset.gaps} gaps, {missing:.0f} s in all, the longest "
                     f"{longest:.0f} s; no window spans one")  # fmt: skip
    if asset.duplicates:
        found.append(f"{asset.name}: {asset.duplicates} records repeat a time; the first counts")
    if asset.out_of_order:
        found.append(f"{asset.name}: {asset.out_of_order} rows are out of order; they were sorted")
    if asset.start_ms < 0 or asset.end_ms > 4_102_444_800_000:
        found.append(f"{asset.name}: times run from {iso(asset.start_ms)} to "
                     f"{iso(asset.end_ms)}; is the unit right?")  # fmt: skip
    return found


# ------------------------------------------------------------------- sensors


def _sensor(name: str, parts: list[tuple[Ints, Floats]]) -> SensorHealth:
    known = [(times[np.isfinite(values)], values[np.isfinite(values)]) for times, values in parts]
    values = known[0][1] if len(known) == 1 else np.concatenate([v for _, v in known])
    total = sum(len(times) for times, _ in parts)
    if not values.size:
        return SensorHealth(
            name=name, count=0, missing_share=1.0, cadence_ms=None, late_ms=None, low=0.0,
            high=0.0, middle=0.0, spread=0.0, distinct=0, rises=False, flat_share=0.0,
            longest_flat=0, sentinels=(),
        )  # fmt: skip
    sample = values[:: max(1, len(values) // QUANTILE_ROWS)]
    sentinels = _sentinels(values, sample)
    usual = _without(values, sentinels)
    quarter, middle, three = (float(q) for q in np.quantile(sample, (0.25, 0.5, 0.75)))
    cadence, late = _intervals([times for times, _ in known])
    rises = all(bool((np.diff(_without(part, sentinels)) >= 0).all()) for _, part in known)
    flat, longest, rests = _flatness(
        [v for _, v in known], (float(usual.min()), float(usual.max()))
    )
    return SensorHealth(
        name=name,
        count=len(values),
        missing_share=1.0 - len(values) / max(1, total),
        cadence_ms=cadence,
        late_ms=late,
        low=float(usual.min()),
        high=float(usual.max()),
        middle=middle,
        spread=three - quarter,
        distinct=_distinct(usual),
        rises=rises,
        flat_share=flat,
        longest_flat=longest,
        sentinels=sentinels,
        rests=rests,
        habitual=tuple(s for s in sentinels if sum(_comes(v, s) for _, v in known) >= HABIT),
    )


def _comes(values: Floats, sentinel: float) -> int:
    """Count how often a number comes, in a row once."""
    found = np.concatenate([[False], values == sentinel])
    return int((found[1:] & ~found[:-1]).sum())


def _without(values: Floats, sentinels: tuple[float, ...]) -> Floats:
    return values[~sentinel_mask(values, sentinels)] if sentinels else values


def _intervals(times: list[Ints]) -> tuple[int | None, int | None]:
    """Return the median interval between readings, and that which `LATE` of them keep, ms."""
    steps = [np.diff(part) for part in times]
    moving = np.concatenate([part[part > 0] for part in steps]) if steps else np.zeros(0)
    if not moving.size:
        return None, None
    usual, late = np.quantile(moving, (0.5, LATE))
    return max(1, round(float(usual))), max(1, round(float(late)))


def _distinct(values: Floats) -> int:
    """Count different values up to a thousand, cheaply for long columns."""
    head = np.unique(values[:10_000])
    if len(head) >= 1000:
        return 1000
    return min(1000, len(np.unique(values[:: max(1, len(values) // 100_000)])) or 1)


def _flatness(
    parts: list[Floats], ends: tuple[float, float]
) -> tuple[float, int, tuple[float, ...]]:
    """Share of readings equal to the one before, the longest run of equals, where it rests.

    A valve that is shut, or a level that is cut off at 100 %, stays at an end
    of its range for many times as long as anywhere else: such runs do not count.
    """
    same_total = pairs = 0
    longest = dict.fromkeys((*ends, None), 0)
    for values in parts:
        same = np.diff(values) == 0
        pairs += len(same)
        same_total += int(same.sum())
        breaks = np.concatenate([[-1], np.flatnonzero(~same), [len(same)]])
        runs, at = np.diff(breaks) - 1, values[breaks[1:]]
        for end in ends:
            longest[end] = max(longest[end], int(runs[at == end].max(initial=0)))
        longest[None] = max(longest[None], int(runs[~np.isin(at, ends)].max(initial=0)))
    elsewhere = max(longest[None], 1)
    rests = tuple(end for end in dict.fromkeys(ends) if longest[end] > REST_FACTOR * elsewhere)
    usual = max(run for end, run in longest.items() if end not in rests)
    return same_total / max(1, pairs), usual, rests


def _sentinels(values: Floats, sample: Floats) -> tuple[float, ...]:
    """Find the well-known stand-ins for "no reading" that stand far from the rest."""
    present = [s for s in SENTINELS if (sample == s).any() or (values == s).any()]
    if not present:
        return ()
    rest = sample[~np.isin(sample, present)]
    if rest.size < 0.5 * sample.size:
        return ()
    low, high = (float(q) for q in np.quantile(rest, (0.25, 0.75)))
    reach = SENTINEL_APART * max(high - low, 1e-9 * max(abs(low), abs(high), 1.0))
    lowest, highest = float(rest.min()), float(rest.max())
    return tuple(
        s for s in present if not lowest <= s <= highest and (s < low - reach or s > high + reach)
    )


def _sensor_warnings(sensor: SensorHealth) -> list[str]:
    name, found = repr(sensor.name), []
    if sensor.dead:
        return [f"{name} never reports"]
    if sensor.constant:
        return [f"{name} is always {sensor.low:g}"]
    if sensor.sentinels:
        values = ", ".join(f"{s:g}" for s in sensor.sentinels)
        found.append(f"{name} holds {values}, which stands for no reading; taken as missing")
    if sensor.count < 10:
        found.append(f"{name} has only {sensor.count} readings")
    return found


def _unit_jumps(where: str, values: Floats) -> list[str]:
    """Find a lasting change of level by a factor between units."""
    known = values[np.isfinite(values)]
    if len(known) < 4 * BLOCKS:
        return []
    width = len(known) // BLOCKS
    blocks = known[: width * BLOCKS].reshape(BLOCKS, width)
    level = np.median(blocks, axis=1)
    spread = np.median(np.abs(blocks - level[:, None]), axis=1)
    steady = np.abs(level) > 5 * spread
    for at in range(2, BLOCKS - 2):
        before, after = float(np.median(level[:at])), float(np.median(level[at:]))
        calm = steady[at - 2 : at + 2].all() and before * after > 0
        ratio = max(abs(after / before), abs(before / after)) if calm and before and after else 1.0
        close = [f for f in UNIT_FACTORS if abs(ratio / f - 1.0) < UNIT_TOLERANCE]
        here = abs(level[at] / level[at - 1]) if level[at - 1] else 1.0
        sudden = max(here, 1.0 / here) if here else 1.0
        if close and abs(sudden / close[0] - 1.0) < 3 * UNIT_TOLERANCE:
            levels = f"from about {before:g} to {after:g} for good, a factor of {close[0]:g}"
            return [f"{where} changes {levels}: did its unit change?"]
    return []
