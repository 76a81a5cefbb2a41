"""The network: an LSTM autoencoder that corrects a linear one.

Rules: a window of T steps x F scaled sensors goes in and comes out.  ``patch``
time steps are folded into one step of the LSTM, so the recurrence is
T / patch long.  The linear path, when there is one, projects the flattened
window on ``rank`` principal components and back; what the LSTM decodes is
added to it and starts at zero, so training starts from the linear
autoencoder.  In training the LSTM sees whole sensors masked (set to 0, their
mean) or at another level, the linear path never: what is to be learned is
what the linear path leaves of the true window, whatever level a fault or a
drift brings, and not how to undo the masking.

>>> spec = NetworkSpec(window=32, sensors=8, rank=12)
>>> model = build(spec, seed=1)  # doctest: +SKIP
>>> set_linear(model, linear_path(Spectrum.of(windows)), spec.rank)  # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offbeat_train.defaults import Linear

Floats = NDArray[np.float32]

CLIP = 6.0  # standard deviations; the LSTM sees no more, the linear path goes on in floats
SHIFTED = 0.3  # of the sensors of a training window stand at another level


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """Every size of the network.

    Parameters
    ----------
    window, sensors : T and F.
    patch : time steps folded into one step of the LSTM; divides ``window``.
    encoder, decoder : units of the stacked LSTMs, in the order they run.
    latent : numbers between encoder and decoder.
    rank : components of the linear path; 0 leaves it out.
    mask : probability with which a sensor is masked in a training window.
    shift : standard deviation by which the levels of `SHIFTED` sensors move in training.

    Raises
    ------
    ValueError : sizes that do not fit together.
    """

    window: int
    sensors: int
    patch: int = 4
    encoder: tuple[int, ...] = (32,)
    latent: int = 16
    decoder: tuple[int, ...] = (32,)
    rank: int = 0
    mask: float = 0.1
    shift: float = 1.0

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together."""
        sizes = (self.window, self.sensors, self.patch, self.latent, *self.encoder, *self.decoder)
        if min(sizes) < 1 or not self.encoder or not self.decoder:
            raise ValueError(f"network: expected sizes of at least 1, got {self}")
        if self.window % self.patch:
            raise ValueError(
                f"network: expected a patch that divides {self.window}, got {self.patch}"
            )
        if not 0 <= self.rank <= self.window * self.sensors:
            raise ValueError(f"network: expected rank 0 to T x F, got {self.rank}")
        if not 0 <= self.mask < 1:
            raise ValueError(f"network: expected mask in [0, 1), got {self.mask}")
        if not self.shift >= 0:
            raise ValueError(f"network: expected shift of at least 0, got {self.shift}")

    @property
    def steps(self) -> int:
        """Steps of the LSTM."""
        return self.window // self.patch

    @property
    def width(self) -> int:
        """Numbers in one step of the LSTM."""
        return self.patch * self.sensors

    @property
    def size(self) -> int:
        """Numbers in a window."""
        return self.window * self.sensors


def cut(windows: NDArray[np.float64], judged: NDArray[np.intp]) -> NDArray[np.float64]:
    """Clip all but the ``judged`` columns of ``windows`` (N, T, F): what the linear path sees."""
    seen = np.clip(windows, -CLIP, CLIP)
    seen[..., judged] = windows[..., judged]
    return seen


class Dense(NamedTuple):
    """y = x kernel + bias; kernel (inputs, outputs), bias (outputs,)."""

    kernel: Floats
    bias: Floats


class Cell(NamedTuple):
    """One LSTM in Keras' layout: gates i, f, c, o side by side."""

    kernel: Floats  # (inputs, 4 units)
    recurrent: Floats  # (units, 4 units)
    bias: Floats  # (4 units,)


class Weights(NamedTuple):
    """All trained numbers, float32, independent of Keras."""

    encoder: tuple[Cell, ...]
    latent: Dense
    decoder: tuple[Cell, ...]
    correction: Dense
    linear: tuple[Dense, Dense] | None  # (size → rank without bias, rank → size)


@keras.saving.register_keras_serializable(package="offbeat")
class MaskSensors(keras.layers.Layer):  # type: ignore[misc]
    """Set whole sensors of a training window to 0.

    Parameters
    ----------
    rate : probability for each sensor of each window.
    seed : of the layer's own randomness.
    """

    def __init__(self, rate: float, seed: int, **kwargs: Any) -> None:  # noqa: ANN401 - Keras' own
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed
        self._random = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, *, training: bool = False) -> Any:  # noqa: ANN401
        """Return ``inputs`` (N, T, F), masked when training."""
        if not training or not self.rate:
            return inputs
        shape = (keras.ops.shape(inputs)[0], 1, inputs.shape[-1])
        draw = keras.random.uniform(shape, seed=self._random)
        return inputs * keras.ops.cast(draw >= self.rate, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="offbeat")
