"""Write a TFLite file by hand, tensor by tensor.

Rules: no names, no signature, no metadata but what is noted; equal constants, shapes and
quantization tables are stored once; constants are aligned to 16 bytes, as
the runtimes want to map them.  The same calls give the same bytes.

>>> graph = Graph()
>>> x = graph.tensor((1, 4), np.int8, scale=0.1)
>>> y = graph.tensor((1, 4), np.int8, scale=1 / 128)
>>> graph.op("TANH", [x], [y])
>>> op_names(graph.finish([x], [y]))
['TANH']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

ALIGNMENT = 16  # bytes
SCHEMA_VERSION = 3
OPTIONAL = -1  # an input that is left out

_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
}
# The lowest operator version that has the 8-bit kernel.
_VERSIONS = {
    "ADD": 2,
    "CONCATENATION": 2,
    "LOGISTIC": 2,
    "MUL": 2,
    "SPLIT": 2,
    "STRIDED_SLICE": 2,
    "SUB": 2,
    "TANH": 2,
}


class _Tensor(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float | None
    zero: int
    buffer: int
    variable: bool


class _Op(NamedTuple):
    code: tuple[str, int]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


class Graph:
    """A growing graph; tensors are numbered as they come."""

    def __init__(self) -> None:
        self._tensors: list[_Tensor] = []
        self._ops: list[_Op] = []
        self._buffers: dict[bytes, int] = {b"": 0}
        self._notes: dict[bytes, int] = {}

    def tensor(
        self,
        shape: Sequence[int],
        dtype: DTypeLike,
        *,
        scale: float | None = None,
        zero: int = 0,
        variable: bool = False,
    ) -> int:
        """Add a tensor that an operator fills; returns its number."""
        self._tensors.append(_Tensor(tuple(shape), np.dtype(dtype), scale, zero, 0, variable))
        return len(self._tensors) - 1

    def constant(self, data: NDArray[Any], *, scale: float | None = None) -> int:
        """Add a constant tensor; returns its number."""
        content = np.ascontiguousarray(data).tobytes()
        buffer = self._buffers.setdefault(content, len(self._buffers))
        tensor = _Tensor(data.shape, data.dtype, scale, 0, buffer, False)
        if tensor in self._tensors:
            return self._tensors.index(tensor)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def op(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Any = None,  # noqa: ANN401 - any of the schema's option tables
        *,
        version: int | None = None,
    ) -> None:
        """Add an operator; ``options`` is one of the schema's ``*OptionsT``."""
        code = (name, version or _VERSIONS.get(name, 1))
        self._ops.append(_Op(code, tuple(inputs), tuple(outputs), options))

    def note(self, name: bytes, content: bytes) -> None:
        """Add an entry to the file's metadata."""
        self._notes[name] = self._buffers.setdefault(content, len(self._buffers))

    def finish(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Return the file's bytes."""
        return _Writer().model(
            self._tensors, self._ops, list(self._buffers), self._notes, (inputs, outputs)
        )


def op_names(model: bytes) -> list[str]:
    """List the operators of a TFLite file in the order they run."""
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    root = schema.ModelT.InitFromPackedBuf(model)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in root.operatorCodes]
    return [names[codes[op.opcodeIndex]] for sub in root.subgraphs for op in sub.operators]


