"""The benchmark's figures: by hand, and against the reference beside the datasets."""

# ruff: noqa: ANN401 - the reference is a module without types
from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offbeat_train.benchmark.metrics import (
    auc_pr,
    count,
    pooled,
    runs,
    ucr_hit,
    vus_pr,
    vus_window,
)


def flags(rows: int, *ranges: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    out = np.zeros(rows, dtype=bool)
    for first, last in ranges:
        out[first : last + 1] = True
    return out


def counted(labels: Any, alarms: list[tuple[int, int]]) -> Any:
    spans = np.array(alarms, dtype=np.int64).reshape(-1, 2)
    times = np.arange(len(labels), dtype=np.int64) * 1000
    return count(labels, spans, spans[:, 0], times, period_ms=1000)


@pytest.fixture(scope="module")
def reference() -> Any:
    folder = os.environ.get("OFFBEAT_DATA")
    path = Path(folder or ".") / "metrics.py"
    if folder is None or not path.exists():
        pytest.skip("OFFBEAT_DATA names no folder with the reference metrics.py")
    spec = importlib.util.spec_from_file_location("reference_metrics", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random_series(seed: int) -> tuple[Any, Any]:
    """Events of all lengths, at the edges too, and scores with many ties."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.random(40) < 0.3, rng.integers(1, 30, size=40))
    labels[:2], labels[-3:] = bool(seed % 2), bool(seed % 3)
    labels[10], labels[20] = True, False
    scores = np.round(rng.random(len(labels)) + 0.4 * labels, 1 + seed % 3)
    return labels, scores


def test_an_alarm_inside_an_event_catches_it_with_the_delay_to_its_start() -> None:
    got = counted(flags(100, (20, 39), (60, 69)), [(25, 29), (80, 84)])
    assert (got.tp, got.fp, got.fn, got.tn) == (5, 5, 25, 65)
    assert (got.events, got.caught, got.alarms, got.false_alarms) == (2, 1, 2, 1)
    assert got.delays == (5.0,)
    assert got.normal_hours == pytest.approx(70 / 3600)


def test_an_alarm_open_before_an_event_has_no_delay() -> None:
    assert counted(flags(50, (20, 29)), [(10, 25)]).delays == (0.0,)


def test_an_endless_alarm_wins_overlap_but_not_the_composite() -> None:
    rates = counted(flags(100, (90, 99)), [(0, 99)]).rates()
    assert rates["overlap_f1"] == 1.0
    assert rates["fc1"] == pytest.approx(2 * 0.1 / 1.1)
    assert rates["far"] == 1.0


def test_no_alarm_and_no_event_give_zeros_not_errors() -> None:
    assert set(counted(flags(10), []).rates().values()) == {0.0}


def test_pooling_adds_counts_before_rates() -> None:
    one = counted(flags(100, (0, 49)), [(0, 49)])
    other = counted(flags(10, (0, 4)), [])
    both = pooled([one, other])
    assert both.rates()["f1"] == pytest.approx(2 * 50 / (2 * 50 + 5))
    assert both.delays == (0.0,)


def test_rankings_need_both_kinds_of_row() -> None:
    assert auc_pr(flags(5), np.arange(5.0)) is None
    assert vus_pr(flags(5, (0, 4)), np.arange(5.0), window=2) is None


def test_a_perfect_score_has_a_perfect_average_precision() -> None:
    labels = flags(50, (10, 19))
    assert auc_pr(labels, labels.astype(float)) == 1.0


def test_ucr_counts_the_highest_score_near_the_event() -> None:
    labels = flags(1000, (500, 520))
    assert ucr_hit(labels, flags(1000, (430, 430)).astype(float))
    assert not ucr_hit(labels, flags(1000, (300, 300)).astype(float))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("window", [0, 1, 7, 40])
def test_vus_pr_equals_the_reference(reference: Any, seed: int, window: int) -> None:
    labels, scores = random_series(seed)
    expected = reference.vus_pr(labels, scores, window=window)
    assert vus_pr(labels, scores, window=window) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_rows_and_events_equal_the_reference(reference: Any, seed: int) -> None:
    labels, scores = random_series(seed)
    alarm = scores > 0.8
    spans = runs(alarm)
    times = np.arange(len(labels), dtype=np.int64) * 1000
    got = count(labels, spans, spans[:, 0], times, period_ms=1000)
    rates, expected = got.rates(), reference.point_f1(labels, alarm)
    for name in ("f1", "far", "mar"):
        assert rates[name] == pytest.approx(expected[name])
    events = reference.event_scores(labels, alarm)
    assert rates["overlap_f1"] == pytest.approx(events["f1_overlap"])
    assert got.false_alarms == events["false_alarms"]
    assert rates["fc1"] == pytest.approx(reference.composite_f1([labels], [alarm])["fc1"])
    delays = reference.delays(labels, alarm)
    assert list(got.delays) == delays[~np.isnan(delays)].tolist()
    assert auc_pr(labels, scores) == pytest.approx(reference.average_precision(labels, scores))


@pytest.mark.parametrize("period", [12, 47, 350])
def test_the_window_of_vus_equals_the_reference(reference: Any, period: int) -> None:
    rng = np.random.default_rng(period)
    column = np.sin(np.arange(4000) * 2 * np.pi / period) + 0.1 * rng.normal(size=4000)
    assert vus_window(column) == reference.acf_period(column)


def test_noise_and_constants_get_the_reference_window(reference: Any) -> None:
    noise = np.random.default_rng(0).normal(size=3000)
    for column in (noise, np.ones(1000), np.arange(50.0)):
        assert vus_window(column) == reference.acf_period(column)
