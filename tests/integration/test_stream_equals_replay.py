"""Streaming and replay agree to the last digit: real recordings, real model, real Mosquitto."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pytest
from rig import Daemon, Listener, Mosquitto, Player, Reading, closing, wait_for

from offbeat_edge import bundle, cli
from offbeat_edge.replay import row_scores
from offbeat_edge.schema import ScoreRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Streamer = Callable[["Bench", str, float, list[Reading]], Listener]

DATA = os.environ.get("OFFBEAT_DATA")
needs_data = pytest.mark.skipif(
    DATA is None, reason="OFFBEAT_DATA does not name a folder with the development datasets"
)
START = pd.Timestamp("2025-02-01T00:00:00Z")

CONFIG = """
[gateway]
id = "gw1"
state_dir = "state"
[mqtt]
port = {port}
[[source]]
topic = "{topic}"
[[model]]
bundle = "model.offbeat"
lateness_s = {lateness}
[publish]
score = true
[log]
format = "json"
"""


class Bench(NamedTuple):
    """A folder with ``model.offbeat`` and the recording ``live.csv`` of one asset."""

    folder: Path
    frame: pd.DataFrame  # time index in UTC, a column a sensor

    @property
    def path(self) -> Path:
        return self.folder / "edge.toml"


def fitted(folder: Path, train: pd.DataFrame, live: pd.DataFrame) -> Bench:
    train.to_csv(folder / "train.csv", index_label="time")
    live.to_csv(folder / "live.csv", index_label="time")
    words = ["fit", str(folder / "train.csv"), "--out", str(folder / "model.offbeat")]
    assert cli.main([*words, "--epochs", "3"]) == 0
    return Bench(folder, live)


@pytest.fixture(scope="module")
def pump(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One simulated pump; the second half has faults."""
    folder = tmp_path_factory.mktemp("pump")
    words = ["simulate", "--pumps", "1", "--duration", "40h", "--random-faults", "1"]
    assert cli.main([*words, "--period", "20s", "--out", str(folder / "all.csv")]) == 0
    frame = pd.read_csv(folder / "all.csv", index_col="time", parse_dates=True)
    frame = frame.drop(columns="asset", errors="ignore")
    return fitted(folder, frame.iloc[:2000], frame.iloc[2000:4000])


