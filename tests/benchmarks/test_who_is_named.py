"""Who is named: single sensors of real recordings perturbed, event by event.

A model is fitted on the first part of a normal recording; stretches of the
rest go through the device's engine with one sensor perturbed from their
middle on.  Caught is a stretch in which an anomaly or a sensor fault opens
(one that alerts by itself is left out).  Right is a first alert whose top
contribution is a sensor that was touched: as it was told last, and when it
opened, just above the threshold.  Where two sensors are swapped, both are
wrong, and either is right.

    OFFBEAT_DATA=... python tests/benchmarks/test_who_is_named.py skab gecco plant
    OFFBEAT_DATA=... python -m pytest -s tests/benchmarks/test_who_is_named.py
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from offbeat_broker.plant import Plant
from offbeat_edge import bundle as bundles
from offbeat_edge.engine import Engine
from offbeat_edge.model import open_model
from offbeat_edge.replay import samples
from offbeat_train import package
from offbeat_train.benchmark import datasets
from offbeat_train.benchmark.series import Rows, head, tail, without
from offbeat_train.compare import FAULTS, SIZED
from offbeat_train.fit import FitOptions, fit
from offbeat_train.history import read_history

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_edge.model import Model
    from offbeat_edge.schema import AlertEvent

    Floats = NDArray[np.float64]

MAGNITUDES = (0.5, 1.0, 2.0, 4.0, 8.0)  # of the sensor's scale
EPOCHS = 4
WINDOWS = 2  # before the fault, and of it
TARGET = 0.9  # of caught events
MOMENT = datetime(2025, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000


class Recording(NamedTuple):
    """Normal rows, to learn from and to perturb."""

    sensors: tuple[str, ...]
    train: Rows
    rest: Rows


class Row(NamedTuple):
    """One fault at one magnitude."""

    fault: str
    magnitude: float
    trials: int
    caught: int
    right: int  # as told last
    at_once: int  # right when it opened


def skab() -> Recording:
    """The rig without faults: of every twenty minutes, seven are kept from learning."""
    sensors, rows = _rig()
    kept = np.arange(len(rows.times_ms)) % 1200 >= 780
    rest = Rows(times_ms=rows.times_ms[kept], values=rows.values[kept])
    return Recording(sensors, without(rows, kept), rest)


def skab_later() -> Recording:
    """The same, 70 % to learn from: in the rest a sensor has left what was learned."""
    return _cut(*_rig(), 0.7)


def _rig() -> tuple[tuple[str, ...], Rows]:
    history = read_history([_data() / "skab" / "anomaly-free"])
    (found,) = history.assets.values()
    return history.sensors, Rows(times_ms=found.times_ms, values=found.values)


def gecco() -> Recording:
    """Drinking water: the protocol's first half, the start of the second without its events."""
    (series,) = datasets.gecco(_data())
    calm = ~series.labels
    rest = Rows(times_ms=series.stream.times_ms[calm], values=series.stream.values[calm])
    return Recording(series.sensors, series.train, head(rest, 20_000))


def plant() -> Recording:
    """One pump of the simulated plant: ten days to learn from."""
    made = Plant(seed=7, pumps=1).history(start_ms=0, duration_ms=14 * DAY_MS, period_ms=60_000)
    return _cut(made.sensors, Rows(times_ms=made.time_ms, values=made.values[0]), 10 / 14)


RECORDINGS = {"skab": skab, "skab-later": skab_later, "gecco": gecco, "plant": plant}


def learned(recording: Recording) -> Model:
    """Fit a bundle and open it as a device would."""
    history = recording.train.history(recording.sensors, Path(__file__), has_time=True)
    fitted = fit(history, FitOptions(name="named", epochs=EPOCHS), on=_Silent())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "named.offbeat"
        package.write(path, fitted, now=MOMENT)
        return open_model(bundles.load(path), config_digest="")


