"""``offbeat simulate``: files that others read, messages that others understand."""

from __future__ import annotations

import csv
import json
import socket
import threading
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from offbeat_broker import embedded
from offbeat_broker.plant import SENSORS, Plant
from offbeat_broker.publish import Pace, connected
from offbeat_broker.signals import HOUR_MS
from offbeat_edge.cli import main
from offbeat_edge.config import Mqtt
from offbeat_edge.errors import LinkError

if TYPE_CHECKING:
    from pathlib import Path

START = "2025-01-06T08:00:00Z"
START_MS = 1_736_150_400_000


def simulate(*words: str) -> int:
    return main(["simulate", *words])


def test_wide_csv_holds_the_plants_readings(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    assert simulate("--out", str(path), "--start", START, "--duration", "2h", "--seed", "3") == 0
    with path.open() as lines:
        rows = list(csv.DictReader(lines))
    history = Plant(seed=3).history(start_ms=START_MS, duration_ms=2 * HOUR_MS, period_ms=10_000)
    assert len(rows) == 3 * 720
    assert rows[0]["time"] == "2025-01-06T08:00:00.000Z"
    assert [row["asset"] for row in rows[:4]] == ["pump1", "pump2", "pump3", "pump1"]
    flow = [float(row["flow"]) for row in rows if row["asset"] == "pump2"]
    assert flow == history.values[1, :, list(SENSORS).index("flow")].tolist()


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_parquet_and_csv_say_the_same(tmp_path: Path, layout: str) -> None:
    schedule = tmp_path / "faults.jsonl"
    schedule.write_text(
        f'{{"asset":"pump1","kind":"dropout","sensor":"flow",'
        f'"start_ms":{START_MS + 60_000},"end_ms":{START_MS + 120_000}}}\n'
        f'{{"asset":"pump2","kind":"dropout",'
        f'"start_ms":{START_MS + 60_000},"end_ms":{START_MS + 120_000}}}\n'
    )
    for suffix in ("csv", "parquet"):
        assert simulate(
            "--out", str(tmp_path / f"h.{suffix}"), "--start", START, "--duration", "10m",
            "--layout", layout, "--faults", str(schedule),
        ) == 0  # fmt: skip
    with (tmp_path / "h.csv").open() as lines:
        text = list(csv.DictReader(lines))
    table = pq.read_table(tmp_path / "h.parquet").to_pylist()
    assert len(text) == len(table) == (174 if layout == "wide" else 180 * 8 - 6 - 6 * 8)
    for row, same in zip(text, table, strict=True):
        assert row["asset"] == same["asset"]
        assert row["time"][:19] == same["time"].isoformat()[:19]
        for name in set(row) - {"time", "asset", "sensor"}:
            assert (float(row[name]) if row[name] else None) == same[name]


def test_truth_has_one_line_for_each_fault(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    assert simulate(
        "--out", str(tmp_path / "h.parquet"), "--duration", "3d", "--period", "60s",
        "--random-faults", "1", "--truth", str(truth),
    ) == 0  # fmt: skip
    lines = [json.loads(line) for line in truth.read_text().splitlines()]
    assert len(lines) == 8
    for line in lines:
        assert {"schema", "asset", "sensor", "kind", "start_ms", "end_ms", "magnitude"} <= set(line)
        assert line["start_ms"] < line["end_ms"]


def _collect(port: int, count: int) -> tuple[paho.Client, list[tuple[str, bytes]], threading.Event]:
    got: list[tuple[str, bytes]] = []
    full, ready = threading.Event(), threading.Event()

    def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        got.append((message.topic, message.payload))
        if len(got) >= count:
            full.set()

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", port)
    client.subscribe("plant/#", qos=1)
    client.loop_start()
    assert ready.wait(60)
    return client, got, full


def test_live_readings_are_the_plants_and_nothing_is_lost(tmp_path: Path) -> None:
    schedule = tmp_path / "faults.jsonl"
    schedule.write_text(
        f'{{"asset":"pump1","kind":"dropout","sensor":"flow",'
        f'"start_ms":{START_MS},"end_ms":{START_MS + 60_000}}}\n'
        f'{{"asset":"pump2","kind":"dropout",'
        f'"start_ms":{START_MS},"end_ms":{START_MS + 60_000}}}\n'
    )
    expected = 2 * 360 - 6
    with embedded.running() as port:
        client, got, full = _collect(port, expected)
        code = simulate(
            "--mqtt", f"127.0.0.1:{port}", "--pumps", "2", "--start", START, "--duration", "1h",
            "--speed-up", "0", "--faults", str(schedule),
        )  # fmt: skip
        assert full.wait(60), f"expected {expected} messages, got {len(got)}"
        client.disconnect()
        client.loop_stop()
    assert code == 0
    assert len(got) == expected
    first = json.loads(got[0][1])
    assert got[0][0] == "plant/pump1"
    assert first["ts"] == START_MS
    assert first["flow"] is None
    history = Plant(seed=7, pumps=2).history(
        start_ms=START_MS, duration_ms=HOUR_MS, period_ms=10_000
    )
    last = [json.loads(payload) for topic, payload in got if topic == "plant/pump2"][-1]
    assert [last[name] for name in SENSORS] == history.values[1, -1].tolist()


def test_pace_follows_the_clock_it_is_given() -> None:
    now = [0.0]
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            now[0] += timeout or 0.0
            return False

    pace = Pace(speed_up=60.0, stop=Stop(), clock=lambda: now[0])
    assert all(pace.wait(START_MS + i * 30_000) for i in range(4))
    assert waits == pytest.approx([0.0, 0.5, 0.5, 0.5])


def test_a_stopped_pace_sends_no_more() -> None:
    stop = threading.Event()
    stop.set()
    with (
        embedded.running() as port,
        connected(Mqtt(host="127.0.0.1", port=port), topic="p/{asset}") as publisher,
    ):
        history = Plant(seed=1).history(start_ms=0, duration_ms=60_000, period_ms=10_000)
        assert publisher.send(history, Pace(speed_up=1.0, stop=stop)) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out", "h.txt"], "expected a name ending in .csv or .parquet"),
        (["--out", "no/such/h.csv"], "expected an existing directory"),
        (["--out", "h.csv", "--duration", "2 weeks"], "expected a length such as"),
        (["--out", "h.csv", "--duration", "9999d", "--period", "100ms"], "at most"),
        (["--out", "h.csv", "--period", "1ms"], "--period: expected at least"),
        (["--out", "h.csv", "--start", "2025-01-06 08:00"], "ISO 8601 time with zone"),
        (["--out", "h.csv", "--pumps", "0"], "pumps: expected 1 to"),
        (["--out", "h.csv", "--duration", "1h", "--random-faults", "2"], "expected at least"),
        (["--mqtt", "localhost", "--random-faults", "1"], "expected a --duration"),
        (["--out", "h.csv", "--faults", "absent.jsonl"], "absent.jsonl"),
        (["--mqtt", "localhost", "--topic", "plant"], "{asset}"),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_no_file(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    placed = [str(tmp_path / word) if word.startswith("h.") else word for word in words]
    assert simulate(*placed) == 78
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_broker_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    with (
        pytest.raises(LinkError, match=f"expected a broker at 127.0.0.1:{port}"),
        connected(Mqtt(host="127.0.0.1", port=port), topic="p/{asset}", within_s=0.5),
    ):
        pass
