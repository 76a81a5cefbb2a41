"""The same network as a float32 TFLite file with fused LSTM operators.

Purpose: what people would use instead, to measure the integer graph against;
it is not what devices run.  The fused operator keeps its state between
invocations: call ``reset_all_variables`` before each window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from offbeat_train.export.flatbuffer import OPTIONAL, Graph

if TYPE_CHECKING:
    from offbeat_train.network import Cell, Dense, NetworkSpec, Weights

_FLOAT = np.float32


def build_fused(weights: Weights, spec: NetworkSpec) -> bytes:
    """Return the TFLite file, float32 (1, T, F) → (1, T x F), for one window."""
    graph = Graph()
    window = graph.tensor((1, spec.window, spec.sensors), _FLOAT)
    value = _reshape(graph, window, (1, spec.steps, spec.width))
    for cell in weights.encoder:
        value = _lstm(graph, value, cell, spec.steps)
    last = graph.tensor((1, len(weights.encoder[-1].recurrent)), _FLOAT)
    edges = ([0, spec.steps - 1, 0], [0, spec.steps, 0], [1, 1, 1])
    inputs = [value, *(graph.constant(np.array(edge, np.int32)) for edge in edges)]
    options = schema.StridedSliceOptionsT(beginMask=5, endMask=5, shrinkAxisMask=2)
    graph.op("STRIDED_SLICE", inputs, [last], options, version=1)
    latent = _reshape(graph, _dense(graph, last, weights.latent, 1), (1, 1, spec.latent))
    value = graph.tensor((1, spec.steps, spec.latent), _FLOAT)
    times = graph.constant(np.array([1, spec.steps, 1], np.int32))
    graph.op("TILE", [latent, times], [value], schema.TileOptionsT())
    for cell in weights.decoder:
        value = _lstm(graph, value, cell, spec.steps)
    rows = _dense(graph, value, weights.correction, spec.steps)
    out = _reshape(graph, rows, (1, spec.size))
    if weights.linear is not None:
        linear = _dense(graph, window, weights.linear[0], 1)
        linear = _dense(graph, linear, weights.linear[1], 1)
        total = graph.tensor((1, spec.size), _FLOAT)
        graph.op("ADD", [out, linear], [total], schema.AddOptionsT(), version=1)
        out = total
    return graph.finish([window], [out])


def _reshape(graph: Graph, x: int, shape: tuple[int, ...]) -> int:
    out = graph.tensor(shape, _FLOAT)
    constant = graph.constant(np.array(shape, np.int32))
    graph.op("RESHAPE", [x, constant], [out], schema.ReshapeOptionsT(newShape=list(shape)))
    return out


def _dense(graph: Graph, x: int, layer: Dense, rows: int) -> int:
    out = graph.tensor((rows, len(layer.bias)), _FLOAT)
    inputs = [x, graph.constant(layer.kernel.T.copy()), graph.constant(layer.bias)]
    graph.op("FULLY_CONNECTED", inputs, [out], schema.FullyConnectedOptionsT())
    return out


def _lstm(graph: Graph, x: int, cell: Cell, steps: int) -> int:
    """Add the fused operator; Keras' gate order i, f, c, o is its own."""
    units = len(cell.recurrent)
    kernels = [graph.constant(part.T.copy()) for part in np.split(cell.kernel, 4, axis=1)]
    recurrent = [graph.constant(part.T.copy()) for part in np.split(cell.recurrent, 4, axis=1)]
    biases = [graph.constant(part.copy()) for part in np.split(cell.bias, 4)]
    state = [graph.tensor((1, units), _FLOAT, variable=True) for _ in range(2)]
    out = graph.tensor((1, steps, units), _FLOAT)
    graph.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        [x, *kernels, *recurrent, *[OPTIONAL] * 3, *biases, *[OPTIONAL] * 2, *state,
         *[OPTIONAL] * 4],
        [out],
        schema.UnidirectionalSequenceLSTMOptionsT(
            fusedActivationFunction=schema.ActivationFunctionType.TANH
        ),
    )  # fmt: skip
    return out
