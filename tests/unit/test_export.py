"""The integer file: its operators, its precision, its size."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="the cloud half is not installed")

from ai_edge_litert import interpreter as litert  # noqa: E402 - after the skip
from test_network import equations, fit_linear, stirred  # noqa: E402

from offbeat_edge.interpreter import Interpreter  # noqa: E402
from offbeat_train.export import export, op_names  # noqa: E402
from offbeat_train.export.flatbuffer import Graph, schema  # noqa: E402
from offbeat_train.export.fused import build_fused  # noqa: E402
from offbeat_train.export.integer import balanced, quantized, turned  # noqa: E402
from offbeat_train.network import NetworkSpec, build, weights_of  # noqa: E402
from offbeat_train.training import train  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

STORED = Path(__file__).parent / "data" / "small_lstm.tflite"
INTEGER_OPS = {
    "ADD", "CONCATENATION", "FULLY_CONNECTED", "LOGISTIC", "MUL", "RESHAPE", "SPLIT",
    "STRIDED_SLICE", "SUB", "TANH",
}  # fmt: skip
SHAPES = (
    NetworkSpec(window=12, sensors=3, patch=3, encoder=(8,), latent=4, decoder=(8,), rank=4),
    NetworkSpec(window=12, sensors=3, patch=1, encoder=(8, 6), latent=4, decoder=(6, 8)),
    NetworkSpec(window=8, sensors=1, patch=8, encoder=(8,), latent=2, decoder=(8,), rank=1),
    NetworkSpec(window=10, sensors=2, patch=2, encoder=(4,), latent=2, decoder=(4,), rank=20),
)


def waves(spec: NetworkSpec, rows: int = 500) -> NDArray[np.float32]:
    draw = np.random.default_rng(3)
    time = np.arange(rows)[:, None] / (4.0 + 3.0 * np.arange(spec.sensors))
    signal = np.sqrt(2.0) * np.sin(time) + 0.05 * draw.normal(size=time.shape)
    view = np.lib.stride_tricks.sliding_window_view(signal.astype(np.float32), spec.window, axis=0)
    return np.ascontiguousarray(view.swapaxes(1, 2))


def tensor_types(model: bytes) -> set[int]:
    return {tensor.type for tensor in schema.ModelT.InitFromPackedBuf(model).subgraphs[0].tensors}


@pytest.mark.parametrize(
    "spec", SHAPES, ids=lambda spec: f"{spec.encoder}p{spec.patch}r{spec.rank}"
)
def test_the_file_follows_the_lstm_equations(spec: NetworkSpec) -> None:
    model, windows = stirred(spec), waves(spec)
    fit_linear(model, spec, windows)
    expected = equations(model, spec, windows)
    got = Interpreter(export(model, spec, windows)).reconstruct(windows.astype(np.float64))
    error = np.sqrt(((got - expected) ** 2).mean())
    assert error < 0.04 * np.sqrt((expected**2).mean())


def test_the_float_file_follows_the_lstm_equations() -> None:
    spec = SHAPES[0]
    model, windows = stirred(spec), waves(spec)[:5]
    fit_linear(model, spec, windows)
    fused = litert.Interpreter(model_content=build_fused(weights_of(model, spec), spec))
    fused.allocate_tensors()
    for window, expected in zip(windows, equations(model, spec, windows), strict=True):
        fused.reset_all_variables()
        fused.set_tensor(fused.get_input_details()[0]["index"], window[None])
        fused.invoke()
        got = fused.get_tensor(fused.get_output_details()[0]["index"])
        np.testing.assert_allclose(got.reshape(expected.shape), expected, atol=1e-5)


@pytest.mark.parametrize(
    "spec", SHAPES, ids=lambda spec: f"{spec.encoder}p{spec.patch}r{spec.rank}"
)
def test_the_file_holds_integer_operators_only(spec: NetworkSpec) -> None:
    data = export(build(spec, seed=1), spec, waves(spec))
    assert set(op_names(data)) <= INTEGER_OPS
    assert tensor_types(data) == {schema.TensorType.INT8, schema.TensorType.INT32}


def test_weights_have_one_scale_a_tensor() -> None:
    # tflite-runtime 2.14 crashes on aarch64 on products with a scale per channel.
    data = export(stirred(SHAPES[0]), SHAPES[0], waves(SHAPES[0]))
    for tensor in schema.ModelT.InitFromPackedBuf(data).subgraphs[0].tensors:
        assert tensor.quantization is None or len(tensor.quantization.scale) == 1


def test_constants_are_aligned() -> None:
    data = export(stirred(SHAPES[0]), SHAPES[0], waves(SHAPES[0]))
    root: Any = schema.Model.GetRootAs(data)
    for index in range(root.BuffersLength()):
        vector = root.Buffers(index)._tab  # noqa: SLF001 - where the bytes lie
        offset = vector.Offset(4)
        assert not offset or vector.Vector(offset) % 16 == 0


def test_the_same_network_gives_the_same_bytes() -> None:
    spec = SHAPES[0]
    model, windows = stirred(spec), waves(spec)
    assert export(model, spec, windows) == export(model, spec, windows)


def test_a_trained_network_keeps_its_accuracy() -> None:
    spec = NetworkSpec(
        window=16, sensors=4, patch=4, encoder=(16,), latent=8, decoder=(16,), rank=3
    )
    model, windows = build(spec, seed=1), waves(spec, rows=900)
    fit_linear(model, spec, windows[:600])
    train(model, windows[:600], windows[620:], epochs=4, seed=1)
    held_out = windows[620:]
    floats = model.predict(held_out, verbose=0)
    got = Interpreter(export(model, spec, windows[:600])).reconstruct(held_out.astype(np.float64))
    exact = np.sqrt(((floats - held_out) ** 2).mean())
    assert np.sqrt(((got - held_out) ** 2).mean()) < 1.05 * exact
    assert np.abs(got - floats).max() < 0.2 * exact + 0.05


def test_a_level_that_training_never_saw_is_followed_as_the_float_network_does() -> None:
    spec = NetworkSpec(window=12, sensors=3, patch=3, encoder=(8,), latent=4, decoder=(8,), rank=9)
    windows = waves(spec)
    model = build(spec, seed=1)
    fit_linear(model, spec, windows)
    run = Interpreter(export(model, spec, windows)).reconstruct
    for shift in (-6.0, 6.0):
        moved = windows + np.array([shift, 0.0, 0.0], np.float32)
        expected = model.predict(moved, verbose=0)
        error = np.abs(run(moved.astype(np.float64)) - expected)
        assert np.abs(expected - windows).max() > 4.0
        assert error.mean() < 0.1
        assert error.max() < 0.4


def test_beyond_the_integers_the_linear_path_goes_on() -> None:
    spec = NetworkSpec(window=12, sensors=3, patch=3, encoder=(8,), latent=4, decoder=(8,), rank=9)
    windows = waves(spec)
    model = build(spec, seed=1)
    fit_linear(model, spec, windows)
    run = Interpreter(export(model, spec, windows)).reconstruct
    for shift in (-1000.0, 25.0):
        moved = windows + np.array([shift, 0.0, 0.5 * shift], np.float32)
        expected = model.predict(moved, verbose=0)
        error = np.abs(run(moved.astype(np.float64)) - expected)
        assert error.max() < 0.4 + 1e-4 * abs(shift)
        assert error.mean() < 0.1 + 1e-5 * abs(shift)


def test_a_sensor_that_is_not_judged_stays_cut() -> None:
    spec, judged = SHAPES[0], np.array([0, 2])
    windows = waves(spec)
    model = build(spec, seed=1)
    fit_linear(model, spec, windows)
    run = Interpreter(export(model, spec, windows, judged)).reconstruct
    far = np.zeros((1, spec.window, spec.sensors))
    far[..., 1] = 500.0
    np.testing.assert_array_equal(run(far), run(np.minimum(far, 10.0)))
    far[..., 2] = 500.0
    assert np.abs(run(far) - run(np.minimum(far, 10.0))).max() > 10.0


def test_without_a_linear_path_a_window_far_outside_saturates_instead_of_wrapping() -> None:
    spec = SHAPES[0]
    windows = waves(spec)
    run = Interpreter(export(build(spec, seed=1), spec, windows)).reconstruct
    far = np.full((1, spec.window, spec.sensors), 1e9)
    np.testing.assert_array_equal(run(far), run(np.full_like(far, 10.0)))
    np.testing.assert_array_equal(run(-far), run(np.full_like(far, -10.0)))


def test_the_usual_size_is_small() -> None:
    spec = NetworkSpec(window=32, sensors=8, patch=4, encoder=(64,), decoder=(64,), rank=12)
    data = export(stirred(spec), spec, waves(spec))
    assert len(zlib.compress(data, 9)) < 96 * 1024


def small() -> tuple[keras.Model, NetworkSpec, NDArray[np.float32]]:
    """What ``data/small_lstm`` was made of, by running this file."""
    spec = NetworkSpec(window=8, sensors=2, patch=2, encoder=(6,), latent=3, decoder=(6,), rank=2)
    model, windows = stirred(spec), waves(spec)
    fit_linear(model, spec, windows)
    return model, spec, windows


def test_the_stored_file_is_what_export_makes() -> None:
    model, spec, windows = small()
    fresh = export(model, spec, windows)
    stored = STORED.read_bytes()
    assert op_names(fresh) == op_names(stored)
    left = Interpreter(fresh).reconstruct(windows.astype(np.float64))
    right = Interpreter(stored).reconstruct(windows.astype(np.float64))
    np.testing.assert_allclose(left, right, atol=0.1)


# ---------------------------------------------------------------- where 8 bits go


def components(reach: list[float], *, size: int = 64) -> tuple[Floats, Floats]:
    """Orthonormal directions, (size, rank), and what windows of such ``reach`` are along them."""
    rng = np.random.default_rng(3)
    ways, _ = np.linalg.qr(rng.normal(size=(size, len(reach))))
    amounts = rng.uniform(-1.0, 1.0, size=(2000, len(reach))) * np.array(reach)
    return ways.astype(np.float32), amounts.astype(np.float32)


def eight_bits(kernel: Floats) -> Floats:
    data, scale = quantized(kernel)
    return data.astype(np.float32) * np.float32(scale)


REACHES = ([12.0] + [0.2] * 40, [3.0, 2.0, 1.5, 1.0], [5.0] + [1e-4] * 3)


@pytest.mark.parametrize("reach", REACHES)
def test_what_lies_along_the_components_survives_eight_bits_on_the_way_there(
    reach: list[float],
) -> None:
    ways, amounts = components(reach)
    balance = balanced(np.array(reach, np.float32))
    there, back = turned(ways / balance, ways.T * balance[:, None])
    np.testing.assert_allclose(there @ back, ways @ ways.T, atol=1e-3)
    windows = amounts @ ways.T
    plain = windows @ eight_bits(ways / balance) @ (ways.T * balance[:, None]) - windows
    lost = windows @ eight_bits(there) @ back - windows
    assert np.square(lost).mean() < 1e-3 * np.square(plain).mean()


def test_a_component_that_is_rounded_away_leaves_all_as_they_were() -> None:
    ways = np.stack([np.full(4096, 1 / 64), np.eye(4096)[0]], axis=1).astype(np.float32)
    balance = balanced(np.array([60.0, 0.001], np.float32))
    there, back = ways / balance, ways.T * balance[:, None]
    assert not eight_bits(there)[:, 0].any()
    same_there, same_back = turned(there, back)
    np.testing.assert_array_equal(same_there, there)
    np.testing.assert_array_equal(same_back, back)


def test_the_largest_component_fills_two_thirds_of_its_integers() -> None:
    reach = np.array([9.0, 4.0, 0.0], np.float32)
    assert (reach / balanced(reach)).max() == pytest.approx(1 / 1.5)


def store() -> None:
    """Write the file the edge's tests use, for when export changes."""
    model, spec, windows = small()
    STORED.write_bytes(export(model, spec, windows))
    some = windows[:: len(windows) // 50]
    np.savez_compressed(
        STORED.with_suffix(".npz"), windows=some, expected=equations(model, spec, some)
    )
    graph = Graph()
    ends = [graph.tensor((1, spec.window, spec.sensors), np.float32) for _ in range(2)]
    graph.op("TANH", ends[:1], ends[1:], version=1)
    STORED.with_name("float.tflite").write_bytes(graph.finish(ends[:1], ends[1:]))


if __name__ == "__main__":
    store()
