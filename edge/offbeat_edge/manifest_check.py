"""Whether a manifest makes sense: one line for each thing that does not.

Rules: types are checked already (``manifest.decode``); here are bounds and
what must fit together.  Lines read "where: expected X, got Y".

>>> _between("model.window", 0, 1, WINDOW_MAX)
['model.window: expected 1 to 8192, got 0']
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from offbeat_edge.detector import Fallback
from offbeat_edge.errors import BundleError
from offbeat_edge.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offbeat_edge.manifest import Manifest
    from offbeat_edge.schema import SensorSpec
    from offbeat_edge.shape import ShapeSpec

WINDOW_MAX = 8192  # steps
SENSORS_MAX = 512  # sensors
CELLS_MAX = 262_144  # steps x sensors in one window
CODES_MAX = 131_072  # numbers in all codebooks
CODE_MAX = 8192  # steps: more than any window's spreads
TEXT_MAX = 128  # characters of a name people read
PERIOD_MAX_MS = 7 * 24 * 3600 * 1000
DURATION_MAX_MS = 366 * 24 * 3600 * 1000
NUMBER_MAX = 1e18  # any magnitude in a manifest; squares stay finite

_ID = re.compile(r"[a-z0-9_.-]{1,64}")
_VERSION = re.compile(r"[A-Za-z0-9_.+-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def problems(manifest: Manifest) -> list[str]:
    """Find all that is wrong with ``manifest``."""
    found = [
        *_model(manifest),
        *_sensors(manifest.sensors),
        *_numbers(manifest),
        *_alert(manifest),
        *_digests(manifest),
    ]
    # The detector's own checks index by sensor: only once these are sound.
    return found or list(_detectors(manifest))


def _model(manifest: Manifest) -> Iterator[str]:
    model = manifest.model
    yield from _matches("model.name", model.name, _ID)
    yield from _matches("model.version", model.version, _VERSION)
    yield from _printable("model.created", model.created)
    yield from _between("model.period_ms", model.period_ms, 1, PERIOD_MAX_MS)
    yield from _between("model.window", model.window, 1, WINDOW_MAX)
    yield from _between("model.stride", model.stride, 1, model.window)
    yield from _between("model.hold_ms", model.hold_ms, 0, DURATION_MAX_MS)
    yield from _between("sensors", len(manifest.sensors), 1, SENSORS_MAX)
    cells = model.window * len(manifest.sensors)
    if cells > CELLS_MAX:
        yield f"model.window x sensors: expected at most {CELLS_MAX} cells, got {cells}"


def _sensors(sensors: tuple[SensorSpec, ...]) -> Iterator[str]:
    names: set[str] = set()
    for index, sensor in enumerate(sensors):
        where = f"sensors[{index}]"
        yield from _printable(f"{where}.name", sensor.name)
        if sensor.name in names:
            yield f"{where}.name: expected unique names, got {sensor.name!r} again"
        names.add(sensor.name)
        yield from _sensor(f"{where} ({sensor.name})", sensor)


def _sensor(where: str, sensor: SensorSpec) -> Iterator[str]:
    yield from _printable(f"{where}.unit", f"[{sensor.unit}]")  # may be empty
    yield from _finite(f"{where}.center", sensor.center)
    yield from _positive(f"{where}.scale", sensor.scale)
    yield from _between(f"{where}.cadence_ms", sensor.cadence_ms, 1, DURATION_MAX_MS)
    low = -math.inf if sensor.low is None else sensor.low
    high = math.inf if sensor.high is None else sensor.high
    if not low <= high:
        yield f"{where}: expected low <= high, got {sensor.low} and {sensor.high}"
    yield from _all_finite(f"{where}.sentinels", sensor.sentinels)
    if not set(sensor.absent) <= set(sensor.sentinels):
        yield f"{where}.absent: expected some of the sentinels, got {sensor.absent}"
    yield from _all_finite(f"{where}.rests", sensor.rests)
    for name in ("stuck_steps", "quiet_steps"):
        steps = getattr(sensor, name)
        if steps is not None:
            yield from _between(f"{where}.{name}", steps, 1, DURATION_MAX_MS)


def _numbers(manifest: Manifest) -> Iterator[str]:
    detector, fallback = manifest.detector, manifest.fallback
    yield from _positive("threshold", manifest.threshold)
    if not 0.0 <= manifest.epsilon < 1.0:
        yield f"epsilon: expected 0 <= epsilon < 1, got {manifest.epsilon}"
    yield from _between("detector.rows", detector.rows, 1, manifest.model.window)
    yield from _all_finite("detector.center", detector.center)
    for index, row in enumerate(detector.precision):
        yield from _all_finite(f"detector.precision[{index}]", row)
        if index < len(row):
            yield from _positive(f"detector.precision[{index}][{index}]", row[index])
    yield from _all_finite("detector.alone", detector.alone)
    yield from _all_finite("fallback.level_center", fallback.level_center)
    yield from _all_finite("fallback.spread_center", fallback.spread_center)
    yield from _shape(manifest.shape, manifest.model.window)
    for scale in (*fallback.level_scale, *fallback.spread_scale):
        yield from _positive("fallback scales", scale)


def _shape(shape: ShapeSpec | None, window: int) -> Iterator[str]:
    if shape is None:
        return
    yield from _between("shape.pool", shape.pool, 1, window)
    sizes = {len(code) * shape.pool for book in shape.codes for code in book}
    if sizes != {window}:
        yield f"shape.codes: expected numbers that span {window} steps, got {sorted(sizes)}"
    cells = [abs(step) for book in shape.codes for code in book for step in code]
    if len(cells) > CODES_MAX:
        yield f"shape.codes: expected at most {CODES_MAX} numbers, got {len(cells)}"
    elif max(cells, default=0) > CODE_MAX:
        yield f"shape.codes: expected steps within +-{CODE_MAX}, got {max(cells)}"


def _alert(manifest: Manifest) -> Iterator[str]:
    rule = manifest.alert
    if not 0.0 < rule.clear_ratio <= 1.0:
        yield f"alert.clear_ratio: expected 0 < ratio <= 1, got {rule.clear_ratio}"
    yield from _between("alert.min_duration_ms", rule.min_duration_ms, 0, DURATION_MAX_MS)
    yield from _between("alert.clear_ms", rule.clear_ms, 0, DURATION_MAX_MS)
    yield from _between("alert.cooldown_ms", rule.cooldown_ms, 0, DURATION_MAX_MS)


def _digests(manifest: Manifest) -> Iterator[str]:
    yield from _matches("lineage.data_sha256", manifest.lineage.data_sha256, _SHA256)
    for name, member in manifest.members.items():
        yield from _matches(f"members.{name}.sha256", member.sha256, _SHA256)
    for index, check in enumerate(manifest.runtimes):
        where = f"runtimes[{index}]"
        yield from _matches(f"{where}.scores_sha256", check.scores_sha256, _SHA256)
        if not 0.0 <= check.max_diff <= manifest.epsilon:
            limit = manifest.epsilon
            yield f"{where}.max_diff: expected 0 to epsilon {limit}, got {check.max_diff}"


def _detectors(manifest: Manifest) -> Iterator[str]:
    try:
        Scorer(manifest, manifest.sensors)
        Fallback(manifest.fallback, manifest.sensors)
    except BundleError as error:
        yield str(error)


def _between(where: str, value: int, low: int, high: int) -> list[str]:
    return [] if low <= value <= high else [f"{where}: expected {low} to {high}, got {value}"]


def _matches(where: str, value: str, pattern: re.Pattern[str]) -> list[str]:
    if pattern.fullmatch(value):
        return []
    return [f"{where}: expected {pattern.pattern}, got {value[:80]!r}"]


def _printable(where: str, value: str) -> list[str]:
    if 1 <= len(value) <= TEXT_MAX and value.isprintable():
        return []
    return [f"{where}: expected 1 to {TEXT_MAX} printable characters, got {value[:80]!r}"]


def _finite(where: str, value: float) -> list[str]:
    if abs(value) <= NUMBER_MAX:
        return []
    return [f"{where}: expected a number within +-{NUMBER_MAX:g}, got {value}"]


def _all_finite(where: str, values: tuple[float, ...]) -> list[str]:
    return [line for i, value in enumerate(values) for line in _finite(f"{where}[{i}]", value)]


def _positive(where: str, value: float) -> list[str]:
    if 0.0 < value <= NUMBER_MAX:
        return []
    return [f"{where}: expected above 0 and at most {NUMBER_MAX:g}, got {value}"]
