"""The benchmark's walk: protocols of made-up downloads, one real series, stopping and going on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd
import pytest
from fit_parts import beat
from rich.console import Console

from offbeat_edge.cli import main
from offbeat_train.benchmark import contenders, pool, table
from offbeat_train.benchmark.datasets import gecco, msl, skab, ucr
from offbeat_train.benchmark.measure import Contender, Measured, Setting, measure
from offbeat_train.benchmark.metrics import Counts
from offbeat_train.benchmark.run import Cache, run
from offbeat_train.benchmark.series import Rows, Series, even_times, head

if TYPE_CHECKING:
    import numpy.typing as npt

TRAIN, ROWS = 600, 1000


def series(values: npt.NDArray[np.float64], *, name: str = "pump") -> Series:
    """A series of one-second rows, with an event in rows 800 to 899."""
    labels = np.zeros(len(values), dtype=bool)
    labels[800:900] = True
    rows = Rows(times_ms=even_times(len(values)), values=values)
    sensors = tuple(f"s{i}" for i in range(values.shape[1]))
    return Series(name=name, path=Path(__file__), sensors=sensors, train=head(rows, TRAIN),
                  stream=rows, labels=labels, first=TRAIN, has_time=False)  # fmt: skip


def outcome(name: str, seed: int = 0) -> Measured:
    one = Contender(rows=Counts(tp=1, fn=1), alerts=Counts(), auc_pr=0.5 + seed, vus_pr=None,
                    ucr_hit=None, numenta=None)  # fmt: skip
    return Measured(
        series=name, seed=seed, seconds=1.0, contenders=dict.fromkeys(contenders.NAMES, one)
    )


class Counter:
    """Measures nothing, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(self, one: Series, setting: Setting) -> Measured:
        self.asked.append((one.name, setting.seed))
        return outcome(one.name, setting.seed)


@pytest.fixture(scope="module")
def measured() -> Measured:
    values = beat(ROWS)
    values[800:900, 1] += 15.0
    return measure(series(values), Setting(dataset="skab", epochs=2))


def test_every_contender_sees_a_plain_fault_and_is_counted_on_the_same_rows(
    measured: Measured,
) -> None:
    assert measured.refused is None
    assert tuple(measured.contenders) == contenders.NAMES
    for found in measured.contenders.values():
        rows = found.rows
        assert rows.tp + rows.fn == 100
        assert rows.fp + rows.tn == ROWS - TRAIN - 100
    for name in ("offbeat", "float", "pca", "untrained", "zero"):
        found = measured.contenders[name]
        assert found.alerts.caught == 1
        assert found.auc_pr is not None
        assert found.auc_pr > 0.7


def test_integers_stay_near_the_float_model(measured: Measured) -> None:
    ours, floats = measured.contenders["offbeat"], measured.contenders["float"]
    assert ours.auc_pr == pytest.approx(floats.auc_pr, abs=0.02)


def test_an_endless_alarm_has_the_base_rate_for_precision(measured: Measured) -> None:
    rates = measured.contenders["always"].rows.rates()
    assert rates["far"] == 1.0
    assert rates["f1"] == pytest.approx(2 * 100 / (2 * 100 + 300))


def test_a_series_without_anything_to_learn_counts_as_silence() -> None:
    whole = series(beat(ROWS))
    short = dataclasses.replace(whole, train=head(whole.stream, 20))
    found = measure(short, Setting(dataset="skab", epochs=1))
    assert found.refused is not None
    assert found.contenders["offbeat"].rows == Counts(
        fn=100, tn=300, events=1, normal_hours=300 / 3600
    )
    assert found.contenders["always"].rows.tp == 100


def test_a_stopped_run_goes_on_after_the_last_finished_series(tmp_path: Path) -> None:
    parts = [series(beat(ROWS), name=name) for name in ("a", "b", "c")]
    path, settings = tmp_path / "out.series.jsonl", [Setting(dataset="skab")]
    first, told = Counter(), []
    run(parts[:2], settings, Cache(path, "k"), jobs=1, told=told.append, measured_by=first)
    with path.open("ab") as file:
        file.write(b'\n{"key":"k","measured":{"ser')  # killed while it wrote
    second = Counter()
    found = run(parts, settings, Cache(path, "k"), jobs=1, told=told.append, measured_by=second)
    assert second.asked == [("c", 0)]
    assert [one.series for one in found] == ["a", "b", "c"]
    assert [one.series for one in told] == ["a", "b", "a", "b", "c"]
    assert Cache(path, "k").get("c", 0) == found[2]


def test_figures_of_other_code_are_measured_again(tmp_path: Path) -> None:
    path, again = tmp_path / "out.series.jsonl", Counter()
    Cache(path, "old").put(outcome("a"))
    run([series(beat(ROWS), name="a")], [Setting(dataset="skab")], Cache(path, "new"), jobs=1,
        told=lambda _: None, measured_by=again)  # fmt: skip
    assert again.asked == [("a", 0)]


