"""From whatever a file calls time to epoch milliseconds (int64, UTC).

Rules: the unit of a number is found from its size (a time between 1975 and
2100 fits only one unit); a time without a zone is UTC unless a zone is
named, and what was assumed is said; a cell that is no time is marked, not
guessed.

>>> convert_numbers(np.array([1.6e9, 1.6e9 + 1])).ms
array([1600000000000, 1600000001000])
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from offbeat_train.errors import HistoryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Unit = Literal["s", "ms", "us", "ns"]
UNIT_NAMES: dict[str, str] = {"s": "seconds", "ms": "milliseconds", "us": "microseconds",
                              "ns": "nanoseconds"}  # fmt: skip
PER_MS: dict[str, float] = {"s": 1e-3, "ms": 1.0, "us": 1e3, "ns": 1e6}  # units in a millisecond
EARLIEST_S, LATEST_S = 157_766_400.0, 4_102_444_800.0  # 1975 and 2100, epoch seconds
ABSENT = np.iinfo(np.int64).min  # stands for "no time" until the row is dropped
_ZONE = r"(?:Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})$"
_FORMATS = {
    "year first": ("%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%d", "%Y%m%d"),
    "day first": ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%d/%m/%y"),
    "month first": ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y"),
}
_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %H:%M:%S.%f", "T%H:%M:%S", " %I:%M:%S %p", " %I:%M %p",
           "T%H%M%S", "-%H-%M-%S")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Times:
    """Epoch milliseconds, with ``ABSENT`` where a row has no time.

    ``said`` explains unit and zone in one sentence; ``relative`` is true
    when the numbers count from some unknown start.
    """

    ms: NDArray[np.int64]
    said: str
    relative: bool = False
    warnings: tuple[str, ...] = field(default=())


def unit_of(values: NDArray[np.float64]) -> Unit | None:
    """Find the unit of epoch numbers from their size; None when they fit none.

    >>> unit_of(np.array([1583748873000.0]))
    'ms'
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    middle = float(np.median(known))
    for unit, per_ms in PER_MS.items():
        if EARLIEST_S <= middle / (per_ms * 1000.0) <= LATEST_S:
            return unit  # type: ignore[return-value]
    return None


def convert_numbers(values: NDArray[np.float64], unit: Unit | None = None) -> Times:
    """Convert epoch (or relative) numbers, shape (N,), NaN where absent.

    Numbers such as 20240131235959 are read as the digits of a date and time.
    """
    if unit is None and _are_digits(values):
        return _convert_digits(values)
    found = unit or unit_of(values)
    relative = unit_of(values) is None
    chosen = found or "s"
    known = np.isfinite(values)
    scaled = np.where(known, values, 0.0) / PER_MS[chosen]
    too_far = np.abs(scaled) > LATEST_S * 1000.0
    ms = np.where(known & ~too_far, np.round(np.where(too_far, 0.0, scaled)), 0).astype(np.int64)
    ms[~known | too_far] = ABSENT
    how = "as told" if unit else "found from its size"
    said = f"epoch {UNIT_NAMES[chosen]} ({how})"
    if relative:
        said = f"{UNIT_NAMES[chosen]} from an unknown start, which is taken as 1970-01-01 UTC"
    return Times(ms=ms, said=said, relative=relative)


def _are_digits(values: NDArray[np.float64]) -> bool:
    """Tell whether all numbers lie between the digits of 1975 and 2100."""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() >= 19750101000000 and known.max() < 21000101000000)


def _convert_digits(values: NDArray[np.float64]) -> Times:
    known = np.isfinite(values)
    words = pd.Series(values[known].astype(np.int64)).astype("str")
    ms = np.full(values.shape, ABSENT, dtype=np.int64)
    ms[known] = _series_ms(pd.to_datetime(words, format="%Y%m%d%H%M%S", errors="coerce"))
    return Times(ms=ms, said="the digits of year to second, taken as UTC")


def convert_stamps(stamps: Any, zone: str | None) -> Times:  # noqa: ANN401 - Arrow array
    """Convert an Arrow timestamp or date column."""
    zoned = pa.types.is_timestamp(stamps.type) and stamps.type.tz is not None
    if not pa.types.is_timestamp(stamps.type):
        stamps = pc.cast(stamps, pa.timestamp("ms"))
    counts = pc.cast(pc.cast(stamps, pa.timestamp("ms", stamps.type.tz), safe=False), pa.int64())
    ms = _filled(counts)
    if zoned:
        return Times(ms=ms, said="times with a zone, converted to UTC")
    return _localized(ms, zone)


def convert_texts(texts: Any, zone: str | None) -> Times:  # noqa: ANN401 - Arrow array
    """Convert an Arrow column of strings: ISO 8601 first, then common others."""
    texts = pc.utf8_trim_whitespace(pc.cast(texts, pa.string()))
    for target in (pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
        try:
            stamps = pc.cast(texts, target)
        except pa.ArrowInvalid:
            continue
        return convert_stamps(stamps, zone)
    return _convert_slowly(texts, zone)


def parse_instant(text: str, zone: str | None = None) -> int:
    """Parse one time given by a person: ISO 8601 or an epoch number, to ms.

    >>> parse_instant("2024-01-01T00:00:00Z")
    1704067200000
    """
    try:
        number = np.array([float(text)])
    except ValueError:
        pass
    else:
        return int(convert_numbers(number).ms[0])
    try:
        stamp = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise HistoryError(f"expected an ISO 8601 time or epoch number, got {text!r}") from error
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=_zone(zone) if zone else UTC)
    return round(stamp.timestamp() * 1000)


