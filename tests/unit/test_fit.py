"""A whole fit on a made-up beat: what comes out must do what it says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fit_parts import beat, history

from offbeat_edge import bundle
from offbeat_edge.detector import Detector
from offbeat_edge.interpreter import Interpreter
from offbeat_train import fit, package, parity, report
from offbeat_train.errors import AccuracyError
from offbeat_train.fit_command import _name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Told:
    """Remembers what a fit says of its progress."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.epochs: list[float] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def epoch(self, _epoch: int, _epochs: int, loss: float, _validation: float) -> None:
        self.epochs.append(loss)


def run(values: np.ndarray, told: Told, *, folder: Path, **options: object) -> fit.Fitted:
    made = history(values)
    path = folder / "history.csv"
    path.write_text("the bytes the lineage speaks of")
    made = type(made)(**{**vars(made), "paths": (path,)})
    chosen = fit.FitOptions(name="beat", **options)  # type: ignore[arg-type]
    return fit.fit(made, chosen, on=told)


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest.fixture(scope="module")
def fitted(told: Told, tmp_path_factory: pytest.TempPathFactory) -> fit.Fitted:
    folder = tmp_path_factory.mktemp("fit")
    return run(beat(700), told, folder=folder, window=16, epochs=3)


@pytest.fixture(scope="module")
def written(fitted: fit.Fitted, tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    path = tmp_path_factory.mktemp("bundle") / "beat.offbeat"
    digest = package.write(path, fitted, now=NOW)
    return bundle.load(path, digest=digest)


def test_every_block_is_trained_around_and_then_everything(fitted: fit.Fitted, told: Told) -> None:
    assert sum(stage.startswith("training") for stage in told.stages) == len(fitted.splits) + 1
    assert len(told.epochs) > len(fitted.splits)


def test_the_network_learns_the_beat(fitted: fit.Fitted) -> None:
    residual = fitted.holdout.windows - fitted.holdout.recon
    assert (residual**2).mean() < 0.2 * (fitted.holdout.windows**2).mean()


def test_integers_do_what_floats_do(fitted: fit.Fitted) -> None:
    assert fitted.parity.integer_error == pytest.approx(fitted.parity.float_error, rel=0.1)
    assert fitted.parity.score_difference < 0.05


class Aside(Interpreter):
    """Integers that are always a little off."""

    def reconstruct(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        return super().reconstruct(windows) + 0.06


def test_what_integers_are_always_off_by_is_left_to_calibration(fitted: fit.Fitted) -> None:
    pair = (fitted.trained.proof, Aside(fitted.trained.tflite))
    found = parity.compare([pair], fitted.calibration, fitted.prepared.sensors)
    assert found.difference == pytest.approx(0.06, rel=0.1)
    assert found.score_difference < 0.05


class Coarse(Interpreter):
    """Integers with steps larger than what the first sensor's residuals are."""

    def reconstruct(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        found = super().reconstruct(windows)
        found[..., 0] += 0.1 * np.resize([1.0, -1.0], found.shape[1])
        return found


def test_a_sensor_that_integers_say_too_coarsely_weighs_less_and_is_named(
    fitted: fit.Fitted,
) -> None:
    coarse = (fitted.trained.proof, Coarse(fitted.trained.tflite))
    close = parity.compare([coarse], fitted.calibration, fitted.prepared.sensors)
    assert close.score_difference > parity.SCORE_DIFFERENCE  # as it was calibrated, it is refused
    found, proven, told = parity.proven(
        fitted.holdout, [coarse], fitted.prepared.sensors, budget_per_week=1.0, rows=8, book=None
    )
    assert proven.score_difference <= parity.SCORE_DIFFERENCE
    variances = np.diagonal(np.linalg.inv(np.array(found.detector.precision)))
    before = np.diagonal(np.linalg.inv(np.array(fitted.calibration.detector.precision)))
    share = np.sqrt(variances[0]) * parity.SCORE_DIFFERENCE / 0.1
    assert np.abs(share / np.array(parity.FLOORS) - 1.0).min() < 0.05
    assert share < 0.9  # no more of the floor than it takes
    np.testing.assert_allclose(variances[1:], before[1:])
    (line,) = told
    assert [s.name for s in fitted.prepared.sensors if repr(s.name) in line] == [
        fitted.prepared.sensors[0].name
    ]


def test_integers_that_are_worse_as_a_whole_are_still_refused(fitted: fit.Fitted) -> None:
    class Lost(Interpreter):
        def reconstruct(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
            return super().reconstruct(windows) * 0.5

    lost = (fitted.trained.proof, Lost(fitted.trained.tflite))
    with pytest.raises(AccuracyError, match="no bundle was written"):
        parity.proven(
            fitted.holdout, [lost], fitted.prepared.sensors,
            budget_per_week=1.0, rows=8, book=None,
        )  # fmt: skip


def test_the_bundle_reproduces_its_golden_scores(written: bundle.Bundle) -> None:
    manifest, golden = written.manifest, written.golden
    detector = Detector(manifest.detector, manifest.sensors, threshold=manifest.threshold)
    recon = Interpreter(written.model).reconstruct(np.array(golden.windows))
    scores = detector.score(np.array(golden.windows), recon)
    np.testing.assert_array_equal(scores.score, golden.scores)
    np.testing.assert_array_equal(scores.shares, golden.shares)
    assert {check.runtime.delegate for check in manifest.runtimes} == {"xnnpack", "none"}


def test_golden_windows_hold_both_normal_and_faulty_ones(written: bundle.Bundle) -> None:
    assert (written.golden.scores < 1.0).any()
    assert (written.golden.scores > 1.0).any()


def test_the_manifest_says_where_the_model_comes_from(written: bundle.Bundle) -> None:
    lineage = written.manifest.lineage
    assert lineage.config["complete_rows"] == 700
    assert lineage.seed == 0
    assert written.manifest.model.created == "2026-01-02T03:04:05Z"
    assert isinstance(lineage.metrics["parity"], dict)


def test_the_data_digest_depends_on_every_byte_and_the_order(tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    one.write_bytes(b"a")
    two.write_bytes(b"b")
    assert len({package.digest(p) for p in ([one, two], [two, one], [one], [two])}) == 4


def test_a_fault_scores_above_the_threshold_and_names_its_sensor(
    fitted: fit.Fitted, written: bundle.Bundle
) -> None:
    windows = fitted.holdout.windows[:20].copy()
    windows[:, :, 1] += 6.0
    manifest = written.manifest
    detector = Detector(manifest.detector, manifest.sensors, threshold=manifest.threshold)
    scores = detector.score(windows, Interpreter(written.model).reconstruct(windows))
    assert (scores.score > 1.0).all()
    assert (scores.shares.argmax(axis=1) == 1).mean() > 0.8


def test_the_comparison_is_the_same_for_both_and_says_who_leads(fitted: fit.Fitted) -> None:
    comparison = fitted.comparison
    assert {row.fault for row in comparison.caught} == {
        "offset", "drift", "noise", "frozen", "swapped"}  # fmt: skip
    assert all(0 <= value <= 1 for row in comparison.caught for value in row[2:5])
    assert comparison.pca_as_good == (comparison.pca >= comparison.network - 0.02)
    assert ("PCA catches as many" in comparison.verdict) == comparison.pca_as_good


def test_the_same_seed_gives_the_same_model(fitted: fit.Fitted, tmp_path: Path) -> None:
    again = run(beat(700), Told(), folder=tmp_path, window=16, epochs=3)
    np.testing.assert_allclose(again.holdout.recon, fitted.holdout.recon, atol=0.05)
    assert again.calibration.threshold == pytest.approx(fitted.calibration.threshold, rel=0.02)


def test_what_a_short_history_cannot_hold_is_said(fitted: fit.Fitted) -> None:
    (said,) = [warning for warning in fitted.warnings if "history spans" in warning]
    assert "what comes more rarely" in said


def test_a_model_that_sees_nothing_is_said_to_be_blind(tmp_path: Path) -> None:
    wild = np.random.default_rng(1).standard_cauchy(size=(400, 2))
    fitted = run(wild, Told(), folder=tmp_path, window=8, epochs=1)
    assert any("nearly blind" in warning for warning in fitted.warnings)


def test_the_report_stands_alone_and_tells_the_verdict(fitted: fit.Fitted, tmp_path: Path) -> None:
    target = tmp_path / "beat.offbeat"
    digest = package.write(target, fitted, now=NOW)
    page = tmp_path / "beat.html"
    report.write(page, fitted, bundle=target, digest=digest)
    text = page.read_text()
    assert text.count("<svg") == 8
    assert digest in text
    assert fitted.comparison.verdict.replace("'", "&#x27;") in text
    for word in ("http:", "https:", "src=", "url(http"):
        assert word not in _without_namespaces(text)


def _without_namespaces(text: str) -> str:
    for name in ("http://www.w3.org/", "http://purl.org/", "http://creativecommons.org/",
                 "https://matplotlib.org/"):  # fmt: skip
        text = text.replace(name, "")
    return text


def lossy(float_error: float, integer_error: float, difference: float) -> parity.Parity:
    return parity.Parity(
        windows=10, float_error=float_error, integer_error=integer_error, difference=0.1,
        each=np.zeros(1), score_difference=difference, score_worst=0.5, float_scores=np.zeros(10),
        integer_scores=np.zeros(10),
    )  # fmt: skip


@pytest.mark.parametrize("figures", [(0.2, 0.3, 0.01), (0.2, 0.2, 0.4)])
def test_a_model_that_lost_its_accuracy_is_refused_with_the_figures(
    figures: Sequence[float],
) -> None:
    with pytest.raises(AccuracyError, match="no bundle was written") as caught:
        parity.refuse_if_lost(lossy(*figures))
    assert caught.value.figures["integer_error"] == figures[1]


def test_a_model_that_kept_its_accuracy_passes() -> None:
    parity.refuse_if_lost(lossy(0.2, 0.21, 0.02))


@pytest.mark.parametrize(
    ("given", "made"), [("Hall 1/Pump", "hall_1.pump"), ("x" * 99, "x" * 64), ("", "model")]
)
def test_a_model_name_becomes_an_id(given: str, made: str) -> None:
    assert _name(given) == made
