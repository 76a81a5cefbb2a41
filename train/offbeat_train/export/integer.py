"""The integer graph: every LSTM step unrolled into 8-bit operators.

Rules: one scale per tensor, zero points 0 but where the runtimes fix them;
gates side by side as i, f, o, c̃; the input part of all steps is one product,
the decoder's constant input is projected once, the zero state of the first
step is left out.  c̃ is its own TANH on the last quarter of the gates, which
costs as many operators as 2 sigmoid(2x) - 1 and keeps the weights' scale.
Correction and linear path stand side by side in one output, each in units of
its own reach, which the file tells and the device adds up; one output is handed
out sooner than two.  The components of the linear path stand there as well,
finely stepped for what training showed: what its own range or the input's cuts
off, the device adds in floats, as the file says which weights are the linear
path's; a range wide enough for level shifts would cost three times the error.
A delegate puts a copy before every product that may have to cut its rows, so
those that need not say so.
No batch size is written anywhere but in the shapes, so the first axis can be
resized.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from offbeat_edge.modelfile import FINER, LINEAR_PATH, PARTS
from offbeat_train.export.flatbuffer import OPTIONAL, Graph
from offbeat_train.export.ranges import reordered
from offbeat_train.network import CLIP, Dense

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_train.export.ranges import CellRanges, Ranges, StepRanges
    from offbeat_train.network import Cell, NetworkSpec, Weights

    Floats = NDArray[np.float32]

INT8 = 127  # steps to each side of zero
# Saturation beyond these costs less than the coarser steps they would need.
GATE_LIMIT = 6.0  # sigmoid(6) = 0.9975
CELL_LIMIT = 4.0  # tanh(4) = 0.9993
# How far beyond what training showed a tensor reaches.
CORRECTION_MARGIN = 1.5
COMPONENT_MARGIN = 1.5  # what a component is beyond that, the device adds
LINEAR_MARGIN = 2.0
LINEAR_LEAST, LINEAR_MOST = 4.0, 16.0  # standard deviations
ROUNDS = 4  # of turning components; one weight in 500 is then further from its integer than ...
HALF = 0.499  # ... steps, and cut there, of one in fifty after the first round
WEAKEST = 0.01  # of the strongest turn: a component with less is as good as lost
SMALLEST = 1e-3  # a tensor that is always zero still needs a scale
WIDEST = 4  # parts of one SPLIT or CONCATENATION; delegates leave wider ones to the interpreter
BIAS_LIMIT = 2**30  # steps of a 32-bit bias, with room for the products


class _Value(NamedTuple):
    """A tensor of the graph with what the next operator must know."""

    tensor: int
    width: int  # numbers per row
    scale: float


def build_graph(
    weights: Weights, spec: NetworkSpec, ranges: Ranges, judged: NDArray[np.intp]
) -> bytes:
    """Return the TFLite file; ``judged`` sensors go on beyond its integers.

    The input is the window; the output is the correction and, if there is a
    linear path, that and its components beside it.  Both are int8.
    """
    builder = _Builder(spec, judged)
    entry = builder.entry()
    window = builder.flat(entry, spec.size, CLIP / INT8)
    hidden = builder.lstm_path(window, weights, ranges)
    reach = max(ranges.correction * CORRECTION_MARGIN, SMALLEST)
    if weights.linear is None:
        out = builder.dense(hidden, weights.correction, reach)
    else:
        correction = builder.dense(hidden, _in_units(weights.correction, reach), 1.0)
        limit = min(max(ranges.linear * LINEAR_MARGIN, LINEAR_LEAST), LINEAR_MOST)
        path = builder.linear_path(window, *weights.linear, ranges, limit)
        builder.graph.note(PARTS, struct.pack("<2f", reach, limit))
        out = builder.side_by_side(correction, path)
    return builder.graph.finish([entry], [out.tensor])


class _Builder:
    """Adds layers to a graph."""

    def __init__(self, spec: NetworkSpec, judged: NDArray[np.intp]) -> None:
        self.spec = spec
        self.judged = np.isin(np.arange(spec.sensors), judged)
        self.graph = Graph()

    def entry(self) -> int:
        """Add the graph's input."""
        shape = (1, self.spec.window, self.spec.sensors)
        return self.graph.tensor(shape, np.int8, scale=CLIP / INT8)

    def flat(self, tensor: int, width: int, scale: float) -> _Value:
        """Lay all numbers of a window into one row."""
        out = self._fixed(width, scale)
        shape = self.graph.constant(np.array([-1, width], np.int32))
        options = schema.ReshapeOptionsT(newShape=[-1, width])
        self.graph.op("RESHAPE", [tensor, shape], [out.tensor], options)
        return out

    def lstm_path(self, window: _Value, weights: Weights, ranges: Ranges) -> _Value:
        """Add encoder and decoder; returns the decoder's h of all steps."""
        hidden: list[_Value] = []
        for cell, found in zip(weights.encoder, ranges.encoder, strict=True):
            value = self._join(hidden) if hidden else window
            hidden = self._lstm(reordered(cell), found, self._inputs(value, cell, found))
        latent = self.dense(hidden[-1], weights.latent, ranges.latent)
        for i, (cell, found) in enumerate(zip(weights.decoder, ranges.decoder, strict=True)):
            steps = self._inputs(value, cell, found) if i else self._repeated(latent, cell, found)
            hidden = self._lstm(reordered(cell), found, steps)
            value = self._join(hidden)
        return value

    def linear_path(
        self, window: _Value, inward: Dense, outward: Dense, ranges: Ranges, limit: float
    ) -> tuple[_Value, _Value]:
        """Add the linear path; returns what it says, in units of ``limit``, and its components."""
        outward = _in_units(outward, limit)
        balance = balanced(ranges.components)
        there, back = turned(inward.kernel / balance, outward.kernel * balance[:, None])
        self._note_path(there, back)
        components = self._product(window, there, None, self._new(self.spec.rank, 1.0))
        out = self._product(components, back, outward.bias, self._new(self.spec.size, 1.0))
        return out, components

    def side_by_side(self, correction: _Value, path: tuple[_Value, _Value]) -> _Value:
        """Lay all numbers of values of one scale into one row."""
        flat = self.flat(correction.tensor, self.spec.size, correction.scale)
        return self._joined([flat, *path])

    def _note_path(self, there: Floats, back: Floats) -> None:
        """Say which weights are the linear path's, what rounding left of them, and who goes on."""
        tensors, parts = [], []
        for kernel in (there, back):
            tensor, scale = self._weights(kernel)
            rest = kernel.T / scale - np.rint(kernel.T / scale)
            tensors.append(tensor)
            parts.append(np.rint(rest * FINER).astype(np.int8).tobytes())
        parts.append(self.judged.astype(np.int8).tobytes())
        self.graph.note(LINEAR_PATH, struct.pack("<2i", *tensors) + b"".join(parts))

    def _new(self, width: int, reach: float, rows: int = 1) -> _Value:
        scale = max(reach, SMALLEST) / INT8
        return _Value(self.graph.tensor((rows, width), np.int8, scale=scale), width, scale)

    def _fixed(self, width: int, scale: float, zero: int = 0) -> _Value:
        tensor = self.graph.tensor((1, width), np.int8, scale=scale, zero=zero)
        return _Value(tensor, width, scale)

    def _product(self, x: _Value, kernel: Floats, bias: Floats | None, out: _Value) -> _Value:
        """Return ``out`` = x kernel + bias; rows of x are cut to the kernel's length."""
        largest = 0.0 if bias is None else float(np.abs(bias).max())
        weights, scale = self._weights(kernel, least=largest / x.scale / BIAS_LIMIT)
        inputs = [x.tensor, weights, OPTIONAL]
        if bias is not None:
            unit = x.scale * scale
            rounded = np.rint(bias.astype(np.float64) / unit)
            inputs[2] = self.graph.constant(rounded.astype(np.int32), scale=unit)
        whole = x.width == len(kernel)
        options = schema.FullyConnectedOptionsT(keepNumDims=whole)
        self.graph.op("FULLY_CONNECTED", inputs, [out.tensor], options, version=5)
        return out

    def _weights(self, kernel: Floats, least: float = 0.0) -> tuple[int, float]:
        """Add a kernel (inputs, outputs); returns its tensor, (outputs, inputs), and its scale."""
        data, scale = quantized(kernel.T, least=least)
        return self.graph.constant(data, scale=scale), scale

    def dense(self, x: _Value, layer: Dense, reach: float) -> _Value:
        rows = x.width // len(layer.kernel)
        out = self._new(layer.kernel.shape[1], reach, rows)
        return self._product(x, layer.kernel, layer.bias, out)

    def _inputs(self, x: _Value, cell: Cell, found: CellRanges) -> list[_Value]:
        """Project all steps at once and cut the result into steps."""
        ordered, steps = reordered(cell), self.spec.steps
        wide = len(cell.bias)
        rows = self._new(wide, min(found.projected, GATE_LIMIT), steps)
        self._product(x, ordered.kernel, ordered.bias, rows)
        if steps == 1:
            return [rows]
        return self._split(self.flat(rows.tensor, steps * wide, rows.scale), steps)

    def _repeated(self, x: _Value, cell: Cell, found: CellRanges) -> list[_Value]:
        """Project an input that is the same in every step."""
        ordered = reordered(cell)
        out = self._new(len(cell.bias), min(found.projected, GATE_LIMIT))
        return [self._product(x, ordered.kernel, ordered.bias, out)] * self.spec.steps

    def _split(self, x: _Value, parts: int, zero: int = 0) -> list[_Value]:
        width = x.width // parts
        if parts > WIDEST:
            return [self._slice(x, n * width, (n + 1) * width) for n in range(parts)]
        out = [self._fixed(width, x.scale, zero) for _ in range(parts)]
        axis = self.graph.constant(np.array(1, np.int32))
        options = schema.SplitOptionsT(numSplits=parts)
        self.graph.op("SPLIT", [axis, x.tensor], [value.tensor for value in out], options)
        return out

    def _slice(self, x: _Value, start: int, stop: int) -> _Value:
        out = self._fixed(stop - start, x.scale)
        edges = [np.array(edge, np.int32) for edge in ([0, start], [0, stop], [1, 1])]
        inputs = [x.tensor, *(self.graph.constant(edge) for edge in edges)]
        options = schema.StridedSliceOptionsT(beginMask=1, endMask=1)
        self.graph.op("STRIDED_SLICE", inputs, [out.tensor], options)
        return out

    def _join(self, parts: list[_Value]) -> _Value:
        while len(parts) > 1:
            groups = [parts[n : n + WIDEST] for n in range(0, len(parts), WIDEST)]
            parts = [self._joined(group) for group in groups]
        return parts[0]

    def _joined(self, parts: list[_Value]) -> _Value:
        if len(parts) == 1:
            return parts[0]
        out = self._fixed(sum(part.width for part in parts), parts[0].scale)
        options = schema.ConcatenationOptionsT(axis=1)
        self.graph.op("CONCATENATION", [part.tensor for part in parts], [out.tensor], options)
        return out

    def _lstm(self, cell: Cell, found: CellRanges, inputs: list[_Value]) -> list[_Value]:
        hidden: list[_Value] = []
        state: _Value | None = None
        for gates, reach in zip(inputs, found.steps, strict=True):
            if hidden:
                gates = self._gates(hidden[-1], gates, cell, reach)  # noqa: PLW2901
            state, opened = self._step(gates, state, reach)
            out = self._new(len(cell.recurrent), found.hidden)
            hidden.append(self._mul(opened, self._tanh(state), out))
        return hidden

    def _gates(self, hidden: _Value, projected: _Value, cell: Cell, reach: StepRanges) -> _Value:
        recurrent = self._new(projected.width, reach.recurrent)
        self._product(hidden, cell.recurrent, None, recurrent)
        out = self._new(projected.width, min(reach.gates, GATE_LIMIT))
        return self._add(recurrent, projected, out)

    def _step(
        self, gates: _Value, state: _Value | None, reach: StepRanges
    ) -> tuple[_Value, _Value]:
        """Return the new cell and the output gate."""
        units = gates.width // 4
        i, f, o, _ = self._split(self._sigmoid(gates), 4, zero=-128)
        new = self._tanh(self._slice(gates, 3 * units, gates.width))
        added = self._mul(i, new, self._new(units, reach.added))
        if state is None:
            return added, o
        kept = self._mul(f, state, self._new(units, min(reach.kept, CELL_LIMIT)))
        return self._add(kept, added, self._new(units, min(reach.cell, CELL_LIMIT))), o

    def _sigmoid(self, x: _Value) -> _Value:
        out = self._fixed(x.width, 1 / 256, -128)
        self.graph.op("LOGISTIC", [x.tensor], [out.tensor])
        return out

    def _tanh(self, x: _Value) -> _Value:
        out = self._fixed(x.width, 1 / 128)
        self.graph.op("TANH", [x.tensor], [out.tensor])
        return out

    def _mul(self, a: _Value, b: _Value, out: _Value) -> _Value:
        self.graph.op("MUL", [a.tensor, b.tensor], [out.tensor], schema.MulOptionsT())
        return out

    def _add(self, a: _Value, b: _Value, out: _Value) -> _Value:
        self.graph.op("ADD", [a.tensor, b.tensor], [out.tensor], schema.AddOptionsT())
        return out


