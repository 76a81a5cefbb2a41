"""Orion's threshold: what stands out from a third of the signal."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the cloud half is not installed")

from offbeat_train.benchmark.orion import errors_of, spans


def signal(**peaks: float) -> np.ndarray:
    """900 rows of noise around 1 with peaks at rows named ``r<row>``."""
    errors = 1.0 + 0.01 * np.random.default_rng(0).normal(size=900)
    for row, height in peaks.items():
        errors[int(row[1:])] = height
    return errors


def test_a_peak_is_found_with_fifty_rows_to_either_side() -> None:
    assert spans(signal(r450=9.0)).tolist() == [[400, 500]]


def test_a_peak_that_hardly_stands_out_goes() -> None:
    # Four deviations above the mean, yet less than a tenth above the rest.
    assert spans(signal(r450=1.06)).tolist() == []


def test_peaks_of_one_height_stay_where_the_lowest_stands_out() -> None:
    assert spans(signal(r420=9.0, r560=8.9)).tolist() == [[370, 470], [510, 610]]


def test_what_meets_is_one() -> None:
    assert spans(signal(r420=9.0, r500=9.0)).tolist() == [[370, 550]]


def test_edges_of_the_signal_cut_the_padding() -> None:
    assert spans(signal(r3=9.0, r899=9.0)).tolist() == [[0, 53], [849, 899]]


def test_a_signal_without_change_has_no_anomaly() -> None:
    assert spans(np.zeros(500)).tolist() == []
    assert spans(np.ones(10)).tolist() == []


def test_errors_are_a_mean_around_each_row_between_one_and_four() -> None:
    scores = np.zeros(900)
    scores[450] = 9.0
    errors = errors_of(scores)
    assert np.flatnonzero(errors > 1.0).tolist() == list(range(446, 455))  # nine rows
    assert errors.min() == 1.0
    assert errors[450] == 4.0


def test_the_first_hundredth_does_not_count() -> None:
    scores = np.zeros(900)
    scores[[2, 450]] = 9.0
    assert errors_of(scores)[:9].tolist() == [1.0] * 9


def test_scores_without_change_have_no_errors() -> None:
    assert errors_of(np.full(50, 3.0)).tolist() == [1.0] * 50