class _Writer:
    """The order of a flatbuffer is leaves first; what is equal is written once."""

    def __init__(self) -> None:
        self._builder = flatbuffers.Builder(1 << 16)
        self._shapes: dict[tuple[int, ...], int] = {}
        self._quantization: dict[tuple[float, int], int] = {}

    def model(
        self,
        tensors: list[_Tensor],
        ops: list[_Op],
        buffers: list[bytes],
        notes: dict[bytes, int],
        ends: tuple[Sequence[int], Sequence[int]],
    ) -> bytes:
        builder = self._builder
        codes = sorted({op.code for op in ops})
        buffer_vector = self._offsets([self._buffer(content) for content in buffers])
        tensor_vector = self._offsets([self._tensor(tensor) for tensor in tensors])
        op_vector = self._offsets([self._op(op, codes) for op in ops])
        entry, exit_ = (self._ints(numbers) for numbers in ends)
        schema.SubGraphStart(builder)
        schema.SubGraphAddTensors(builder, tensor_vector)
        schema.SubGraphAddInputs(builder, entry)
        schema.SubGraphAddOutputs(builder, exit_)
        schema.SubGraphAddOperators(builder, op_vector)
        subgraphs = self._offsets([schema.SubGraphEnd(builder)])
        note_vector = self._offsets([self._note(*note) for note in notes.items()])
        code_vector = self._offsets([self._code(*code) for code in codes])
        schema.ModelStart(builder)
        schema.ModelAddVersion(builder, SCHEMA_VERSION)
        schema.ModelAddOperatorCodes(builder, code_vector)
        schema.ModelAddSubgraphs(builder, subgraphs)
        schema.ModelAddBuffers(builder, buffer_vector)
        if notes:
            schema.ModelAddMetadata(builder, note_vector)
        builder.Finish(schema.ModelEnd(builder), b"TFL3")
        return bytes(builder.Output())

    def _offsets(self, offsets: list[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return int(self._builder.EndVector())

    def _ints(self, values: Sequence[int]) -> int:
        key = tuple(values)
        if key not in self._shapes:
            vector = self._builder.CreateNumpyVector(np.array(key, np.int32))
            self._shapes[key] = int(vector)
        return self._shapes[key]

    def _buffer(self, content: bytes) -> int:
        builder = self._builder
        data = None
        if content:
            builder.StartVector(1, len(content), ALIGNMENT)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))

    def _quantized(self, scale: float, zero: int) -> int:
        key = (float(np.float32(scale)), zero)
        if key not in self._quantization:
            builder = self._builder
            scales = builder.CreateNumpyVector(np.array([scale], np.float32))
            zeros = builder.CreateNumpyVector(np.array([zero], np.int64))
            schema.QuantizationParametersStart(builder)
            schema.QuantizationParametersAddScale(builder, scales)
            schema.QuantizationParametersAddZeroPoint(builder, zeros)
            self._quantization[key] = int(schema.QuantizationParametersEnd(builder))
        return self._quantization[key]

    def _tensor(self, tensor: _Tensor) -> int:
        builder = self._builder
        shape = self._ints(tensor.shape)
        table = None if tensor.scale is None else self._quantized(tensor.scale, tensor.zero)
        schema.TensorStart(builder)
        schema.TensorAddShape(builder, shape)
        schema.TensorAddType(builder, _TYPES[tensor.dtype])
        schema.TensorAddBuffer(builder, tensor.buffer)
        if table is not None:
            schema.TensorAddQuantization(builder, table)
        schema.TensorAddIsVariable(builder, tensor.variable)
        return int(schema.TensorEnd(builder))

    def _op(self, op: _Op, codes: list[tuple[str, int]]) -> int:
        builder = self._builder
        inputs, outputs = self._ints(op.inputs), self._ints(op.outputs)
        options = None if op.options is None else op.options.Pack(builder)
        schema.OperatorStart(builder)
        schema.OperatorAddOpcodeIndex(builder, codes.index(op.code))
        schema.OperatorAddInputs(builder, inputs)
        schema.OperatorAddOutputs(builder, outputs)
        if options is not None:
            kind = type(op.options).__name__.removesuffix("T")
            schema.OperatorAddBuiltinOptionsType(builder, getattr(schema.BuiltinOptions, kind))
            schema.OperatorAddBuiltinOptions(builder, options)
        return int(schema.OperatorEnd(builder))

    def _note(self, name: bytes, buffer: int) -> int:
        text = self._builder.CreateString(name)
        schema.MetadataStart(self._builder)
        schema.MetadataAddName(self._builder, text)
        schema.MetadataAddBuffer(self._builder, buffer)
        return int(schema.MetadataEnd(self._builder))

    def _code(self, name: str, version: int) -> int:
        builder = self._builder
        number = getattr(schema.BuiltinOperator, name)
        schema.OperatorCodeStart(builder)
        # Old runtimes read the one-byte field, new ones the larger of both.
        schema.OperatorCodeAddDeprecatedBuiltinCode(builder, min(number, 127))
        schema.OperatorCodeAddBuiltinCode(builder, number)
        schema.OperatorCodeAddVersion(builder, version)
        return int(schema.OperatorCodeEnd(builder))