def balanced(reach: Floats) -> Floats:
    """Choose what of each component's ``reach``, (rank,), goes into the weights on its way back.

    Its square root; the rest goes into those on its way there: small components
    keep their bits, the large ones do not take all.  The usual reach of the
    largest becomes 1.
    """
    root = np.sqrt(np.maximum(reach, SMALLEST)).astype(np.float32)
    balance: Floats = root * root.max() * COMPONENT_MARGIN
    return balance


def turned(there: Floats, back: Floats) -> tuple[Floats, Floats]:
    """Choose components that 8 bits tell exactly: others of the same space.

    Rounding moves each column of ``there``, (size, rank), within the space of them all, which
    is what windows are made of, and out of it.  Here the columns go along within it, and
    ``back``, (rank, size), undoes that: the product is as it was, and of a window in
    that space the rounding of ``there`` takes nothing.  Repeated, as a weight that then is
    more than half a step from its rounded value is rounded another way.

    Both come back as they were where a column is so small that all of it is rounded away.
    """
    exact = there.astype(np.float64)
    _, scale = quantized(there)
    found = exact / scale
    data, turn = found, np.eye(there.shape[1])
    for _ in range(ROUNDS):
        data = np.clip(np.rint(found), -INT8, INT8)
        turn = np.linalg.lstsq(exact, data * scale, rcond=None)[0].astype(np.float64)
        found = exact @ turn / scale
    undone, _, rank, _ = np.linalg.lstsq(turn, back.astype(np.float64), rcond=WEAKEST)
    if rank < len(turn):
        return there, back
    rest = np.where(np.abs(data) == INT8, 0.0, found - data)  # the largest keep the scale
    found = (data + np.clip(rest, -HALF, HALF)) * scale
    return found.astype(np.float32), undone.astype(np.float32)


def _in_units(layer: Dense, unit: float) -> Dense:
    return Dense(layer.kernel / unit, layer.bias / unit)


def quantized(kernel: Floats, *, least: float = 0.0) -> tuple[NDArray[np.int8], float]:
    """Round a matrix to int8 with one scale of at least ``least``; returns both."""
    scale = max(float(np.abs(kernel).max()), SMALLEST) / INT8
    scale = max(scale, least)
    return np.rint(kernel.astype(np.float64) / scale).astype(np.int8), scale
