"""The words that say how a history was written down."""

from __future__ import annotations

import argparse

import pytest

from offbeat_train.errors import HistoryError
from offbeat_train.history_arguments import add_history_arguments, history_options


def options(*words: str) -> tuple[tuple[int, int], ...]:
    parser = argparse.ArgumentParser()
    add_history_arguments(parser)
    return history_options(parser.parse_args(words)).exclude


def test_a_range_without_a_zone_is_in_the_zone_of_the_history() -> None:
    words = ["--exclude", "2024-01-01T01:00:00/2024-01-01T02:00:00"]
    assert options(*words) == ((1_704_070_800_000, 1_704_074_400_000),)
    berlin = options(*words, "--timezone", "Europe/Berlin")
    assert berlin == ((1_704_067_200_000, 1_704_070_800_000),)


@pytest.mark.parametrize("text", ["2024-01-01", "b/a", "2024-01-02/2024-01-01"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(HistoryError, match="expected"):
        options("--exclude", text)
