"""Train a network on windows, deterministically and in bounded memory.

Rules: windows may be a view of any length (a sliding window over the rows);
each epoch reads at most ``EPOCH_WINDOWS`` of them, drawn without
replacement, and nothing else is copied.  Adam with gradients clipped by
norm, mean squared error against the true window; the weights of the best
epoch on the validation windows come back, or those it began with where no
epoch is better: an LSTM that only harms what it never saw is not kept.

>>> history = train(model, fit_windows, held_out, epochs=30, seed=1)  # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import keras
import numpy as np

from offbeat_train.network import CLIP

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

BATCH_SIZE = 64  # windows
EPOCHS = 30
EPOCH_WINDOWS = 16_384  # read in one epoch at most
VALIDATION_WINDOWS = 4_096  # evenly spaced
PATIENCE = 8  # epochs without a better validation loss
LEARNING_RATE = 2e-3
GRADIENT_NORM = 1.0  # gradients are clipped to this norm


@dataclass(kw_only=True)
class History:
    """Losses by epoch, and on the validation windows before the first.

    ``best`` counts epochs from 0; -1 says that none was better than the start.
    """

    start: float
    loss: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best: int = -1

    @property
    def least(self) -> float:
        """Validation loss of the weights that were kept."""
        return self.start if self.best < 0 else self.validation[self.best]


def train(
    model: keras.Model,
    windows_train: Floats,
    windows_val: Floats,
    *,
    epochs: int = EPOCHS,
    seed: int,
    batch_size: int = BATCH_SIZE,
    patience: int = PATIENCE,
    on_epoch: Callable[[int, float, float], None] | None = None,
) -> History:
    """Train ``model`` in place.

    Parameters
    ----------
    windows_train, windows_val : (N, T, F), scaled; views are fine.
    seed : of the order in which windows are read.
    patience : epochs without improvement before it stops.
    on_epoch : called with the epoch from 0, its loss and validation loss.

    Returns
    -------
    The losses; the model holds the weights of ``best``.
    """
    draw = np.random.default_rng(seed)
    held_out = _gather(windows_val, _spread(len(windows_val), VALIDATION_WINDOWS))
    optimizer = keras.optimizers.Adam(LEARNING_RATE, clipnorm=GRADIENT_NORM)
    model.compile(optimizer=optimizer, loss="mse")
    history, weights = History(start=_error(model, held_out)), model.get_weights()
    for epoch in range(epochs):
        optimizer.learning_rate = _rate(epoch, epochs)
        chosen = _chosen(draw, len(windows_train), batch_size)
        loss = _epoch(model, _gather(windows_train, chosen), batch_size)
        validation = _error(model, held_out)
        better = validation <= history.least
        history.loss.append(loss)
        history.validation.append(validation)
        if better:
            history.best, weights = epoch, model.get_weights()
        if on_epoch is not None:
            on_epoch(epoch, loss, validation)
        if epoch - history.best >= patience:
            break
    model.set_weights(weights)
    return history


def _rate(epoch: int, epochs: int) -> float:
    """Cosine from the full learning rate to a twentieth of it."""
    return LEARNING_RATE * (0.05 + 0.95 * 0.5 * (1.0 + float(np.cos(np.pi * epoch / epochs))))


def _chosen(draw: np.random.Generator, count: int, batch_size: int) -> NDArray[np.intp]:
    """Draw an epoch's windows, a whole number of batches where there is one."""
    size = min(count, EPOCH_WINDOWS)
    size -= size % batch_size if size > batch_size else 0
    return draw.choice(count, size=size, replace=False).astype(np.intp)


def _epoch(model: keras.Model, windows: Floats, batch_size: int) -> float:
    fitted = model.fit(windows, windows, batch_size=batch_size, shuffle=False, verbose=0)
    return float(fitted.history["loss"][0])


def _error(model: keras.Model, windows: Floats) -> float:
    return float(model.evaluate(windows, windows, batch_size=1024, verbose=0))


def _spread(count: int, most: int) -> NDArray[np.intp]:
    return np.linspace(0, count - 1, min(count, most)).astype(np.intp)


def _gather(windows: Floats, index: NDArray[np.intp]) -> Floats:
    picked = windows[index]  # the one copy
    return np.clip(picked, -CLIP, CLIP, out=picked).astype(np.float32, copy=False)
