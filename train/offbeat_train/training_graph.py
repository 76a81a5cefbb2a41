"""The network's training epoch and its forward pass as TensorFlow graphs that fit any sizes.

Keras traces a network anew for each size and each ``compile``, which takes
longer than training it on a short history.  Here window, sensors, rank and
batch are free, all numbers come in and go out as arguments, and a graph is
traced once a process for each `Shape`.

Rules: the arithmetic of `network.build` under ``keras.optimizers.Adam``, with
its random draws; a test holds the one against the other.

>>> run = epoch_graph(shape, Rule(...))  # doctest: +SKIP
>>> loss, state = run(windows, linear, state, plan)  # doctest: +SKIP
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from offbeat_train.lstm import lstm
from offbeat_train.network import SHIFTED, NetworkSpec

Tensor = Any  # TensorFlow has no types
NEXT_SEED = np.array([0, 1])  # what Keras adds for each draw


class Shape(NamedTuple):
    """What is fixed in a graph."""

    steps: int
    encoder: tuple[int, ...]
    latent: int
    decoder: tuple[int, ...]
    linear: bool
    mask: float
    shift: float

    @classmethod
    def of(cls, spec: NetworkSpec) -> Shape:
        """Give what a network shares with others."""
        mask = spec.mask if spec.sensors > 1 else 0.0
        return cls(spec.steps, spec.encoder, spec.latent, spec.decoder, spec.rank > 0, mask,
                   spec.shift)  # fmt: skip


class Rule(NamedTuple):
    """Adam's settings but for the learning rate."""

    beta_1: float
    beta_2: float
    epsilon: float
    clipnorm: float  # of each weight's gradient


class State(NamedTuple):
    """What an epoch changes; P weights lie in one row, ordered as `trained_layers` and `lstm`."""

    row: Tensor  # (P,)
    mean: Tensor  # (P,) of the gradients, as Adam remembers them
    square: Tensor  # (P,) likewise of their squares
    count: Tensor  # batches seen, int64
    shift: Tensor  # Keras' state of the random layer, int64 (2,)
    mask: Tensor  # likewise


class Plan(NamedTuple):
    """How an epoch's windows are read."""

    rate: Tensor  # of learning
    batches: Tensor  # int32
    size: Tensor  # of a batch, int32


