"""The network and its training, against the LSTM's equations in plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

keras = pytest.importorskip("keras", reason="the cloud half is not installed")

from offbeat_train.defaults import Shares, Spectrum, linear_path  # noqa: E402 - after the skip
from offbeat_train.export.ranges import forward  # noqa: E402
from offbeat_train.network import NetworkSpec, build, set_linear, weights_of  # noqa: E402
from offbeat_train.training import History, train  # noqa: E402

Floats = NDArray[np.float64]

SPEC = NetworkSpec(
    window=12, sensors=3, patch=3, encoder=(7, 5), latent=4, decoder=(5, 6), rank=4, mask=0.3
)

# Keras traces a network's steps one by one: two steps are enough for training.
SHORT = NetworkSpec(window=12, sensors=3, patch=6, encoder=(6,), latent=3, decoder=(6,), mask=0.1)


def waves(rows: int = 400, *, noise: float = 0.05) -> NDArray[np.float32]:
    """Windows (N, 12, 3) of three related sensors."""
    time = np.arange(rows)[:, None] / np.array([5.0, 5.0, 17.0])
    signal = np.sin(time) + noise * np.random.default_rng(3).normal(size=time.shape)
    view = np.lib.stride_tricks.sliding_window_view(signal.astype(np.float32), 12, axis=0)
    return view.swapaxes(1, 2)


def stirred(spec: NetworkSpec) -> keras.Model:
    """A network none of whose weights is zero."""
    model = build(spec, seed=1)
    draw = np.random.default_rng(2)
    for layer in model.layers:
        layer.set_weights([w + 0.2 * draw.normal(size=w.shape) for w in layer.get_weights()])
    return model


def sigmoid(x: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-x))


def lstm(layer: keras.layers.LSTM, sequence: Floats) -> Floats:
    """Gates from x W + h U + b; c = f c + i tanh(..), h = o tanh(c)."""
    kernel, recurrent, bias = (np.asarray(w, np.float64) for w in layer.get_weights())
    units = len(recurrent)
    part = [slice(n * units, (n + 1) * units) for n in range(4)]
    hidden = cell = np.zeros((len(sequence), units))
    out = []
    for step in range(sequence.shape[1]):
        z = sequence[:, step] @ kernel + hidden @ recurrent + bias
        i, f, o = sigmoid(z[:, part[0]]), sigmoid(z[:, part[1]]), sigmoid(z[:, part[3]])
        cell = f * cell + i * np.tanh(z[:, part[2]])
        hidden = o * np.tanh(cell)
        out.append(hidden)
    return np.stack(out, axis=1)


def equations(model: keras.Model, spec: NetworkSpec, windows: NDArray[np.float32]) -> Floats:
    """The whole network, float64, from the weights of its layers alone."""
    flat = windows.astype(np.float64).reshape(len(windows), -1)
    x = flat.reshape(-1, spec.window // spec.patch, spec.patch * spec.sensors)
    for n in range(len(spec.encoder)):
        x = lstm(model.get_layer(f"encoder_{n}"), x)
    kernel, bias = model.get_layer("latent").get_weights()
    latent = x[:, -1] @ kernel + bias
    x = np.repeat(latent[:, None], spec.window // spec.patch, axis=1)
    for n in range(len(spec.decoder)):
        x = lstm(model.get_layer(f"decoder_{n}"), x)
    kernel, bias = model.get_layer("correction").get_weights()
    out = (x @ kernel + bias).reshape(len(windows), -1)
    if spec.rank:
        kernel, bias = model.get_layer("linear_out").get_weights()
        out = out + flat @ model.get_layer("linear_in").get_weights()[0] @ kernel + bias
    return out.reshape(windows.shape)


@pytest.mark.parametrize("rank", [0, 4])
def test_the_network_is_the_lstm_of_the_equations(rank: int) -> None:
    spec = NetworkSpec(window=12, sensors=3, patch=3, encoder=(7, 5), decoder=(6,), rank=rank)
    model, windows = stirred(spec), waves()[:9]
    expected = equations(model, spec, windows)
    np.testing.assert_allclose(model.predict(windows, verbose=0), expected, atol=1e-5)
    ours = forward(weights_of(model, spec), spec, windows)
    np.testing.assert_allclose(
        (ours.linear + ours.correction).reshape(windows.shape), expected, atol=1e-5
    )


def fit_linear(model: keras.Model, spec: NetworkSpec, windows: NDArray[np.float32]) -> None:
    """Set the linear path, if there is one, to as many components as it has room for."""
    if spec.rank:
        everything = Shares(energy=1.0, judged=1.0)
        set_linear(model, linear_path(Spectrum.of(windows), everything), spec.rank)


def test_an_untrained_network_is_the_linear_denoiser() -> None:
    model, windows = build(SPEC, seed=1), waves(noise=0.4)
    fit_linear(model, SPEC, windows)
    flat = windows.reshape(len(windows), -1).astype(np.float64)
    path = linear_path(Spectrum.of(windows))
    components, gains = path.components[:, : SPEC.rank], path.gains[: SPEC.rank]
    assert len(gains) == SPEC.rank
    expected = (flat - path.mean) @ (components * gains) @ components.T + path.mean
    np.testing.assert_allclose(
        model.predict(windows, verbose=0).reshape(flat.shape), expected, atol=1e-4
    )


def test_more_components_than_windows_do_no_harm() -> None:
    model, windows = build(SPEC, seed=1), waves()[:3]
    fit_linear(model, SPEC, windows)
    assert np.isfinite(model.predict(windows, verbose=0)).all()


def test_whole_sensors_are_masked_in_training_only() -> None:
    layer = build(SPEC, seed=1).get_layer("mask")
    windows = np.ones((200, 12, 3), np.float32)
    masked = np.asarray(layer(windows, training=True))
    assert set(np.unique(masked.sum(axis=1))) == {0.0, 12.0}
    assert 0.2 < 1.0 - masked.mean() < 0.4
    np.testing.assert_array_equal(layer(windows, training=False), windows)


def test_levels_move_in_training_only() -> None:
    layer = build(SPEC, seed=1).get_layer("shift")
    windows = np.zeros((400, 12, 3), np.float32)
    moved = np.asarray(layer(windows, training=True))
    np.testing.assert_array_equal(moved, np.repeat(moved[:, :1], 12, axis=1))
    assert 0.2 < (moved[:, 0] != 0.0).mean() < 0.4
    assert 0.8 < moved[:, 0][moved[:, 0] != 0.0].std() < 1.2
    np.testing.assert_array_equal(layer(windows, training=False), windows)


def test_the_linear_path_sees_what_is_masked_and_moved() -> None:
    spec = NetworkSpec(window=12, sensors=3, patch=6, rank=4, mask=0.9, shift=9.0)
    model, windows = build(spec, seed=1), waves()
    fit_linear(model, spec, windows)
    np.testing.assert_array_equal(model(windows, training=True), model(windows, training=False))


def test_a_single_sensor_is_never_masked() -> None:
    spec = NetworkSpec(window=12, sensors=1, patch=3, mask=0.9)
    layer = build(spec, seed=1).get_layer("mask")
    windows = np.ones((50, 12, 1), np.float32)
    np.testing.assert_array_equal(layer(windows, training=True), windows)


@pytest.mark.parametrize(
    "sizes",
    [
        {"patch": 5},
        {"rank": 37},
        {"encoder": ()},
        {"latent": 0},
        {"mask": 1.0},
        {"rank": -1},
        {"shift": -1.0},
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="network: expected"):
        NetworkSpec(**{"window": 12, "sensors": 3, **sizes})


def trained(seed: int, *, epochs: int) -> tuple[keras.Model, History]:
    model, windows = build(SHORT, seed=5), waves()
    return model, train(model, windows[:300], windows[320:], epochs=epochs, seed=seed)


def test_the_same_seed_trains_the_same_network() -> None:
    (one, first), (two, second) = trained(seed=1, epochs=2), trained(seed=1, epochs=2)
    assert first == second
    for left, right in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_training_returns_the_best_epoch() -> None:
    model, history = trained(seed=1, epochs=4)
    held_out = waves()[320:]
    loss = float(((model.predict(held_out, verbose=0) - held_out) ** 2).mean())
    assert loss == pytest.approx(min(history.validation), rel=1e-4)
    assert history.validation[history.best] == min(history.validation)
    assert min(history.validation) < history.validation[0]


def test_training_stops_when_nothing_improves() -> None:
    model, windows = build(SHORT, seed=5), waves()
    seen: list[int] = []

    def on_epoch(epoch: int, _loss: float, _validation: float) -> None:
        seen.append(epoch)

    # Held-out windows opposite to the training ones: learning makes them worse.
    history = train(
        model, windows[:64], -5.0 * windows[:64], epochs=50, seed=1, patience=2, on_epoch=on_epoch
    )
    assert len(history.loss) == len(seen) < 50
    assert len(seen) - 1 - history.best == 2


def test_what_began_better_than_any_epoch_is_kept() -> None:
    model, windows = build(SHORT, seed=5), waves()[:64]
    correction = model.get_layer("correction")
    correction.set_weights([np.zeros_like(weights) for weights in correction.get_weights()])
    begun = model.get_weights()
    # It begins by saying 0, which is right wherever it never looked.
    history = train(model, windows, np.zeros_like(windows), epochs=50, seed=1, patience=2)
    assert len(history.loss) == 2
    assert history.best == -1
    assert history.least == history.start < min(history.validation)
    for before, after in zip(begun, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
