"""The one module that knows a runtime; needs no cloud half, so both runtimes can be tested."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from chance import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from offbeat_edge import modelfile
from offbeat_edge.errors import ModelError
from offbeat_edge.interpreter import BATCHES, Interpreter

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"
MODEL = (DATA / "small_lstm.tflite").read_bytes()
# The same network as first exported: each part, and a coarse excess, an output of its own.
THREE = (DATA / "three_outputs.tflite").read_bytes()
STORED = np.load(DATA / "small_lstm.npz")
WINDOWS: NDArray[np.float64] = STORED["windows"].astype(np.float64)
EXPECTED: NDArray[np.float64] = STORED["expected"]
DELEGATE = pytest.mark.parametrize("delegate", [True, False], ids=["delegate", "plain"])
PREPARED = {delegate: Interpreter(MODEL, delegate=delegate) for delegate in (True, False)}
MANY = np.random.default_rng(0).normal(scale=2.0, size=(2 * max(BATCHES) + 5, 8, 2))
MANY[::4] *= 20.0  # beyond the integers
ONE_BY_ONE = {
    delegate: np.concatenate([run.reconstruct(window[None]) for window in MANY])
    for delegate, run in PREPARED.items()
}


@DELEGATE
def test_it_follows_the_float_network(delegate: bool) -> None:  # noqa: FBT001
    error = PREPARED[delegate].reconstruct(WINDOWS) - EXPECTED
    assert np.sqrt((error**2).mean()) < 0.04 * np.sqrt((EXPECTED**2).mean())


@DELEGATE
@settings(max_examples=examples(30))
@given(data=st.data())
def test_results_do_not_depend_on_batching(delegate: bool, data: st.DataObject) -> None:  # noqa: FBT001
    cuts = data.draw(st.sets(st.integers(1, len(MANY) - 1), max_size=6).map(sorted))
    parts = np.split(MANY, cuts)
    got = np.concatenate([PREPARED[delegate].reconstruct(part) for part in parts])
    np.testing.assert_array_equal(got, ONE_BY_ONE[delegate])


@DELEGATE
def test_results_do_not_depend_on_what_ran_before(delegate: bool) -> None:  # noqa: FBT001
    fresh = Interpreter(MODEL, delegate=delegate)
    for count in (3, 1, 20, 2):
        got = fresh.reconstruct(MANY[:count])
        np.testing.assert_array_equal(got, ONE_BY_ONE[delegate][:count])


def test_no_windows_give_no_reconstructions() -> None:
    assert PREPARED[True].reconstruct(np.empty((0, 8, 2))).shape == (0, 8, 2)


def test_the_windows_are_left_as_they_were() -> None:
    windows = WINDOWS.copy()
    PREPARED[True].reconstruct(windows)
    np.testing.assert_array_equal(windows, WINDOWS)


def test_values_are_rounded_to_the_nearest_step() -> None:
    # Less than half an input step away, nothing may change; truncation would.
    step = 10.0 / 127
    window = np.round(WINDOWS[:1] / step) * step
    np.testing.assert_array_equal(
        PREPARED[False].reconstruct(window), PREPARED[False].reconstruct(window - 0.4 * step)
    )


@DELEGATE
def test_what_the_integers_cut_off_the_linear_path_answers(delegate: bool) -> None:  # noqa: FBT001
    run, path = PREPARED[delegate], modelfile.linear_path(MODEL, where="model")
    assert path is not None
    there, back = (matrix.values * matrix.scale for matrix in path[:2])
    far = WINDOWS + np.array([1e5, -40.0])
    cut = np.clip(far, -10.0, 10.0)
    answer = ((far - cut).reshape(len(far), -1) @ there.T @ back.T).reshape(far.shape)
    np.testing.assert_allclose(
        run.reconstruct(far), run.reconstruct(cut) + answer, rtol=1e-6, atol=1e-6
    )
    assert np.abs(answer).max() > 1e4
    absurd = np.where(WINDOWS > 0, 1e300, -1e300)
    np.testing.assert_array_equal(run.reconstruct(absurd), run.reconstruct(absurd / 1e290))


@DELEGATE
def test_a_model_whose_parts_are_outputs_says_the_same_inside_its_range(delegate: bool) -> None:  # noqa: FBT001
    inside = 0.8 * WINDOWS
    np.testing.assert_allclose(
        PREPARED[delegate].reconstruct(inside),
        Interpreter(THREE, delegate=delegate).reconstruct(inside),
        atol=1e-6,
    )


def test_inside_the_integers_nothing_is_added() -> None:
    edge = np.where(WINDOWS > 0, 9.99, -9.99)
    at = THREE.index(modelfile.LINEAR_PATH)
    seeing, blind = (Interpreter(model) for model in (THREE, THREE[:at] + b"x" + THREE[at + 1 :]))
    np.testing.assert_array_equal(seeing.reconstruct(edge), blind.reconstruct(edge))
    assert not np.array_equal(seeing.reconstruct(2 * edge), blind.reconstruct(2 * edge))


def test_parts_side_by_side_without_their_reaches_are_refused() -> None:
    at = MODEL.index(modelfile.PARTS)
    with pytest.raises(ModelError, match="outputs of 16 numbers"):
        Interpreter(MODEL[:at] + b"x" + MODEL[at + 1 :])


@pytest.mark.parametrize("level", [6.0, -9.0])
def test_components_beyond_what_training_showed_are_followed(level: float) -> None:
    # As an excess in coarse steps does, which was part of the graph at first.
    moved = WINDOWS + level
    path = modelfile.linear_path(MODEL, where="model")
    assert path is not None
    there = path.inward.values * path.inward.scale
    components = moved.reshape(len(moved), -1) @ there.T
    assert np.abs(components).max() > 2.0
    before = Interpreter(THREE).reconstruct(moved)
    np.testing.assert_allclose(PREPARED[True].reconstruct(moved), before, atol=0.3)


def test_the_runtime_says_what_it_is() -> None:
    runtime = PREPARED[True].runtime
    assert runtime.name in {"ai-edge-litert", "tflite-runtime"}
    assert runtime.version[0].isdigit()
    assert runtime.arch == platform.machine()
    # The old runtime's default delegate leaves 8-bit operators alone.
    assert runtime.delegate == ("xnnpack" if runtime.name == "ai-edge-litert" else "none")
    assert PREPARED[False].runtime.delegate == "none"


def test_the_shape_is_the_models() -> None:
    assert (PREPARED[True].window, PREPARED[True].sensors) == (8, 2)


def test_a_window_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected windows \(N, 8, 2\), got \(1, 2, 8\)"):
        PREPARED[True].reconstruct(np.zeros((1, 2, 8)))


# A file cut in the middle kills tflite-runtime 2.14: that is for a child process.
@pytest.mark.parametrize("model", [b"", b"TFL3", b"not a model" * 50], ids=["0", "magic", "text"])
def test_bytes_that_are_no_model_are_refused(model: bytes) -> None:
    with pytest.raises(ModelError, match="expected a TFLite model"):
        Interpreter(model)


def test_a_float_model_is_refused() -> None:
    model = (DATA / "float.tflite").read_bytes()
    with pytest.raises(ModelError, match="expected quantized integers"):
        Interpreter(model)