@functools.cache
def epoch_graph(shape: Shape, rule: Rule) -> Any:  # noqa: ANN401
    """Trace an epoch: windows (N, T, F), the linear path, State, Plan → mean loss, State."""

    def epoch(windows: Tensor, linear: list[Tensor], state: State, plan: Plan) -> Any:  # noqa: ANN401
        def step(index: Tensor, total: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
            batch = windows[index * plan.size : (index + 1) * plan.size]
            disturbed, state = _disturbed(batch, shape, state)
            weights = _parts(state.row, _width(batch, shape), shape)
            with tf.GradientTape() as tape:
                tape.watch(weights)
                out = _reconstructed(batch, disturbed, linear, weights, shape)
                loss = tf.reduce_mean(tf.square(out - batch))
            gradient = _clipped(tape.gradient(loss, weights), rule)
            return index + 1, total + loss, _adam(state, gradient, plan.rate, rule)

        begun = (tf.constant(0), tf.constant(0.0), state)
        _, total, state = tf.while_loop(
            lambda index, *_: index < plan.batches, step, begun, parallel_iterations=1
        )
        return total / tf.cast(plan.batches, tf.float32), state

    number, seed = tf.TensorSpec([], tf.int32), tf.TensorSpec([2], tf.int64)
    row, count = _floats(None), tf.TensorSpec([], tf.int64)
    state, plan = State(row, row, row, count, seed, seed), Plan(_floats(), number, number)
    signature = [_floats(None, None, None), _linear_sizes(shape), state, plan]
    return tf.function(epoch, input_signature=signature, autograph=False)


@functools.cache
def forward_graph(shape: Shape) -> Any:  # noqa: ANN401
    """Trace a forward pass: windows (N, T, F), the linear path, a row of weights → (N, T, F)."""

    def forward(windows: Tensor, linear: list[Tensor], row: Tensor) -> Tensor:
        weights = _parts(row, _width(windows, shape), shape)
        return _reconstructed(windows, windows, linear, weights, shape)

    signature = [_floats(None, None, None), _linear_sizes(shape), _floats(None)]
    return tf.function(forward, input_signature=signature, autograph=False)


def trained_layers(shape: Shape) -> list[str]:
    """Name the layers whose weights make the row, in its order."""
    encoder = [f"encoder_{index}" for index in range(len(shape.encoder))]
    decoder = [f"decoder_{index}" for index in range(len(shape.decoder))]
    return [*encoder, "latent", *decoder, "correction"]


def _floats(*sizes: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(sizes, tf.float32)


def _linear_sizes(shape: Shape) -> list[tf.TensorSpec]:
    return [_floats(None, None), _floats(None, None), _floats(None)] if shape.linear else []


def _sizes(width: Tensor, shape: Shape) -> list[tuple[Any, ...]]:
    """Sizes of the weights in the row; ``width`` is T x F / steps."""
    sizes = [*_cells(shape.encoder, width), (shape.encoder[-1], shape.latent), (shape.latent,)]
    sizes += _cells(shape.decoder, shape.latent)
    return [*sizes, (shape.decoder[-1], width), (width,)]


def _cells(units: tuple[int, ...], width: Tensor) -> list[tuple[Any, ...]]:
    sizes: list[tuple[Any, ...]] = []
    for own in units:
        sizes += [(width, 4 * own), (own, 4 * own), (4 * own,)]
        width = own
    return sizes


def _parts(row: Tensor, width: Tensor, shape: Shape) -> list[Tensor]:
    """Cut a row into weights."""
    sizes = _sizes(width, shape)
    cut = tf.split(row, [math.prod(size) for size in sizes], num=len(sizes))
    return [tf.reshape(part, size) for part, size in zip(cut, sizes, strict=True)]


def _width(windows: Tensor, shape: Shape) -> Tensor:
    return tf.shape(windows)[1] * tf.shape(windows)[2] // shape.steps


def _reconstructed(
    windows: Tensor, disturbed: Tensor, linear: list[Tensor], weights: list[Tensor], shape: Shape
) -> Tensor:
    out = _correction(disturbed, iter(weights), shape)
    if linear:
        inward, outward, bias = linear
        flat = tf.reshape(windows, tf.stack([tf.shape(windows)[0], -1]))
        path = tf.nn.bias_add(tf.matmul(tf.matmul(flat, inward), outward), bias)
        out = tf.reshape(path, tf.shape(windows)) + out
    return out


def _correction(windows: Tensor, weights: Any, shape: Shape) -> Tensor:  # noqa: ANN401 - iterator
    """What the LSTM path makes of ``windows`` (N, T, F)."""
    count = tf.shape(windows)[0]
    sequence = tf.transpose(tf.reshape(windows, tf.stack([count, shape.steps, -1])), (1, 0, 2))
    for units in shape.encoder:
        sequence = lstm(sequence, *_three(weights), steps=shape.steps, units=units)
    latent = _dense(sequence[-1], weights)
    sequence = tf.tile(latent[None], (shape.steps, 1, 1))
    for units in shape.decoder:
        sequence = lstm(sequence, *_three(weights), steps=shape.steps, units=units)
    flat = tf.reshape(tf.transpose(sequence, (1, 0, 2)), (-1, shape.decoder[-1]))
    return tf.reshape(_dense(flat, weights), tf.shape(windows))


def _three(weights: Any) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401 - iterator
    return next(weights), next(weights), next(weights)


def _dense(x: Tensor, weights: Any) -> Tensor:  # noqa: ANN401 - iterator
    return tf.nn.bias_add(tf.matmul(x, next(weights)), next(weights))


def _disturbed(batch: Tensor, shape: Shape, state: State) -> tuple[Tensor, State]:
    """Move and mask sensors as `network.ShiftLevels` and `network.MaskSensors` do."""
    sizes = tf.stack([tf.shape(batch)[0], 1, tf.shape(batch)[2]])
    if shape.shift:
        chosen = tf.random.stateless_uniform(sizes, _cast(state.shift)) < SHIFTED
        moves = shape.shift * tf.random.stateless_normal(sizes, _cast(state.shift + NEXT_SEED))
        batch += tf.cast(chosen, tf.float32) * moves
        state = state._replace(shift=state.shift + 2 * NEXT_SEED)
    if shape.mask:
        kept = tf.random.stateless_uniform(sizes, _cast(state.mask)) >= shape.mask
        batch *= tf.cast(kept, tf.float32)
        state = state._replace(mask=state.mask + NEXT_SEED)
    return batch, state


def _cast(seed: Tensor) -> Tensor:
    """Cast a seed as Keras does."""
    return tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)


def _clipped(gradients: list[Tensor], rule: Rule) -> Tensor:
    """Clip each gradient by its norm; all in one row."""
    norms = [tf.sqrt(tf.reduce_sum(tf.square(one))) for one in gradients]
    clipped = [
        one * rule.clipnorm / tf.maximum(norm, rule.clipnorm)
        for one, norm in zip(gradients, norms, strict=True)
    ]
    return tf.concat([tf.reshape(one, [-1]) for one in clipped], 0)


def _adam(state: State, gradient: Tensor, rate: Tensor, rule: Rule) -> State:
    count = state.count + 1
    step = tf.cast(count, tf.float32)
    rate *= tf.sqrt(1 - tf.pow(rule.beta_2, step)) / (1 - tf.pow(rule.beta_1, step))
    mean = state.mean + (gradient - state.mean) * (1 - rule.beta_1)
    square = state.square + (tf.square(gradient) - state.square) * (1 - rule.beta_2)
    row = state.row - mean * rate / (tf.sqrt(square) + rule.epsilon)
    return state._replace(row=row, mean=mean, square=square, count=count)
