"""Every door, knocked at some thousand times: the fuzzer's targets and mutators, without it."""

from __future__ import annotations

import os
import random

import pytest
from mutate import inputs
from targets import TARGETS

COUNT = 2000  # inputs a target
SEED = int(os.environ.get("OFFBEAT_SEED", "1"))


@pytest.mark.parametrize("name", TARGETS)
def test_valid_input_passes_a_door(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_input_breaks_no_door(name: str) -> None:
    target = TARGETS[name]
    for number, data in enumerate(
        inputs(target.seeds, COUNT, random.Random(SEED), most=target.most)
    ):
        try:
            target.run(data)
        except Exception as error:
            raise AssertionError(f"{name}, seed {SEED}, input {number}: {data!r}") from error
