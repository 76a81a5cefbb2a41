"""What `offbeat bench` counts, and that it does not need more than a device has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from bundle_parts import answered
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge import bundle
from offbeat_edge.bench import bench_command, figures, model, publisher, wire
from offbeat_edge.bench.signal import Signal
from offbeat_edge.cli import main
from offbeat_edge.errors import ConfigError
from offbeat_edge.model import open_model

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.manifest import Manifest


@pytest.fixture
def path(tmp_path: Path, manifest: Manifest) -> Path:
    listed, members = answered(manifest)
    bundle.write(tmp_path / "tiny.offbeat", listed, members)
    return tmp_path / "tiny.offbeat"


def test_a_ratio_is_taken_turn_by_turn() -> None:
    assert figures.ratios([1.0, 9.0, 4.0], [2.0, 3.0, 4.0]) == figures.Spread(1.0, 0.5, 3.0)


def test_turns_alternate_between_subjects() -> None:
    seen: list[str] = []
    subjects = [lambda: seen.append("a"), lambda: seen.append("b")]
    taken = model.in_turns(subjects, turns=3)
    calm = [name for n, name in enumerate(seen) if n == 0 or seen[n - 1] != name]
    assert calm == ["a", "b"] * 4  # once to see how many calls fill a turn
    assert [len(figures) for figures in taken] == [3, 3]


@given(st.integers(0, 268_435_455))
def test_a_length_reads_back(value: int) -> None:
    encoded = publisher._length(value)  # noqa: SLF001 - a codec of four bytes
    assert len(encoded) <= 4
    assert sum((byte & 0x7F) << 7 * n for n, byte in enumerate(encoded)) == value
    assert all(byte & 0x80 for byte in encoded[:-1])


def test_readings_are_those_the_model_finds_normal(path: Path) -> None:
    loaded = bundle.load(path)
    signal = Signal(loaded)
    window = loaded.manifest.model.window
    names = [sensor.name for sensor in loaded.manifest.sensors]
    rows = [[signal.sample("a", step).values[name] for name in names] for step in range(window)]
    score = open_model(loaded, config_digest="").judge(np.array([rows])).score[0]
    assert score == pytest.approx(loaded.golden.scores.min(), abs=loaded.manifest.epsilon)


def test_a_message_says_what_the_sample_says(path: Path) -> None:
    signal = Signal(bundle.load(path))
    sample, said = signal.sample("a", 7), json.loads(signal.payload(7))
    assert said == {"ts": sample.time_ms, **sample.values}


def test_a_dense_bundle_scores_every_step(path: Path, tmp_path: Path) -> None:
    dense = tmp_path / "dense.offbeat"
    model.write_dense(dense, bundle.load(path))
    assert bundle.load(dense).manifest.model.stride == 1


def test_the_clock_of_a_process_counts_its_work() -> None:
    before, started = wire.cpu_seconds(os.getpid()), time.process_time()
    sum(range(300_000))
    spent = time.process_time() - started
    assert wire.cpu_seconds(os.getpid()) - before >= spent > 0


@pytest.mark.parametrize("text", [":1883", "host:", "host:x"])
def test_a_broker_that_is_no_address_is_refused(text: str, path: Path) -> None:
    with pytest.raises(ConfigError, match="--broker: expected HOST"):
        bench_command._address(text)  # noqa: SLF001 - the whole command measures first


def test_without_a_bundle_the_machine_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--json"]) == 0
    report = msgspec.json.decode(capsys.readouterr().out, type=figures.Report)
    assert report.floor_bytes > 1 << 20
    assert report.latency is None
    assert any(line.startswith("not measured") for line in figures.explain(report))


def test_it_loads_nothing_of_the_cloud_half() -> None:
    code = "import sys, offbeat_edge.bench.bench_command; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"tensorflow", "keras", "pandas", "offbeat_train", "offbeat_broker"}
