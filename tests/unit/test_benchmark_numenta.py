"""NAB's score of alerts: early pays, outside costs; equal to the reference at its threshold."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

from offbeat_train.benchmark.datasets import nab
from offbeat_train.benchmark.numenta import reward, score


def test_an_earlier_alert_in_a_window_earns_more() -> None:
    labels = np.arange(200) // 50 == 2
    points = [reward(labels, np.array([row]), 30).points for row in (100, 120, 149)]
    assert points[0] == 1.0
    assert points == sorted(points, reverse=True)
    assert points[2] > 0.0


def test_a_second_alert_in_a_window_changes_nothing() -> None:
    labels = np.arange(200) // 50 == 2
    once = reward(labels, np.array([110]), 30)
    assert reward(labels, np.array([110, 130]), 30) == once


def test_an_alert_in_the_probation_does_not_count() -> None:
    labels = np.arange(200) // 50 == 2
    assert reward(labels, np.array([10]), 30).points == -1.0


def test_a_false_alert_costs_less_just_behind_a_window() -> None:
    labels = np.arange(400) // 50 == 2
    before, near, far = (reward(labels, np.array([row]), 30).points for row in (40, 152, 399))
    assert before == pytest.approx(-1.11)
    assert far == pytest.approx(-1.11)
    assert -1.11 < near < -1.0


def test_alerts_score_as_in_the_reference() -> None:
    folder = os.environ.get("OFFBEAT_DATA")
    if folder is None or not (Path(folder) / "nab_score.py").exists():
        pytest.skip("OFFBEAT_DATA names no folder with the reference nab_score.py")
    spec = importlib.util.spec_from_file_location("nab_score", Path(folder) / "nab_score.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    rng = np.random.default_rng(0)
    base = Path(folder) / "nab"
    windows = json.loads((base / "labels" / "combined_windows.json").read_text())
    files, rewards = [], []
    for series in list(nab(Path(folder)))[::6]:
        told = np.sort(rng.choice(len(series.labels), size=6, replace=False))
        scores = np.isin(np.arange(len(series.labels)), told).astype(float)
        files.append((scores, *reference.layout(series.path, windows[f"{series.name}.csv"])))
        rewards.append(reward(series.labels, told, series.first))
    points, _, count = reference.sweep(files, "standard", threshold=0.5)
    assert sum(one.windows for one in rewards) == count
    assert score(rewards) == pytest.approx(100 * (points + count) / (2 * count))
