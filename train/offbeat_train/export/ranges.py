"""What the float network does on training windows, in plain numpy.

Rules: the standard LSTM equations, float32, gates in the exported order
i, f, o, c̃; every tensor that the integer graph will hold reports how far
it goes from zero.  No Keras, so it is also the reference for a parity check.

>>> float(sigmoid(np.zeros(1, np.float32))[0])
0.5
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_train.network import CLIP, Cell

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_train.network import Dense, NetworkSpec, Weights

    Floats = NDArray[np.float32]


class StepRanges(NamedTuple):
    """Largest magnitudes in one step of an LSTM; f c and i c̃ add up to the cell."""

    recurrent: float  # recurrent part of the gates
    gates: float  # with the input part
    kept: float  # f c
    added: float  # i c̃
    cell: float


class CellRanges(NamedTuple):
    """Largest magnitudes inside one LSTM."""

    projected: float  # input part of the gates, all steps
    steps: tuple[StepRanges, ...]
    hidden: float  # all steps


class Ranges(NamedTuple):
    """Largest magnitudes of the activations, by tensor."""

    encoder: tuple[CellRanges, ...]
    latent: float
    decoder: tuple[CellRanges, ...]
    correction: float
    components: Floats  # (rank,) of each component of the linear path
    linear: float


class Forward(NamedTuple):
    """The two parts of the reconstruction, (N, T x F) each, and the ranges."""

    linear: Floats
    correction: Floats
    ranges: Ranges


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + e^-x), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)), dtype=np.float32)


def reordered(cell: Cell) -> Cell:
    """Put Keras' gates i, f, c, o in the order i, f, o, c."""

    def swap(array: Floats) -> Floats:
        i, f, c, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, f, o, c], axis=-1)

    return Cell(*(swap(part) for part in cell))


def forward(
    weights: Weights,
    spec: NetworkSpec,
    windows: Floats,
    judged: NDArray[np.intp] | None = None,
) -> Forward:
    """Run ``windows`` (N, T, F) through the network.

    How far the reconstruction goes is told of the ``judged`` sensors alone
    (all when None): nobody reads another's, and it would cost them their steps.
    """
    flat = np.clip(windows, -CLIP, CLIP).reshape(len(windows), -1).astype(np.float32)
    sequence = flat.reshape(-1, spec.steps, spec.width)
    encoder, decoder = [], []
    for cell in weights.encoder:
        sequence, found = _lstm(reordered(cell), sequence)
        encoder.append(found)
    latent = _dense(weights.latent, sequence[:, -1])
    sequence = np.repeat(latent[:, None], spec.steps, axis=1)
    for cell in weights.decoder:
        sequence, found = _lstm(reordered(cell), sequence)
        decoder.append(found)
    correction = _dense(weights.correction, sequence).reshape(flat.shape)
    components, linear = _linear(weights, flat)
    read = slice(None) if judged is None else judged
    of_correction, of_linear = (
        _reach(part.reshape(windows.shape)[..., read]) for part in (correction, linear)
    )
    ranges = Ranges(
        encoder=tuple(encoder),
        latent=_reach(latent),
        decoder=tuple(decoder),
        correction=of_correction,
        components=np.abs(components).max(axis=0),
        linear=of_linear,
    )
    return Forward(linear, correction, ranges)


def _linear(weights: Weights, flat: Floats) -> tuple[Floats, Floats]:
    if weights.linear is None:
        return np.zeros((1, 0), np.float32), np.zeros_like(flat)
    components = _dense(weights.linear[0], flat)
    return components, _dense(weights.linear[1], components)


def _lstm(cell: Cell, sequence: Floats) -> tuple[Floats, CellRanges]:
    """One LSTM over (N, S, D); returns all h (N, S, H) and the ranges."""
    projected = np.asarray(sequence @ cell.kernel + cell.bias)
    hidden = state = np.zeros((len(sequence), len(cell.recurrent)), np.float32)
    seen, steps = [], []
    for step in range(sequence.shape[1]):
        recurrent = np.asarray(hidden @ cell.recurrent)
        gates = projected[:, step] + recurrent
        i, f, o, c = np.split(gates, 4, axis=1)
        kept, added = sigmoid(f) * state, sigmoid(i) * np.tanh(c)
        state = kept + added
        hidden = sigmoid(o) * np.tanh(state)
        steps.append(StepRanges(*(_reach(x) for x in (recurrent, gates, kept, added, state))))
        seen.append(hidden)
    out = np.stack(seen, axis=1)
    return out, CellRanges(_reach(projected), tuple(steps), _reach(out))


def _dense(layer: Dense, x: Floats) -> Floats:
    return np.asarray(x @ layer.kernel + layer.bias, dtype=np.float32)


def _reach(x: Floats) -> float:
    return float(np.abs(x).max())
