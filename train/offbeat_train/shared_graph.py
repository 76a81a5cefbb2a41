"""A Keras model that trains by graphs which all fits of a process share.

This stands in for the model in `training.train`.  The model's own variables
hold what was set last, which a training ends with; ``restart`` puts every
number back to its start.

>>> shared = SharedGraph(build(spec, seed=1), spec)  # doctest: +SKIP
>>> train(shared, windows, held_out, seed=1)  # doctest: +SKIP
>>> shared.restart()  # doctest: +SKIP
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from offbeat_train.training_graph import (
    Plan,
    Rule,
    Shape,
    State,
    epoch_graph,
    forward_graph,
    trained_layers,
)

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from offbeat_train.network import NetworkSpec

    Floats32 = NDArray[np.float32]

PREDICT_BATCH = 1024  # windows


def wake() -> None:
    """Let TensorFlow look for devices now, and say what it must."""
    tf.constant(0.0)


class SharedGraph:
    """The part of a Keras model that `training.train` uses.

    Parameters
    ----------
    model : made by `network.build` from ``spec``; trained in place, mean squared error.
    """

    def __init__(self, model: keras.Model, spec: NetworkSpec) -> None:
        self.model = model
        self._start = [variable.numpy().copy() for variable in model.variables]
        self._shape = Shape.of(spec)
        layers = [model.get_layer(name) for name in trained_layers(self._shape)]
        self._trained = [variable for layer in layers for variable in layer.weights]
        linear = ("linear_in", "linear_out") if spec.rank else ()
        self._linear = [v for name in linear for v in model.get_layer(name).weights]
        self._forward = forward_graph(self._shape)
        self._row = self._taken()

    def restart(self) -> None:
        """Put the untrained network back."""
        for variable, value in zip(self.model.variables, self._start, strict=True):
            variable.assign(value)
        self._row = self._taken()

    def compile(self, *, optimizer: keras.optimizers.Adam, loss: str) -> None:
        """Begin a training of the model's numbers with a fresh optimizer of these settings."""
        if loss != "mse":
            raise ValueError(f"shared graph: expected loss 'mse', got {loss!r}")
        self._schedule = optimizer
        rule = Rule(optimizer.beta_1, optimizer.beta_2, optimizer.epsilon, optimizer.clipnorm)
        self._epoch = epoch_graph(self._shape, rule)
        self._row = self._taken()
        zeros = tf.zeros_like(self._row)
        shift, mask = (self.model.get_layer(name).variables[0] for name in ("shift", "mask"))
        self._state = State(
            self._row, zeros, zeros, tf.constant(0, tf.int64),
            tf.cast(shift.value, tf.int64), tf.cast(mask.value, tf.int64),
        )  # fmt: skip

    def fit(self, windows: Floats32, _target: Floats32, *, batch_size: int, **_: Any) -> Any:  # noqa: ANN401 - Keras' own
        """Train one epoch on ``windows`` (N, T, F), in their order."""
        size = min(batch_size, len(windows))
        plan = Plan(float(self._schedule.learning_rate), len(windows) // size, size)
        loss, self._state = self._epoch(tf.constant(windows), self._path(), self._state, plan)
        self._row = self._state.row
        return SimpleNamespace(history={"loss": [float(loss)]})

    def evaluate(self, windows: Floats32, _target: Floats32, **_: Any) -> float:  # noqa: ANN401
        """Mean squared error of ``windows`` (N, T, F)."""
        return float(np.square(self.predict(windows) - windows).mean())

    def predict(self, windows: Floats32) -> Floats32:
        """Reconstruct ``windows`` (N, T, F)."""
        path = self._path()
        parts = [
            self._forward(tf.constant(windows[start : start + PREDICT_BATCH]), path, self._row)
            for start in range(0, len(windows), PREDICT_BATCH)
        ]
        return np.concatenate([part.numpy() for part in parts])

    def get_weights(self) -> list[Floats32]:
        """Copy the weights, as trained so far, in Keras' order."""
        ends = np.cumsum([math.prod(one.shape) for one in self._trained])[:-1]
        known = {
            id(one): _turned(part.reshape(one.shape), one)
            for one, part in zip(self._trained, np.split(self._row.numpy(), ends), strict=True)
        }
        return [known[id(one)] if id(one) in known else one.numpy() for one in self.model.weights]

    def set_weights(self, weights: list[Floats32]) -> None:
        """Set the weights, the model's as well."""
        self.model.set_weights(weights)
        self._row = self._taken()

    def _taken(self) -> Any:  # noqa: ANN401 - a tensor
        """Take the model's numbers."""
        return tf.constant(
            np.concatenate([_turned(one.numpy(), one).ravel() for one in self._trained])
        )

    def _path(self) -> list[Any]:
        return [variable.value for variable in self._linear]


def _turned(weights: Floats32, variable: keras.Variable) -> Floats32:
    """Change between Keras' order of an LSTM's gates, i, f, c̃, o, and the graph's, i, f, o, c̃."""
    if "lstm_cell" not in variable.path:
        return weights
    i, f, this, that = np.split(weights, 4, axis=-1)
    return np.concatenate([i, f, that, this], axis=-1)
