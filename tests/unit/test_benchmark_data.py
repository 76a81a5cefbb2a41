"""The readers against the real downloads: how much there is, and figures known beforehand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from offbeat_train.benchmark.datasets import DATASETS
from offbeat_train.benchmark.metrics import count, pooled

if TYPE_CHECKING:
    from offbeat_train.benchmark.series import Series


def read(name: str) -> list[Series]:
    folder = os.environ.get("OFFBEAT_DATA")
    if folder is None:
        pytest.skip("OFFBEAT_DATA does not name the folder of the datasets")
    return list(DATASETS[name](Path(folder)))


@pytest.mark.parametrize(
    ("name", "series"), [("skab", 34), ("smap", 54), ("msl", 27), ("nab", 58), ("gecco", 1)]
)
def test_every_series_is_found(name: str, series: int) -> None:
    found = read(name)
    assert len(found) == len({one.name for one in found}) == series
    assert all(one.labels[one.first :].any() for one in found if name != "nab")


def test_an_endless_alarm_on_skab_has_the_known_f1() -> None:
    parts = []
    for one in read("skab"):
        labels = one.labels[one.first :]
        spans = np.array([[0, len(labels) - 1]])
        times = one.stream.times_ms[one.first :]
        parts.append(count(labels, spans, spans[:, 0], times, period_ms=1000))
    assert round(pooled(parts).rates()["f1"], 3) == 0.698


@pytest.mark.parametrize("name", ["ucr", "tsb-ad"])
def test_a_prefix_that_trains_holds_no_event(name: str) -> None:
    for one in read(name):
        assert not one.labels[: len(one.train.times_ms)].any(), one.name