@pytest.fixture(scope="module")
def skab(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    path = Path(DATA or "") / "skab" / "valve1" / "0.csv"
    frame = pd.read_csv(path, sep=";", index_col="datetime", parse_dates=True)
    frame = frame.drop(columns=["anomaly", "changepoint"]).tz_localize("UTC")
    return fitted(tmp_path_factory.mktemp("skab"), frame.iloc[:400], frame)


@pytest.fixture(scope="module")
def smap(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    arrays = np.load(Path(DATA or "") / "smap_msl" / "A-1.npz")
    train, test = (as_frame(arrays[part][:2500]) for part in ("train", "test"))
    return fitted(tmp_path_factory.mktemp("smap"), train, test)


def as_frame(values: np.ndarray) -> pd.DataFrame:
    index = pd.date_range(START, periods=len(values), freq="60s")
    return pd.DataFrame(values, index=index, columns=[f"c{n}" for n in range(values.shape[1])])


def as_objects(frame: pd.DataFrame) -> list[Reading]:
    rows = frame.to_dict(orient="records")
    return [
        Reading("plant/pump1", json.dumps({"ts": time, **row}).encode())
        for time, row in zip(epoch_ms(frame), rows, strict=True)
    ]


def as_sensor_topics(frame: pd.DataFrame) -> list[Reading]:
    return [
        Reading(f"plant/pump1/{name}", json.dumps({"ts": time, "value": value}).encode())
        for time, row in zip(epoch_ms(frame), frame.to_dict(orient="records"), strict=True)
        for name, value in row.items()
    ]


def epoch_ms(frame: pd.DataFrame) -> list[int]:
    index: pd.DatetimeIndex = pd.DatetimeIndex(frame.index).as_unit("ms")
    return index.astype("int64").tolist()


def shuffled(readings: list[Reading], seconds: float) -> list[Reading]:
    """Reorder by less than so many seconds of event time."""
    chance = random.Random(5)
    times = [json.loads(r.payload)["ts"] for r in readings]
    keys = [t + chance.uniform(0, 999 * seconds) for t in times]
    return [readings[i] for i in sorted(range(len(readings)), key=keys.__getitem__)]


def replayed(bench: Bench) -> tuple[list[float | None], dict[str, dict[str, Any]]]:
    """The score in force at each row and events by id, from the command."""
    words = ["replay", str(bench.folder / "model.offbeat"), str(bench.folder / "live.csv")]
    words += ["--config", str(bench.path), "--asset", "pump1"]
    scores, alerts = bench.folder / "scores.csv", bench.folder / "alerts.jsonl"
    assert cli.main([*words, "--scores", str(scores), "--alerts", str(alerts)]) == 0
    with scores.open(newline="") as file:
        told = [float(row["in_force"]) if row["in_force"] else None for row in csv.DictReader(file)]
    assert len(told) == len(bench.frame)
    events = [json.loads(line) for line in alerts.read_text().splitlines()]
    return told, {e["id"]: e for e in events}


@pytest.fixture
def streamed(mosquitto: Mosquitto) -> Iterator[Streamer]:
    """A function: bench, template, lateness, readings → what the daemon said."""
    with_us: list[Daemon | Listener | Player] = []

    def stream(bench: Bench, topic: str, lateness: float, readings: list[Reading]) -> Listener:
        bench.path.write_text(CONFIG.format(port=mosquitto.port, topic=topic, lateness=lateness))
        shutil.rmtree(bench.folder / "state", ignore_errors=True)
        listener = Listener(mosquitto.port)
        daemon = Daemon(bench).start().ready()  # type: ignore[arg-type]  # folder and path is all it asks
        player = Player(mosquitto.port)
        with_us.extend([player, listener, daemon])
        player.play(readings)
        return listener

    yield stream
    with closing(*with_us):
        pass


def compare(bench: Bench, listener: Listener, *, rows: int | None = None) -> None:
    """Scores of the first ``rows`` and all alerts until then: equal to the last digit."""
    scores, events = replayed(bench)
    manifest = bundle.load(bench.folder / "model.offbeat").manifest
    times = np.array(epoch_ms(bench.frame))[:rows]
    assert any(score is not None for score in scores), "the recording has no score"

    def streamed_scores() -> list[float | None]:
        records = [msgspec.convert(s, ScoreRecord) for s in list(listener.scores)]
        return row_scores(times, records, manifest).in_force

    wait_for(lambda: streamed_scores() == scores[:rows], "the scores of the replay")
    due = {i: e for i, e in events.items() if e["time_ms"] <= times[-1]}
    listener.wait_alerts(due)
    got = {i: {**e, "resent": False} for i, e in listener.alerts.items()}
    assert got == {i: events[i] for i in got}


def test_an_object_per_asset(pump: Bench, streamed: Streamer) -> None:
    listener = streamed(pump, "plant/{asset}", 0, as_objects(pump.frame))
    compare(pump, listener)


def test_objects_reordered_within_the_lateness(pump: Bench, streamed: Streamer) -> None:
    readings = shuffled(as_objects(pump.frame), 60)
    compare(pump, streamed(pump, "plant/{asset}", 60, readings), rows=-10)


def test_a_topic_per_sensor_reordered(pump: Bench, streamed: Streamer) -> None:
    readings = shuffled(as_sensor_topics(pump.frame), 60)
    compare(pump, streamed(pump, "plant/{asset}/{sensor}", 60, readings), rows=-10)


@needs_data
@pytest.mark.parametrize("name", ["skab", "smap"])
def test_public_recordings(name: str, request: pytest.FixtureRequest, streamed: Streamer) -> None:
    bench: Bench = request.getfixturevalue(name)
    listener = streamed(bench, "plant/{asset}", 0, as_objects(bench.frame))
    compare(bench, listener)
