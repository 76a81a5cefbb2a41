"""`offbeat fit` as a person meets it: arguments, exit codes, messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fit_parts import START_MS, beat

from offbeat_edge import bundle
from offbeat_edge.cli import main
from offbeat_train.preview.levels import curve_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "pump.csv"
    rows = beat(300, width=2)
    lines = [f"{START_MS + i * 1000},{a},{b}" for i, (a, b) in enumerate(rows.tolist())]
    path.write_text("\n".join(["ts,flow,heat", *lines]) + "\n")
    return path


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_history_becomes_a_bundle_and_a_report(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = recording.with_name("Pump A.offbeat")
    assert main(["fit", str(recording), "--out", str(out), "--window", "8", "--epochs", "1"]) == 0
    manifest = bundle.load(out).manifest
    assert [sensor.name for sensor in manifest.sensors] == ["flow", "heat"]
    assert (manifest.model.name, manifest.model.window) == ("pump_a", 8)
    curve = curve_of(manifest)  # with which replay tries other budgets
    assert curve is not None
    assert manifest.threshold == curve.thresholds(1.0)[0]
    assert out.with_suffix(".html").exists()
    assert "epoch milliseconds" in " ".join(capsys.readouterr().out.split())


def test_what_is_no_measurement_is_told(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *rows = recording.read_text().splitlines()
    more = [f"{row},{i // 40 % 2},{7 * i}" for i, row in enumerate(rows)]
    recording.write_text("\n".join([f"{head},open,kwh", *more]) + "\n")
    out = recording.with_suffix(".offbeat")
    assert main(["fit", str(recording), "--out", str(out), "--window", "8", "--epochs", "1"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "not judged, only heard, as a 0 or 1 is decided elsewhere: open" in said
    assert "like counters, whose next value they never had: 'kwh'" in said
    assert "3 sensors" in said


def test_faults_in_the_history_are_told(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *rows = recording.read_text().splitlines()
    cells = [row.split(",") for row in rows]
    for time_ms, flow, heat in cells[60:70]:
        rows[rows.index(f"{time_ms},{flow},{heat}")] = f"{time_ms},{float(flow) + 90.0},{heat}"
    recording.write_text("\n".join([head, *rows[150:], *rows[:150]]) + "\n")  # in any order
    out, page = recording.with_suffix(".offbeat"), recording.with_suffix(".html")
    assert main(["fit", str(recording), "--out", str(out), "--window", "8", "--epochs", "1"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "over its own history: 1 anomaly" in said
    told = "2024-01-01T00:01:"
    assert told in said.split("over its own history", 1)[1]
    assert "Over its own history" in page.read_text()
    assert told in page.read_text().split("Over its own history", 1)[1]


def test_too_little_data_ends_with_the_figures_and_no_bundle(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording.write_text("\n".join(recording.read_text().splitlines()[:40]) + "\n")
    out = recording.with_suffix(".offbeat")
    assert main(["fit", str(recording), "--out", str(out)]) == 65
    assert "expected at least 96 complete rows for a window of 8, got 39" in told(capsys)
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sensors", "flwo"], "did you mean 'flow'"),
        (["--time-column", "heat", "--asset-column", "pump"], "expected a column 'pump'"),
        (["--exclude", "yesterday"], "expected START/END, got 'yesterday'"),
    ],
)
def test_wrong_arguments_are_told_with_exit_65(
    recording: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(recording), "--out", str(recording.with_suffix(".o")), *words]) == 65
    assert message in told(capsys)


@pytest.mark.parametrize(
    "words",
    [["--period", "often"], ["--window", "0"], ["--units", "8,x"]],
)
def test_arguments_of_the_wrong_form_are_usage_errors(
    recording: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", str(recording), "--out", "x", *words])
    assert caught.value.code == 2
    assert "expected" in told(capsys)


def test_an_output_folder_that_is_not_there_is_told_before_any_work(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(recording), "--out", str(tmp_path / "no" / "x.offbeat")]) == 65
    assert "expected a directory to write into" in told(capsys)


def test_a_sensor_that_never_moved_is_watched_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = START_MS + np.arange(600) * 1000
    still, moved = tmp_path / "still.csv", tmp_path / "moved.csv"
    still.write_text("ts,a\n" + "".join(f"{t},45\n" for t in times))
    moved.write_text("ts,a\n" + "".join(f"{t},{45 if t < times[300] else 60}\n" for t in times))
    bundle = str(tmp_path / "x.offbeat")
    quick = ["--epochs", "1", "--window", "8", "--units", "4"]
    assert main(["fit", str(still), "--out", bundle, *quick]) == 0
    assert "never changed" in " ".join(capsys.readouterr().out.split())
    assert main(["replay", bundle, str(still)]) == 0
    assert "0 anomaly" in capsys.readouterr().out
    assert main(["replay", bundle, str(moved)]) == 0
    assert "1 anomaly" in capsys.readouterr().out