class ShiftLevels(keras.layers.Layer):  # type: ignore[misc]
    """Move whole sensors of a training window to another level.

    Parameters
    ----------
    scale : standard deviation of the moves, scaled units.
    seed : of the layer's own randomness.
    """

    def __init__(self, scale: float, seed: int, **kwargs: Any) -> None:  # noqa: ANN401 - Keras' own
        super().__init__(**kwargs)
        self.scale = scale
        self.seed = seed
        self._random = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, *, training: bool = False) -> Any:  # noqa: ANN401
        """Return ``inputs`` (N, T, F), moved when training."""
        if not training or not self.scale:
            return inputs
        shape = (keras.ops.shape(inputs)[0], 1, inputs.shape[-1])
        chosen = keras.random.uniform(shape, seed=self._random) < SHIFTED
        moves = self.scale * keras.random.normal(shape, seed=self._random)
        return inputs + keras.ops.cast(chosen, inputs.dtype) * moves

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), "scale": self.scale, "seed": self.seed}


def build(spec: NetworkSpec, seed: int) -> keras.Model:
    """Build the untrained network.

    Parameters
    ----------
    spec : the sizes.
    seed : of the initial weights and of what is masked and moved.

    Returns
    -------
    A Keras model, float32 (N, T, F) → (N, T, F).  Its linear path holds
    zeros until `set_linear`.
    """
    seeds = _seeds(seed)
    window = keras.Input((spec.window, spec.sensors), name="window")
    rate = spec.mask if spec.sensors > 1 else 0.0
    disturbed = MaskSensors(rate, next(seeds), name="mask")(
        ShiftLevels(spec.shift, seed, name="shift")(window)
    )
    out = _lstm_path(disturbed, spec, seeds)
    if spec.rank:
        out = keras.layers.Add(name="sum")([_linear_path(window, spec), out])
    return keras.Model(window, out, name="offbeat")


def set_linear(model: keras.Model, path: Linear, rank: int) -> None:
    """Give the linear path its numbers; components that ``path`` lacks stay zero."""
    size = len(path.mean)
    inward, outward = np.zeros((size, rank)), np.zeros((rank, size))
    count = min(rank, path.components.shape[1])
    inward[:, :count] = path.components[:, :count]
    outward[:count] = (path.components[:, :count] * path.gains[:count]).T
    model.get_layer("linear_in").set_weights([inward])
    model.get_layer("linear_out").set_weights([outward, path.mean - path.mean @ inward @ outward])


def weights_of(model: keras.Model, spec: NetworkSpec) -> Weights:
    """Take the trained numbers out of a model made by `build`."""
    linear = None
    if spec.rank:
        inward = model.get_layer("linear_in").get_weights()[0]
        linear = (
            Dense(inward, np.zeros(spec.rank, np.float32)),
            Dense(*model.get_layer("linear_out").get_weights()),
        )
    return Weights(
        encoder=tuple(_cell(model, f"encoder_{i}") for i in range(len(spec.encoder))),
        latent=Dense(*model.get_layer("latent").get_weights()),
        decoder=tuple(_cell(model, f"decoder_{i}") for i in range(len(spec.decoder))),
        correction=Dense(*model.get_layer("correction").get_weights()),
        linear=linear,
    )


def _cell(model: keras.Model, name: str) -> Cell:
    return Cell(*model.get_layer(name).get_weights())


def _seeds(seed: int) -> Iterator[int]:
    draw = np.random.default_rng(seed)
    while True:
        yield int(draw.integers(2**31))


def _lstm(units: int, name: str, seeds: Iterator[int], *, sequence: bool) -> keras.layers.LSTM:
    return keras.layers.LSTM(
        units,
        return_sequences=sequence,
        kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
        recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
        unroll=True,  # short recurrences: several times faster on a CPU than Keras' loop
        name=name,
    )


def _lstm_path(window: Any, spec: NetworkSpec, seeds: Iterator[int]) -> Any:  # noqa: ANN401
    layers = keras.layers
    x = layers.Reshape((spec.steps, spec.width), name="patches")(window)
    for i, units in enumerate(spec.encoder):
        more = i + 1 < len(spec.encoder)
        x = _lstm(units, f"encoder_{i}", seeds, sequence=more)(x)
    glorot = keras.initializers.GlorotUniform(next(seeds))
    x = layers.Dense(spec.latent, kernel_initializer=glorot, name="latent")(x)
    x = layers.RepeatVector(spec.steps, name="repeat")(x)
    for i, units in enumerate(spec.decoder):
        x = _lstm(units, f"decoder_{i}", seeds, sequence=True)(x)
    start = "zeros" if spec.rank else keras.initializers.GlorotUniform(next(seeds))
    x = layers.Dense(spec.width, kernel_initializer=start, name="correction")(x)
    return layers.Reshape((spec.window, spec.sensors), name="steps")(x)


def _linear_path(window: Any, spec: NetworkSpec) -> Any:  # noqa: ANN401
    layers = keras.layers
    x = layers.Flatten(name="flat")(window)
    x = layers.Dense(
        spec.rank, use_bias=False, kernel_initializer="zeros", trainable=False, name="linear_in"
    )(x)
    x = layers.Dense(spec.size, kernel_initializer="zeros", trainable=False, name="linear_out")(x)
    return layers.Reshape((spec.window, spec.sensors), name="linear")(x)
