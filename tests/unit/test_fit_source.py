"""fit takes its rows from files or from a lake, and says what it does not understand."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from offbeat_edge.control import Feedback
from offbeat_train.errors import DataError, HistoryError
from offbeat_train.fit_source import add_source_arguments, read_source
from offbeat_train.lake import Writer, open_lake
from offbeat_train.lake.events import FEEDBACK

if TYPE_CHECKING:
    from pathlib import Path

T0 = 1_704_067_200_000  # 2024-01-01


def parsed(*words: str, sensors: tuple[str, ...] = ()) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_source_arguments(parser)
    return argparse.Namespace(**vars(parser.parse_args(words)), sensors=sensors)


@pytest.fixture
def lake(tmp_path: Path) -> str:
    """Three assets, ten seconds each; the second of pump1 was confirmed odd."""
    writer = Writer(open_lake(str(tmp_path)).store)
    readings = [(T0 + n * 1000, {"flow": float(n), "heat": 1.0}) for n in range(10)]
    writer.samples("1-r", {"pump1": readings, "pump2": readings, "fan": readings})
    odd = Feedback(id="1", asset="pump1", verdict="confirmed", time_ms=T0,
                   start_ms=T0 + 1000, end_ms=T0 + 2000)  # fmt: skip
    writer.events("1-r", FEEDBACK, [odd])
    return str(tmp_path)


def test_a_lake_gives_what_is_normal_of_the_assets_that_match(lake: str) -> None:
    history, made = read_source(parsed("--lake", lake, "--asset", "pump*"))
    assert history.sensors == ("flow", "heat")
    assert {name: len(r.times_ms) for name, r in history.assets.items()} == {
        "pump1": 9,
        "pump2": 10,
    }
    assert made is not None
    assert (made["assets"], made["edited_rows"]) == (["pump1", "pump2"], {"confirmed": 1})


def test_a_lake_can_be_read_from_a_moment_on_and_by_sensor(lake: str) -> None:
    words = ("--lake", lake, "--asset", "fan", "--since", "2024-01-01T00:00:08")
    history, _ = read_source(parsed(*words, sensors=("heat",)))
    assert history.sensors == ("heat",)
    assert history.assets["fan"].values.tolist() == [[1.0], [1.0]]
    with pytest.raises(DataError, match="speed"):
        read_source(parsed(*words, sensors=("speed",)))


def test_nothing_that_matches_is_told_with_what_there_is(lake: str) -> None:
    with pytest.raises(DataError, match="fan, pump1, pump2"):
        read_source(parsed("--lake", lake, "--asset", "press*"))


@pytest.mark.parametrize(("words", "told"), [
    ([], "got neither"),
    (["x.csv", "--lake", "y"], "got both"),
    (["--lake", "y", "--exclude", "a/b", "--time-unit", "s"], "--time-unit, --exclude"),
])  # fmt: skip
def test_what_goes_together_is_said(words: list[str], told: str) -> None:
    with pytest.raises(HistoryError, match=told):
        read_source(parsed(*words))


def test_files_are_read_as_ever(tmp_path: Path) -> None:
    file = tmp_path / "pump.csv"
    file.write_text("time,flow\n2024-01-01T00:00:00Z,1\n2024-01-01T00:00:01Z,2\n")
    history, made = read_source(parsed(str(file)))
    assert (history.sensors, made) == (("flow",), None)