def _convert_slowly(texts: Any, zone: str | None) -> Times:  # noqa: ANN401 - Arrow array
    series = pd.Series(texts.to_numpy(zero_copy_only=False), dtype="str")
    zoned = series.str.contains(_ZONE, regex=True, na=False)
    clock = series.str.contains(":", regex=False, na=False)
    zoned &= clock  # "2024-01-01" ends like a zone and has none
    plain, said = _parse_plain(series[~zoned])
    aware = pd.to_datetime(series[zoned], format="ISO8601", utc=True, errors="coerce")
    ms = np.full(len(series), ABSENT, dtype=np.int64)
    naive = _localized(_series_ms(plain), zone)
    ms[~zoned.to_numpy()] = naive.ms
    ms[zoned.to_numpy()] = _series_ms(aware)
    mixed = bool(zoned.any()) and bool((naive.ms != ABSENT).any())
    warnings = naive.warnings
    if mixed:
        with_zone, without = int(zoned.sum()), int((naive.ms != ABSENT).sum())
        note = f"{with_zone} times have a zone, {without} have none; those are {naive.said}"
        warnings += (note,)
    kind = "times with a zone, converted to UTC" if zoned.all() else naive.said
    return Times(ms=ms, said=kind + said, warnings=warnings)


def _parse_plain(series: pd.Series[str]) -> tuple[pd.Series[Any], str]:
    """Parse times without zone; of the orders that fit, the one that runs forward."""
    iso = pd.to_datetime(series, format="ISO8601", errors="coerce")
    best, best_good, best_said = iso, int(iso.notna().sum()), ""
    if best_good >= 0.99 * int(series.notna().sum()):
        return iso, ""
    for order, dates in _FORMATS.items():
        for form in (date + clock for date in dates for clock in _CLOCKS):
            if pd.to_datetime(series.iloc[:20], format=form, errors="coerce").isna().all():
                continue
            parsed = pd.to_datetime(series, format=form, errors="coerce")
            good = int(parsed.notna().sum())
            if good > best_good or (good == best_good and _backward(parsed) < _backward(best)):
                best, best_good, best_said = parsed, good, f", read {order} ({form})"
    return best, best_said


def _backward(parsed: pd.Series[Any]) -> int:
    return int((np.diff(_series_ms(parsed)) < 0).sum())


def _series_ms(series: pd.Series[Any]) -> NDArray[np.int64]:
    """Give (N,) epoch ms of a datetime series, ``ABSENT`` for NaT."""
    stamps = series.to_numpy(dtype="datetime64[ms]")
    ms: NDArray[np.int64] = stamps.astype(np.int64)
    return ms  # NaT is the smallest int64, which is ABSENT


def _filled(counts: Any) -> NDArray[np.int64]:  # noqa: ANN401 - Arrow array
    filled = pc.fill_null(counts, pa.scalar(int(ABSENT), pa.int64()))
    return np.array(filled.to_numpy(zero_copy_only=False), dtype=np.int64)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise HistoryError(
            f"expected a time zone such as 'Europe/Berlin' or 'UTC', got {name!r}"
        ) from error


def _localized(ms: NDArray[np.int64], zone: str | None) -> Times:
    """Read wall-clock milliseconds in a zone, UTC when none is named."""
    if zone is None:
        return Times(ms=ms, said="times without a zone, taken as UTC (--timezone says otherwise)")
    known = ms != ABSENT
    naive = pd.DatetimeIndex(ms[known].astype("datetime64[ms]"))
    first = np.ones(len(naive), dtype=bool)
    placed = naive.tz_localize(_zone(zone), ambiguous=first, nonexistent="shift_forward")
    out = np.full(ms.shape, ABSENT, dtype=np.int64)
    out[known] = (
        placed.tz_convert("UTC")
        .tz_localize(None)
        .to_numpy()
        .astype("datetime64[ms]")
        .astype(np.int64)
    )
    said = f"times without a zone, taken as {zone}"
    back = np.diff(out[known]) < 0
    forward = np.diff(ms[known]) >= 0
    twice = int((back & forward).sum())
    if not twice:
        return Times(ms=out, said=said)
    note = f"{twice} times fall back where {zone} leaves summer time; the first pass is taken"
    return Times(ms=out, said=said, warnings=(note,))


def looks_like_time(name: str) -> bool:
    """Tell whether a column's name says that it is the time.

    >>> looks_like_time("Timestamp"), looks_like_time("run_time_hours")
    (True, False)
    """
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    stem = re.sub(r"_?(utc|ms|us|ns|s|sec|seconds|millis|iso|local)$", "", plain)
    return stem in {"time", "timestamp", "datetime", "date_time", "date", "ts", "t", "epoch",
                    "unix", "unixtime", "unix_time", "event_time", "eventtime", "time_stamp",
                    "recorded_at", "created_at", "measured_at", "zeit", "zeitstempel",
                    "datum"}  # fmt: skip


def unit_from_name(name: str) -> Unit | None:
    """Read a unit off a column's name.

    >>> unit_from_name("time_ms")
    'ms'
    """
    ending = re.search(r"[_ (\[.](ms|us|µs|ns|s|sec|seconds|millis)[)\]]?$", name.lower())
    found = {"ms": "ms", "millis": "ms", "us": "us", "µs": "us", "ns": "ns"}
    return found.get(ending.group(1), "s") if ending else None  # type: ignore[return-value]