def test_seeds_are_pooled_apart_and_their_spread_is_told() -> None:
    found = pool.summary([outcome("a", 0), outcome("b", 0), outcome("a", 1), outcome("b", 1)])
    assert found["pca"]["auc_pr"] == (1.0, 0.5)
    assert found["pca"]["f1"].spread == 0.0


def test_the_table_shows_every_contender_and_the_published_rows() -> None:
    results = [msgspec.structs.replace(outcome("valve1/0"), refused="too few rows")]
    console = Console(width=200)
    with console.capture() as shown:
        table.show("skab", pool.summary(results), results, console)
    text = shown.get()
    for name in (*table.NAMES.values(), "Conv-AE (published)", "valve1/0 !", "too few rows"):
        assert name in text


def test_skab_trains_on_the_first_rows_of_each_file(tmp_path: Path) -> None:
    for part, file in (("valve1", "10.csv"), ("valve1", "2.csv"), ("other", "1.csv")):
        (tmp_path / part).mkdir(exist_ok=True)
        times = pd.date_range("2020-03-09", periods=500, freq="s").astype(str)
        frame = pd.DataFrame({"datetime": times, "Current": 1.5, "anomaly": 0.0, "changepoint": 0})
        frame.loc[450:, "anomaly"] = 1.0
        frame.to_csv(tmp_path / part / file, sep=";", index=False)
    found = list(skab(tmp_path))
    assert [one.name for one in found] == ["other/1", "valve1/2", "valve1/10"]
    assert found[0].sensors == ("Current",)
    assert len(found[0].train.times_ms) == found[0].first == 400
    assert found[0].labels.sum() == 50


def test_nasa_as_published_holds_train_and_test_apart(tmp_path: Path) -> None:
    for part, rows in (("train", 30), ("test", 40)):
        (tmp_path / part).mkdir()
        np.save(tmp_path / part / "P-1.npy", np.zeros((rows, 3)))
    ranges = '"[[2, 4]]"'
    (tmp_path / "labeled_anomalies.csv").write_text(
        "chan_id,spacecraft,anomaly_sequences,class,num_values\n"
        f'P-1,MSL,{ranges},[point],40\nP-1,MSL,"[[10, 10]]",[point],40\nS-1,SMAP,{ranges},[p],9\n'
    )
    (only,) = msl(tmp_path)
    assert len(only.train.times_ms) == 30
    assert np.flatnonzero(only.labels).tolist() == [2, 3, 4, 10]


def test_ucr_counts_rows_from_one(tmp_path: Path) -> None:
    path = tmp_path / "004_UCR_Anomaly_made_up_50_61_70.txt"
    path.write_text("\n".join(str(float(i)) for i in range(100)))
    (only,) = ucr(tmp_path)
    assert only.first == 50
    assert np.flatnonzero(only.labels).tolist() == list(range(60, 70))


def test_gecco_trains_on_the_first_half_without_its_events(tmp_path: Path) -> None:
    times = pd.date_range("2016-08-03", periods=20, freq="min").astype(str)
    frame = pd.DataFrame({"Time": times, "Tp": range(20), "pH": 7.0, "EVENT": False})
    frame.loc[4:5, "EVENT"] = True
    frame.loc[15, "EVENT"] = True
    frame.loc[7, "pH"] = None
    frame.to_csv(tmp_path / "geccoIC2018Train.csv", index=False)
    (only,) = gecco(tmp_path)
    learned = only.history().assets["asset"]
    level, acid = learned.values.T  # noqa: PD011 - arrays, not a frame
    assert level.tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
    assert learned.cuts.tolist() == [4]
    assert np.isnan(acid[5])
    assert np.flatnonzero(only.labels).tolist() == [5]


def test_a_folder_without_the_dataset_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "skab", "--data", str(tmp_path)]) == 65
    assert "expected valve1 or skab/valve1" in capsys.readouterr().err


def test_the_command_prints_and_writes_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "004_UCR_Anomaly_made_up_50_161_170.txt"
    path.write_text("\n".join(str(float(i % 9)) for i in range(300)))
    out = tmp_path / "ucr.json"
    words = ["benchmark", "ucr", "--data", str(tmp_path), "--json", str(out), "--jobs", "1"]
    assert main(words) == 0
    assert "expected at least 96 complete rows" in capsys.readouterr().out
    told = json.loads(out.read_text())
    assert told["pooled"]["always"]["events_caught"] == [1.0, 0.0]
    assert told["series"][0]["refused"]
    assert len((tmp_path / "ucr.series.jsonl").read_text().split()) > 0


def test_a_pattern_that_no_series_matches_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "004_UCR_Anomaly_made_up_50_61_70.txt").write_text("1 2 3")
    words = ["benchmark", "ucr", "--data", str(tmp_path), "--series", "valve*"]
    assert main(words) == 65
    assert "004_UCR_Anomaly_made_up_50_61_70" in capsys.readouterr().err
