"""The search keeps the defaults unless something is clearly better."""

from __future__ import annotations

import pytest

pytest.importorskip("optuna", reason="the extra tune is not installed")

from offbeat_train.errors import DataError
from offbeat_train.tune import MARGIN, Chosen, Tried, search


def quiet(_: Tried) -> None:
    """Hear of a trial."""


def test_the_first_trial_is_the_defaults_and_stays_when_all_are_alike() -> None:
    told: list[Tried] = []
    best = search(lambda _: 0.5, window=64, trials=5, seed=0, told=told.append)
    assert best == told[0] == Tried(0, Chosen(), 0.5)
    assert len(told) == 5


def test_a_clear_lead_wins_and_a_small_one_does_not() -> None:
    def lead(by: float) -> Tried:
        return search(
            lambda chosen: 0.5 + by * (chosen.window is not None),
            window=64, trials=3, seed=0, told=quiet,
        )  # fmt: skip

    assert lead(2 * MARGIN).number > 0
    assert lead(MARGIN / 2).number == 0


def test_every_choice_is_one_that_fit_takes() -> None:
    told: list[Tried] = []
    search(lambda _: 0.5, window=12, trials=12, seed=1, told=told.append)
    for tried in told[1:]:
        chosen = tried.chosen
        assert chosen.window is not None
        assert chosen.stride is not None
        assert chosen.window >= 8
        assert chosen.window % 8 == 0
        assert 1 <= chosen.stride <= chosen.window


def test_the_same_seed_gives_the_same_search() -> None:
    def trials(seed: int) -> list[Tried]:
        told: list[Tried] = []
        search(lambda c: (c.window or 64) / 200, window=64, trials=8, seed=seed, told=told.append)
        return told

    assert trials(3) == trials(3)


def test_a_refused_trial_is_passed_over_and_a_refused_default_is_an_error() -> None:
    def picky(chosen: Chosen) -> float:
        if chosen.window is not None:
            raise DataError("too little")
        return 0.5

    told: list[Tried] = []
    assert search(picky, window=64, trials=4, seed=0, told=told.append).number == 0
    assert [one.refused for one in told[1:]] == ["too little"] * 3

    def hopeless(_: Chosen) -> float:
        raise DataError("nothing")

    with pytest.raises(DataError, match="nothing"):
        search(hopeless, window=64, trials=2, seed=0, told=quiet)
