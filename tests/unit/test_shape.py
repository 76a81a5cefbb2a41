"""Shapes: what bends is strange, what only moves or swells is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from bundle_parts import forged, packed

from offbeat_edge import bundle
from offbeat_edge import manifest as manifests
from offbeat_edge.errors import BundleError
from offbeat_edge.schema import SensorSpec
from offbeat_edge.scorer import Scorer
from offbeat_edge.shape import Codebook, Shapes, ShapeSpec, drawn
from offbeat_train import shapes
from offbeat_train.calibration import Holdout, calibrate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_edge.manifest import Manifest

    Floats = NDArray[np.float64]

SENSORS = tuple(SensorSpec(name=n, center=0.0, scale=1.0, cadence_ms=1000) for n in "ab")
BOTH = np.array([0, 1])


def windows(rows: int, *, seed: int = 0, steps: int = 40) -> Floats:
    rng = np.random.default_rng(seed)
    beat = np.sin(np.arange(rows)[:, None] * 2 * np.pi / 40 + np.array([0.0, 1.0]))
    series = beat + 0.05 * rng.normal(size=beat.shape)
    view = np.lib.stride_tricks.sliding_window_view(series, steps, axis=0)
    return np.ascontiguousarray(view.swapaxes(1, 2))


def learned() -> ShapeSpec:
    book = shapes.learn(windows(3000), BOTH)
    assert book is not None
    fresh = windows(1000, seed=1)
    holdout = Holdout(
        windows=fresh,
        recon=fresh,
        run=np.zeros(len(fresh), dtype=np.intp),
        stride=1,
        period_ms=1000,
        strange=shapes.strangeness(book, fresh, BOTH),
    )
    found = calibrate(holdout, SENSORS, book=book).shape
    assert found is not None
    return found


SPEC = learned()


def score(values: Floats) -> float:
    return float(Shapes(SPEC, SENSORS).score(values[None]).score[0])


def test_level_and_swing_are_not_shape() -> None:
    normal = windows(500, seed=2)[100]
    assert score(normal) < 1.0
    assert score(normal * 1.7 + 3.0) < 1.0


def test_a_bent_beat_is_strange_and_its_sensor_is_named() -> None:
    bent = windows(500, seed=2)[100]
    bent[10:30, 1] = bent[10, 1]
    found = Shapes(SPEC, SENSORS).score(bent[None])
    assert found.score[0] > 1.0
    assert found.shares[0].argmax() == 1
    assert found.shares[0].sum() == pytest.approx(1.0)


def test_a_batch_scores_as_its_windows_do_alone_to_the_bit() -> None:
    batch = windows(400, seed=3)
    judge = Shapes(SPEC, SENSORS)
    together = judge.score(batch)
    alone = [judge.score(one[None]) for one in batch]
    assert together.score.tolist() == [one.score[0] for one in alone]
    assert together.shares.tolist() == [one.shares[0].tolist() for one in alone]


def test_the_distance_is_that_to_the_nearest_code() -> None:
    codes = np.array([[[0.0, 64.0], [32.0, -32.0]]])
    away = Codebook(codes).distance(np.array([[[0.0, 60.0], [32.0, -31.0]]]))
    assert away.tolist() == [[16 / (2 * 32**2)], [1 / (2 * 32**2)]]


def test_noise_on_a_resting_sensor_is_not_enlarged_into_a_shape() -> None:
    flat = 1e-3 * np.random.default_rng(0).normal(size=(1, 40, 1))
    assert np.abs(drawn(flat, 1)).max() <= 1


def test_a_wide_machine_gets_shorter_books_and_the_widest_none() -> None:
    rng = np.random.default_rng(0)
    cells = {}
    for width in (1, 8, 60, 200):
        book = shapes.learn(rng.normal(size=(600, 64, width)), np.arange(width))
        cells[width] = None if book is None else book.codes.size
    assert cells[200] is None
    assert all(0 < size <= shapes.CELLS for w, size in cells.items() if size and w < 200)


def test_noise_has_no_shapes_worth_knowing() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 900, 40, 2))
    for fitted, held_out, known in ((windows(3000), windows(900, seed=5), True), (*noise, False)):
        book = shapes.learn(fitted, BOTH)
        assert book is not None
        strange = shapes.strangeness(book, held_out, BOTH)
        assert shapes.worth_knowing(book, held_out, BOTH, strange) is known


def test_the_louder_score_counts(manifest: Manifest) -> None:
    spec = ShapeSpec(pool=1, usual=(1.0, 1.0), threshold=2.0, codes=(((0, 0, 0, 0),),) * 2)
    with_shape = msgspec.structs.replace(manifest, shape=spec)
    values = np.random.default_rng(0).normal(size=(200, 4, 2))
    recon = np.zeros_like(values)
    plain = Scorer(manifest, manifest.sensors).score(values, recon).score
    shape = Shapes(spec, manifest.sensors).score(values).score
    both = Scorer(with_shape, manifest.sensors).score(values, recon).score
    assert both.tolist() == np.maximum(plain, shape).tolist()
    assert (plain > shape).any()
    assert (shape > plain).any()


def test_a_bundle_of_before_shapes_still_loads(manifest: Manifest) -> None:
    def older(document: dict[str, object]) -> None:
        document["schema"] = "1.0"
        del document["shape"]

    assert bundle.parse(forged(manifest, older), where="x").manifest.shape is None
    assert bundle.parse(packed(manifest), where="x").manifest.shape is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": (((0, 0),),) * 2}, "span 4 steps, got [2]"),
        ({"codes": (((0, 0, 0, 99_999),),) * 2}, "within +-8192"),
        ({"codes": (((0, 0, 0, 0),),)}, "expected 2 scored sensors, got 1"),
        ({"codes": ((), ())}, "expected numbers that span"),
        ({"usual": (1.0, 0.0)}, "usual distances"),
        ({"threshold": 0.0}, "usual distances"),
        ({"pool": 0}, "shape.pool: expected 1 to 4, got 0"),
    ],
)
def test_codes_that_make_no_sense_are_refused(
    manifest: Manifest, change: dict[str, object], message: str
) -> None:
    good = ShapeSpec(pool=1, usual=(1.0, 1.0), threshold=1.0, codes=(((0, 0, 0, 0),),) * 2)
    bad = msgspec.structs.replace(manifest, shape=msgspec.structs.replace(good, **change))
    with pytest.raises(BundleError) as caught:
        manifests.seal(bad, {})
    assert message in str(caught.value)
