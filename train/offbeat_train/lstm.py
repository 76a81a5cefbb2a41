"""An LSTM over short sequences in few operators, its gradient written out.

Rules: Keras' equations, but with the gates in the order i, f, o, c̃, so that
what is sigmoid lies together; every step unrolled, the input part of all steps
one product, and so are the gradients of the weights.  Left to itself
TensorFlow adds a broadcast to every product of the gradient, which costs more
than the product here.

>>> hidden = lstm(sequence, kernel, recurrent, bias, steps=8, units=32)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow import raw_ops as ops  # without the checks of the public ones, 900 times a graph

Tensor = Any  # TensorFlow has no types


class _Step(NamedTuple):
    """What the gradient needs of one step; (N, units) each but ``gates`` (N, 3 units)."""

    gates: Tensor  # i, f, o
    forget: Tensor
    inward: Tensor  # i
    outward: Tensor  # o
    new: Tensor  # c̃
    before: Tensor  # the cell of the step before; None at the first
    bent: Tensor  # tanh of the cell


def lstm(
    sequence: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor, *, steps: int, units: int
) -> Tensor:
    """Return the hidden states (S, N, units) of ``sequence`` (S, N, D)."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(sequence: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor) -> Any:  # noqa: ANN401
        flat = tf.reshape(sequence, tf.stack([-1, tf.shape(sequence)[-1]]))
        projected = ops.BiasAdd(value=ops.MatMul(a=flat, b=kernel), bias=bias)
        inputs = tf.unstack(tf.reshape(projected, (steps, -1, 4 * units)), num=steps)
        hidden, seen = _forward(inputs, recurrent, units)

        def gradient(wanted: Tensor) -> tuple[Tensor, ...]:
            gates = _backward(tf.unstack(wanted, num=steps), seen, recurrent)
            of_flat, *of_weights = _gradients(gates, flat, hidden, kernel)
            return tf.reshape(of_flat, tf.shape(sequence)), *of_weights

        return tf.stack(hidden), gradient

    return run(sequence, kernel, recurrent, bias)


def _forward(
    inputs: list[Tensor], recurrent: Tensor, units: int
) -> tuple[list[Tensor], list[_Step]]:
    hidden: list[Tensor] = []
    seen: list[_Step] = []
    cell = None
    for projected in inputs:
        both = projected
        if hidden:
            both = ops.AddV2(x=projected, y=ops.MatMul(a=hidden[-1], b=recurrent))
        gates, new = tf.split(both, [3 * units, units], axis=1)
        gates, new = ops.Sigmoid(x=gates), ops.Tanh(x=new)
        inward, forget, outward = tf.split(gates, 3, axis=1)
        before, cell = cell, ops.Mul(x=inward, y=new)
        if before is not None:
            cell = ops.AddV2(x=ops.Mul(x=forget, y=before), y=cell)
        bent = ops.Tanh(x=cell)
        hidden.append(ops.Mul(x=outward, y=bent))
        seen.append(_Step(gates, forget, inward, outward, new, before, bent))
    return hidden, seen


def _backward(wanted: list[Tensor], seen: list[_Step], recurrent: Tensor) -> list[Tensor]:
    """Give the gradients of the gates before they are bent, (N, 4 units) a step."""
    found: list[Tensor] = []
    of_cell = None
    for of_hidden, step in zip(reversed(wanted), reversed(seen), strict=True):
        if found:
            later = ops.MatMul(a=found[-1], b=recurrent, transpose_b=True)
            of_hidden = ops.AddV2(x=of_hidden, y=later)  # noqa: PLW2901
        here = ops.TanhGrad(y=step.bent, dy=ops.Mul(x=of_hidden, y=step.outward))
        of_cell = here if of_cell is None else ops.AddV2(x=here, y=of_cell)
        found.append(_of_gates(of_hidden, of_cell, step))
        of_cell = ops.Mul(x=of_cell, y=step.forget)
    return found[::-1]


def _of_gates(of_hidden: Tensor, of_cell: Tensor, step: _Step) -> Tensor:
    inward = ops.Mul(x=of_cell, y=step.new)
    before = tf.zeros_like(inward) if step.before is None else step.before
    forget = ops.Mul(x=of_cell, y=before)
    outward = ops.Mul(x=of_hidden, y=step.bent)
    gates = ops.SigmoidGrad(y=step.gates, dy=tf.concat([inward, forget, outward], 1))
    new = ops.TanhGrad(y=step.new, dy=ops.Mul(x=of_cell, y=step.inward))
    return tf.concat([gates, new], 1)


def _gradients(
    gates: list[Tensor], flat: Tensor, hidden: list[Tensor], kernel: Tensor
) -> tuple[Tensor, ...]:
    """Give the gradients of the sequence (flat), kernel, recurrent kernel and bias."""
    every = tf.concat(gates, 0)
    if len(hidden) > 1:
        recurrent = ops.MatMul(a=tf.concat(hidden[:-1], 0), b=tf.concat(gates[1:], 0),
                               transpose_a=True)  # fmt: skip
    else:
        recurrent = tf.zeros((hidden[0].shape[1], kernel.shape[1]))
    return (
        ops.MatMul(a=every, b=kernel, transpose_b=True),
        ops.MatMul(a=flat, b=every, transpose_a=True),
        recurrent,
        ops.BiasAddGrad(out_backprop=every),
    )
