"""One traced training step for several trainings of one network.

Keras traces a network anew with each ``compile``, which for an unrolled LSTM
takes longer than training it on a short history, and again pays for every
``fit`` of one epoch.  This stands in for the model in `training.train`:
it is traced once, and ``restart`` puts every number back to its start.

>>> shared = SharedGraph(build(spec, seed=1))  # doctest: +SKIP
>>> train(shared, windows, held_out, seed=1)  # doctest: +SKIP
>>> shared.restart()  # doctest: +SKIP
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    Floats32 = NDArray[np.float32]

PREDICT_BATCH = 1024  # windows


def wake() -> None:
    """Let TensorFlow look for devices now, and say what it must."""
    tf.constant(0.0)


class SharedGraph:
    """The part of a Keras model that `training.train` uses.

    Parameters
    ----------
    model : made by `network.build`; trained in place, mean squared error.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self._start = [variable.numpy().copy() for variable in model.variables]
        self._optimizer: Any = None  # the one whose variables are in the graph
        self._schedule: Any = None  # the one whose learning rate counts
        signature = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)
        number = tf.TensorSpec([], tf.int32)
        self._epoch = tf.function(self._epoch_steps, input_signature=[signature, number, number])
        self._forward = tf.function(model.call, input_signature=[signature])

    def restart(self) -> None:
        """Put the untrained network back."""
        for variable, value in zip(self.model.variables, self._start, strict=True):
            variable.assign(value)

    def compile(self, *, optimizer: keras.optimizers.Optimizer, loss: str) -> None:
        """Begin a training with a fresh optimizer of the same settings."""
        if loss != "mse":
            raise ValueError(f"shared graph: expected loss 'mse', got {loss!r}")
        self._schedule = optimizer
        if self._optimizer is None:
            self._optimizer = type(optimizer).from_config(optimizer.get_config())
            self._optimizer.build(self.model.trainable_variables)
            self._fresh = [variable.numpy().copy() for variable in self._optimizer.variables]
        for variable, value in zip(self._optimizer.variables, self._fresh, strict=True):
            variable.assign(value)

    def fit(self, windows: Floats32, _target: Floats32, *, batch_size: int, **_: Any) -> Any:  # noqa: ANN401 - Keras' own
        """Train one epoch on ``windows`` (N, T, F), in their order."""
        size = min(batch_size, len(windows))
        self._optimizer.learning_rate = float(self._schedule.learning_rate)
        loss = self._epoch(tf.constant(windows), len(windows) // size, size)
        return SimpleNamespace(history={"loss": [float(loss)]})

    def evaluate(self, windows: Floats32, _target: Floats32, **_: Any) -> float:  # noqa: ANN401
        """Mean squared error of ``windows`` (N, T, F)."""
        return float(np.square(self.predict(windows) - windows).mean())

    def predict(self, windows: Floats32) -> Floats32:
        """Reconstruct ``windows`` (N, T, F)."""
        parts = [
            self._forward(tf.constant(windows[start : start + PREDICT_BATCH])).numpy()
            for start in range(0, len(windows), PREDICT_BATCH)
        ]
        return np.concatenate(parts)

    def get_weights(self) -> list[Floats32]:
        """Copy the weights."""
        weights: list[Floats32] = self.model.get_weights()
        return weights

    def set_weights(self, weights: list[Floats32]) -> None:
        """Set the weights."""
        self.model.set_weights(weights)

    def _epoch_steps(self, windows: Any, batches: Any, size: Any) -> Any:  # noqa: ANN401 - tensors
        total = tf.constant(0.0)
        for index in tf.range(batches):
            batch = windows[index * size : (index + 1) * size]
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self.model(batch, training=True) - batch))
            variables = self.model.trainable_variables
            self._optimizer.apply(tape.gradient(loss, variables))
            total += loss
        return total / tf.cast(batches, tf.float32)
