"""History comes into the lake from the layouts people have it in, once."""

from __future__ import annotations

import contextlib
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from offbeat_edge import cli
from offbeat_edge.schema import iso
from offbeat_train.lake import Lake, open_lake
from offbeat_train.lake.compact import compact
from offbeat_train.lake.layout import asset_days, samples_folder
from offbeat_train.lake.normal import normal_history

if TYPE_CHECKING:
    from pathlib import Path

T0 = 1_704_067_200_000  # 2024-01-01


def stamp(second: int, form: str) -> str:
    text = iso(T0 + second * 1000)[:19]
    return {"iso": f"{text}Z", "hyphens": text.replace("T", "-").replace(":", "-")}[form]


def table(
    path: Path,
    columns: dict[str, list[float]],
    *,
    form: str = "iso",
    head: str = "Timestamp",
    start: int = 0,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(*columns.values(), strict=True)
    lines = [",".join((stamp(start + n, form), *map(repr, row))) for n, row in enumerate(rows)]
    path.write_text("\n".join([",".join((head, *columns)), *lines]) + "\n")


def ramp(first: float, count: int = 50) -> list[float]:
    return [first + n for n in range(count)]


def bring(*words: object) -> Lake:
    *_, lake = words
    assert cli.main(["import", *map(str, words[:-1]), "--lake", str(lake)]) == 0
    return open_lake(str(lake))


def state(lake: Lake) -> object:
    frames = {a: lake.samples(a).to_csv() for a in lake.assets()}
    return frames, lake.feedback(), lake.maintenance()


def test_a_csv_comes_in_and_again_changes_nothing_not_even_after_compaction(tmp_path: Path) -> None:
    table(tmp_path / "pump.csv", {"flow": ramp(1.5, 90_000), "heat": ramp(20.25, 90_000)})
    lake = bring(tmp_path / "pump.csv", "--asset", "p1", tmp_path / "lake")
    once = state(lake)
    assert lake.samples("p1")["flow"].tolist() == ramp(1.5, 90_000)
    assert len(asset_days(lake.store, "p1")) == 2
    bring(tmp_path / "pump.csv", "--asset", "p1", tmp_path / "lake")
    assert state(lake) == once
    compact(lake.store, samples_folder("p1", "2024-01-01"))
    bring(tmp_path / "pump.csv", "--asset", "p1", tmp_path / "lake")
    assert state(lake) == once


@pytest.mark.parametrize("form", ["iso", "hyphens"])
@pytest.mark.parametrize("depth", ["component", "asset/component"])
def test_a_lookout_data_set_with_its_labels(tmp_path: Path, form: str, depth: str) -> None:
    base = tmp_path / "data" / ("" if depth == "component" else "pump7")
    table(base / "motor" / "1.csv", {"amps": ramp(0.0), "temp": ramp(100.0)}, form=form)
    table(base / "motor" / "2.csv", {"amps": ramp(50.0), "temp": ramp(150.0)}, form=form, start=50)
    table(base / "bearing" / "b.csv", {"temp": ramp(7.0, 100)}, form=form)
    labels = tmp_path / "labels.csv"
    labels.write_text(f"{stamp(20, form)},{stamp(29, form)}\n{stamp(60, form)},{stamp(60, form)}\n")
    words = [tmp_path / "data", "--asset", "p7", "--labels", labels, tmp_path / "lake"]
    lake = bring(*words)
    frame = lake.samples("p7")
    assert list(frame.columns) == ["amps", "bearing.temp", "motor.temp"]
    assert frame["amps"].tolist() == ramp(0.0, 100)
    assert not frame.isna().to_numpy().any()
    once = state(lake)
    assert state(bring(*words)) == once
    assert [f.verdict for f in lake.feedback("p7")] == ["confirmed", "confirmed"]
    kept = normal_history(lake, ["p7"]).frames["p7"]["amps"].tolist()
    assert sorted(set(ramp(0.0, 100)) - set(kept)) == [*map(float, range(20, 30)), 60.0]


def test_several_assets_of_a_lookout_data_set_keep_their_names(tmp_path: Path) -> None:
    for name in ("pump1", "pump2"):
        table(tmp_path / "data" / name / "motor" / "1.csv", {"amps": ramp(0.0)})
    assert bring(tmp_path / "data", tmp_path / "lake").assets() == ("pump1", "pump2")


@pytest.mark.parametrize("zipped", [False, True])
def test_an_anomaly_detector_data_set(tmp_path: Path, zipped: bool) -> None:  # noqa: FBT001
    folder = tmp_path / "press"
    table(folder / "flow.csv", {"value": ramp(1.0)}, head="timestamp")
    table(folder / "heat.csv", {"value": ramp(2.0, 49)}, head="timestamp", start=1)
    source = folder
    if zipped:
        source = tmp_path / "press.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in folder.iterdir():
                archive.write(path, f"press/{path.name}")
                archive.writestr(f"__MACOSX/press/._{path.name}", b"resource fork")
    frame = bring(source, tmp_path / "lake").samples("press")
    assert frame["flow"].tolist() == ramp(1.0)
    np.testing.assert_array_equal(frame["heat"].to_numpy(), [np.nan, *ramp(2.0, 49)])


def test_time_off_is_maintenance_and_left_out(tmp_path: Path) -> None:
    table(tmp_path / "pump.csv", {"rpm": [0.0] * 10 + [900.0] * 30 + [0.0] * 10, "x": ramp(0.0)})
    lake = bring(tmp_path / "pump.csv", "--asset", "p1", "--off", "rpm<10", tmp_path / "lake")
    assert [(m.start_ms - T0, m.end_ms - T0) for m in lake.maintenance()] == [
        (0, 10_000), (40_000, 49_001)]  # fmt: skip
    assert normal_history(lake, ["p1"]).frames["p1"]["x"].tolist() == ramp(10.0, 30)


@pytest.mark.parametrize(("words", "told"), [
    (["--asset", "Pump 1"], "an asset's name"),
    (["--asset", "p1", "--off", "rpm"], "SENSOR<VALUE"),
    (["--asset", "p1", "--off", "rpm<1"], "a sensor of flow"),
    (["--asset", "p1", "--labels", "bad.csv"], "bad.csv, line 2: expected two times"),
    (["--asset", "p1", "--labels", "turned.csv"], "line 1: expected start before end"),
])  # fmt: skip
def test_what_cannot_be_used_is_told_and_nothing_is_written(
    tmp_path: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table(tmp_path / "pump.csv", {"flow": ramp(1.0)})
    good = f"{stamp(1, 'iso')},{stamp(2, 'iso')}\n"
    (tmp_path / "bad.csv").write_text(f"{good}never,ever\n")
    (tmp_path / "turned.csv").write_text(f"{stamp(2, 'iso')},{stamp(1, 'iso')}\n")
    with contextlib.chdir(tmp_path):
        assert cli.main(["import", "pump.csv", "--lake", "lake", *words]) == 65
    assert told in capsys.readouterr().err
    assert not (tmp_path / "lake").exists()


def test_rows_without_times_are_no_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.csv").write_text("flow\n1.5\n2.5\n")
    words = ["import", str(tmp_path / "x.csv"), "--asset", "p", "--lake", str(tmp_path / "lake")]
    assert cli.main(words) == 65
    assert "a column of times" in capsys.readouterr().err


def test_what_is_no_zip_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK")
    assert cli.main(["import", str(tmp_path / "x.zip"), "--lake", str(tmp_path / "lake")]) == 65
    assert "expected a zip" in capsys.readouterr().err