def curve(model: Model, recording: Recording, *, trials: int, seed: int = 0) -> list[Row]:
    """Perturb, replay, count."""
    rng = np.random.default_rng(seed)
    stretches = _calm(model, recording, rng, trials)
    scored = [n for n, sensor in enumerate(model.manifest.sensors) if sensor.scored]
    rows = []
    for name, fault in FAULTS.items():
        for magnitude in MAGNITUDES if fault in SIZED else (1.0,):
            found = []
            for times, values in stretches:
                half = len(values) // 2
                sensor = int(rng.choice(scored))
                scaled = (values[half:] - model._center) / model._spread  # noqa: SLF001
                touched = fault(scaled, sensor, magnitude, rng)
                wrong = {model.names[n] for n in np.flatnonzero((touched != scaled).any(axis=0))}
                broken = np.concatenate([values[:half], touched * model._spread + model._center])  # noqa: SLF001
                told = _first(model, times, broken)
                if told:
                    found.append([told[n].contributions[0].sensor in wrong for n in (-1, 0)])
            right, at_once = np.sum(found, axis=0).tolist() if found else (0, 0)
            rows.append(Row(name, magnitude, len(stretches), len(found), right, at_once))
    return rows


def share(rows: list[Row]) -> float:
    """Return the share of caught events that name a right sensor."""
    return sum(row.right for row in rows) / max(1, sum(row.caught for row in rows))


def _calm(
    model: Model, recording: Recording, rng: np.random.Generator, wanted: int
) -> list[tuple[NDArray[np.int64], Floats]]:
    """Draw stretches that alert by themselves in no way and have no hole."""
    columns = [recording.sensors.index(name) for name in model.names]
    spec, rest = model.manifest.model, recording.rest
    length = 2 * WINDOWS * spec.window
    found = []
    for start in rng.permutation(len(rest.times_ms) - length)[: 5 * wanted]:
        times = rest.times_ms[start : start + length]
        values = rest.values[start : start + length][:, columns]
        whole = np.isfinite(values).all() and np.diff(times).max() <= spec.hold_ms
        if whole and not _first(model, times, values):
            found.append((times, values))
        if len(found) == wanted:
            break
    return found


def _first(model: Model, times: NDArray[np.int64], values: Floats) -> list[AlertEvent]:
    """Return what was told of the first alert of a stretch, but for its end."""
    engine = Engine(site="s", gateway="g", route=lambda _: model, contributions=1)
    out = engine.feed(list(samples("a", times, values, model.names)))
    events = [*out.events, *engine.flush().events]
    first = next((event.alert for event in events if event.type == "new"), None)
    return [event for event in events if event.alert == first and event.type != "end"]


def _cut(sensors: tuple[str, ...], rows: Rows, at: float) -> Recording:
    count = int(at * len(rows.times_ms))
    return Recording(sensors, head(rows, count), tail(rows, count))


def _data() -> Path:
    folder = os.environ.get("OFFBEAT_DATA")
    if folder is None:
        pytest.skip("OFFBEAT_DATA does not name the folder of the datasets")
    return Path(folder)


class _Silent:
    def stage(self, text: str) -> None:
        """Say nothing."""

    def epoch(self, epoch: int, epochs: int, loss: float, validation: float) -> None:
        """Say nothing."""


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_right_sensor_is_named_in_nine_of_ten_caught_events(name: str) -> None:
    recording = RECORDINGS[name]()
    rows = curve(learned(recording), recording, trials=20)
    told(name, rows)
    assert share(rows) >= TARGET


def told(name: str, rows: list[Row]) -> None:
    """Print the curve."""
    print(f"\n{name}: {share(rows):.3f} of {sum(r.caught for r in rows)} caught events")  # noqa: T201
    for row in rows:
        caught = max(1, row.caught)
        shares = f"{row.right / caught:.2f} at once {row.at_once / caught:.2f}"
        print(f"  {row.fault:8} {row.magnitude:4.1f}  {row.caught}/{row.trials}  {shares}")  # noqa: T201


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        here = RECORDINGS[wanted]()
        told(wanted, curve(learned(here), here, trials=60))
