"""What integers cost: the device's model against the float one.

Rules: both see the same held-out windows, cut to the range of the integers
(beyond it both go on alike, in floats); compared are the scores and the error
of what they rest on, the judged sensors' reconstruction; scores are compared
without what integers are always off by, which calibration takes off as well; a
model beyond the limits is refused with the figures.

>>> compare(pairs, calibration, sensors).score_difference  # doctest: +SKIP
0.004
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from offbeat_edge.detector import scored_columns
from offbeat_edge.scorer import Scorer
from offbeat_train.blocks import in_blocks
from offbeat_train.calibration import NOISE_FLOOR, calibrate
from offbeat_train.errors import AccuracyError
from offbeat_train.words import amount, few

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from offbeat_edge.interpreter import Interpreter
    from offbeat_edge.schema import SensorSpec
    from offbeat_train.calibration import Calibration, Holdout
    from offbeat_train.shapes import Book

    Floats = NDArray[np.float64]
    # of each network held-out windows (N, T, F) with the float form's reconstruction, and the other
    Networks = Sequence[tuple[tuple[Floats, Floats], Interpreter]]

WINDOWS = 2_000  # compared at most, of each network
ERROR_RATIO = 1.15  # integer over float reconstruction error
ERROR_FLOOR = 0.02  # scaled units; below it a ratio means nothing
SCORE_DIFFERENCE = 0.15  # typical (root mean square), where 1.0 is the threshold
FLOORS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of what surely suffices, tried one after the other


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Integer against float on held-out windows; errors in scaled units."""

    windows: int
    float_error: float  # root mean square of window - reconstruction
    integer_error: float
    difference: float  # root mean square of integer - float reconstruction
    each: Floats  # (S,), the same of each judged sensor, less what is always off
    score_difference: float  # root mean square of the scores' difference
    score_worst: float
    float_scores: Floats  # (N,)
    integer_scores: Floats  # (N,)

    def figures(self) -> dict[str, float]:
        """Give the plain numbers by name."""
        return {
            "windows": self.windows, "float_error": self.float_error,
            "integer_error": self.integer_error, "difference": self.difference,
            "score_difference": self.score_difference, "score_worst": self.score_worst,
        }  # fmt: skip


def proven(
    holdout: Holdout,
    networks: Networks,
    sensors: tuple[SensorSpec, ...],
    *,
    budget_per_week: float,
    rows: int,
    book: Book | None,
) -> tuple[Calibration, Parity, list[str]]:
    """Calibrate on what integers reconstruct, and compare them with floats.

    A sensor can be reconstructed to less than the integers' steps, where it
    hardly moves or others say all of it.  Where that would move scores, what
    integers and floats differ by becomes its noise floor, as far as it takes,
    so that it weighs less; the texts returned say so.

    Raises
    ------
    AccuracyError : the integer form lost accuracy.
    """

    def both(floor: Floats | float) -> tuple[Calibration, Parity]:
        found = calibrate(
            holdout, sensors, budget_per_week=budget_per_week, rows=rows, book=book, floor=floor
        )
        return found, compare(networks, found, sensors)

    calibration, parity = both(NOISE_FLOOR)
    told: list[str] = []
    each, usual = parity.each, _usual(calibration)
    for share in FLOORS:
        if parity.score_difference <= SCORE_DIFFERENCE:
            break
        floor = np.maximum(share * each / SCORE_DIFFERENCE, NOISE_FLOOR)
        calibration, parity = both(floor)
        told = _coarse(floor, usual, sensors)
    refuse_if_lost(parity)
    return calibration, parity, told


def _usual(calibration: Calibration) -> Floats:
    """How large each judged sensor's residual usually is, (S,), scaled."""
    precision = np.array(calibration.detector.precision)
    return np.asarray(np.sqrt(np.diagonal(np.linalg.inv(precision))), dtype=np.float64)


def _coarse(floor: Floats, usual: Floats, sensors: tuple[SensorSpec, ...]) -> list[str]:
    """Name the sensors whose floor is more than their usual residual, in one text."""
    judged = [sensors[index] for index in scored_columns(sensors)]
    found = [amount(judged[i], float(floor[i])) for i in np.flatnonzero(floor > usual)]
    said = "integers say these too coarsely for what is usual of them; smaller changes are heard"
    return [f"{said} late or not at all: {few(found)}"] if found else []


def compare(
    networks: Networks,
    calibration: Calibration,
    sensors: tuple[SensorSpec, ...],
) -> Parity:
    """Compare each network's two forms on its held-out windows.

    Parameters
    ----------
    networks : for each, held-out windows (N, T, F) with the float network's
        reconstruction of them, and the integer form.
    """
    scorer = Scorer(calibration, sensors)
    judged = scored_columns(sensors)
    return _parity(np.concatenate([
        _measured(*proof, integer.reconstruct(proof[0]), scorer, judged)
        for proof, integer in networks
    ]))  # fmt: skip


def refuse_if_lost(parity: Parity) -> None:
    """Refuse integers that are worse than the limits allow.

    Raises
    ------
    AccuracyError : the integer form lost accuracy.
    """
    limit = ERROR_RATIO * parity.float_error + ERROR_FLOOR
    if parity.integer_error > limit:
        raise AccuracyError(
            f"the integer model lost accuracy: expected a reconstruction error of at most "
            f"{limit:.4f} (float: {parity.float_error:.4f}) on {parity.windows} held-out windows, "
            f"got {parity.integer_error:.4f}; no bundle was written",
            figures=parity.figures(),
        )
    if parity.score_difference > SCORE_DIFFERENCE:
        raise AccuracyError(
            f"the integer model lost accuracy: expected scores within {SCORE_DIFFERENCE} of the "
            f"float model's (root mean square, {parity.windows} held-out windows), "
            f"got {parity.score_difference:.4f}; no bundle was written",
            figures=parity.figures(),
        )


def _measured(
    windows: Floats, floats: Floats, integers: Floats, scorer: Scorer, judged: NDArray[np.intp]
) -> Floats:
    """Judge each window, (N, 5 + S).

    Mean square errors of float, integer, and between; both scores; of each judged
    sensor the mean square between, less what is always off.
    """
    # Calibration knows the integers' residuals: what they are always off by, it takes off again.
    always = (integers - floats).mean(axis=(0, 1))

    def measured(real: Floats, of_float: Floats, of_integer: Floats) -> Floats:
        pairs = ((real, of_float), (real, of_integer), (of_integer, of_float))
        errors = [np.square((one - other)[..., judged]).mean(axis=(1, 2)) for one, other in pairs]
        recons = (of_float + always, of_integer)
        scores = [scorer.score(real, recon).score for recon in recons]
        each = np.square((recons[1] - recons[0])[..., judged]).mean(axis=1)
        return np.column_stack([*errors, *scores, each])

    return in_blocks(measured, windows, floats, integers)


def _parity(measured: Floats) -> Parity:
    *errors, of_float, of_integer = measured[:, :5].T
    float_error, integer_error, difference = (float(np.sqrt(one.mean())) for one in errors)
    away = of_integer - of_float
    return Parity(
        windows=len(measured),
        float_error=float_error,
        integer_error=integer_error,
        difference=difference,
        each=np.sqrt(measured[:, 5:].mean(axis=0)),
        score_difference=float(np.sqrt(np.square(away).mean())),
        score_worst=float(np.abs(away).max()),
        float_scores=of_float,
        integer_scores=of_integer,
    )
