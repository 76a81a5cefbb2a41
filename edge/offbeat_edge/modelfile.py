"""What a TFLite file holds, read without a runtime: operators and tensors.

Rules: the file is hostile until shown otherwise, so every offset is checked
before it is followed and every count has a limit; nothing of it is run.  On
top stands a static table of the operators a model of ours may use, and the
highest version that each runtime loads (measured on both; what it does not
list, no bundle may use: loops, custom code, variables, files).  A model that
goes on linearly beyond its integers names the weights of that path in an
entry of its metadata (`LINEAR_PATH`), so that they are not there twice; one
whose parts are side by side in a single output says in another (`PARTS`) what
they mean.

>>> read(b"0000TFL3", where="x")
Traceback (most recent call last):
offbeat_edge.errors.BundleError: x: expected a TFLite model, got an offset out of the file
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec
import numpy as np

from offbeat_edge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from offbeat_edge.schema import Runtime

_T = TypeVar("_T")

SCHEMA_VERSION = 3
LINKS_MAX = 1_000_000  # ends of all operators together
TABLES_MAX = 65_536  # operators, tensors and codes each
RANK_MAX = 8  # dimensions
METADATA_MAX = 64  # entries
LINEAR_PATH = b"offbeat linear path"  # see `linear_path`
PARTS = b"offbeat parts"  # see `linear_path`
FINER = 254  # steps into which the linear path's rest divides a step of an int8 weight
_LEFT_OUT = -1  # an optional input
_CODES, _GRAPHS, _BUFFERS, _METADATA = 1, 2, 4, 6  # fields of a model

# builtin code: (name, highest version in tflite-runtime 2.14, in ai-edge-litert 2.3)
OPS = {
    0: ("ADD", 5, 6),
    2: ("CONCATENATION", 4, 7),
    3: ("CONV_2D", 7, 8),
    4: ("DEPTHWISE_CONV_2D", 7, 7),
    6: ("DEQUANTIZE", 5, 9),
    9: ("FULLY_CONNECTED", 10, 14),
    14: ("LOGISTIC", 3, 3),
    18: ("MUL", 7, 8),
    19: ("RELU", 3, 3),
    22: ("RESHAPE", 1, 1),
    28: ("TANH", 3, 3),
    34: ("PAD", 4, 6),
    36: ("GATHER", 6, 8),
    39: ("TRANSPOSE", 6, 9),
    41: ("SUB", 5, 5),
    43: ("SQUEEZE", 2, 2),
    44: ("UNIDIRECTIONAL_SEQUENCE_LSTM", 4, 4),
    45: ("STRIDED_SLICE", 8, 8),
    49: ("SPLIT", 4, 5),
    53: ("CAST", 5, 9),
    55: ("MAXIMUM", 4, 4),
    57: ("MINIMUM", 4, 4),
    65: ("SLICE", 6, 8),
    69: ("TILE", 3, 3),
    70: ("EXPAND_DIMS", 1, 1),
    83: ("PACK", 4, 5),
    88: ("UNPACK", 4, 6),
    102: ("SPLIT_V", 2, 3),
    114: ("QUANTIZE", 3, 6),
    126: ("BATCH_MATMUL", 4, 4),
    130: ("BROADCAST_TO", 3, 4),
}
TYPES = {0: "float32", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}
# tflite-runtime 2.14 crashes at invoke there, seen under emulation.
NO_PER_CHANNEL = {"aarch64", "armv7l"}


class Op(msgspec.Struct, frozen=True, kw_only=True):
    """Operators of one kind: how many, and in which version."""

    name: str
    version: int
    uses: int
    per_channel: bool  # some weights have a scale per channel


class Port(NamedTuple):
    """An input or output tensor."""

    type: str
    shape: tuple[int, ...]


class ModelFile(NamedTuple):
    """The outside of a model."""

    ops: tuple[Op, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


class Matrix(NamedTuple):
    """Constant weights: real value = scale x values."""

    values: NDArray[np.int16]  # (outputs, inputs)
    scale: float


class Reaches(NamedTuple):
    """What 1.0 means in the parts of a model that has them side by side; scaled units."""

    correction: float
    linear: float


class LinearPath(NamedTuple):
    """The part of a model that goes on beyond its integers."""

    inward: Matrix  # (rank, T x F)
    outward: Matrix  # (T x F, rank)
    judged: NDArray[np.bool_]  # (F,) the sensors whose values go on
    reaches: Reaches | None = None  # None: each part is an output of its own


class _Tensor(NamedTuple):
    port: Port
    per_channel: bool


def read(data: bytes, *, where: str) -> ModelFile:
    """Read a model's operators and ends.

    Raises
    ------
    BundleError : not one plain graph of known operators and types.
    """
    with _reading(where):
        return _model(_Table(data, _u32(data, 0)))


def linear_path(data: bytes, *, where: str) -> LinearPath | None:
    """Read the weights of a model's linear path, to 15 bits.

    The entry of the metadata holds the numbers of two int8 tensors, int32, then
    for each, int8, the rest that it leaves of its weights, in steps `FINER`
    times finer, and at last, int8, 1 for a sensor that is judged, else 0.

    A model with an entry `PARTS` of two numbers, float32, has one output:
    correction (T x F), linear path (T x F) and its components (rank), of which
    1.0 means in the first as much as the first number, in the second as the
    second; the components and ``inward`` have one unit, ``outward`` leads from it.

    Returns
    -------
    None for a model that names none.

    Raises
    ------
    BundleError : what is named there is not two int8 matrices that fit together.
    """
    with _reading(where):
        root = _Table(data, _u32(data, 0))
        content, parts = _note(root, LINEAR_PATH), _note(root, PARTS)
        if content is None:
            return None
        return _linear_path(root, content, None if parts is None else _reaches(parts))


def output_size(size: int, path: LinearPath | None) -> int:
    """Return how many numbers each output of a model over windows of ``size`` has."""
    if path is None or path.reaches is None:
        return size
    return 2 * size + len(path.inward.values)


def unloadable(model: ModelFile, runtime: Runtime) -> list[str]:
    """Why ``runtime`` cannot run ``model``; empty when nothing speaks against it."""
    old = runtime.name == "tflite-runtime"
    limits = {name: (first if old else second) for name, first, second in OPS.values()}
    found = [
        f"{op.name}: expected version <= {limits[op.name]} for {runtime.name}, got {op.version}"
        for op in model.ops
        if op.version > limits[op.name]
    ]
    if old and runtime.arch in NO_PER_CHANNEL:
        found += [
            f"{op.name}: expected weights quantized per tensor for tflite-runtime on"
            f" {runtime.arch}, got per channel"
            for op in model.ops
            if op.per_channel and op.name == "FULLY_CONNECTED"
        ]
    return found


class _BadModelError(Exception):
    """The message of a refusal, without the file's name."""


@contextmanager
def _reading(where: str) -> Iterator[None]:
    try:
        yield
    except struct.error:
        raise BundleError(
            f"{where}: expected a TFLite model, got an offset out of the file"
        ) from None
    except _BadModelError as error:
        raise BundleError(f"{where}: {error}") from None


class _Table:
    """A flatbuffer table; reads outside of the file raise struct.error."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._vtable = at - _i32(data, at)
        self._size = _u16(data, self._vtable)

    def field(self, number: int) -> int:
        """Offset of a field's value; 0 when it is absent."""
        slot = 4 + 2 * number
        if slot + 2 > self._size:
            return 0
        relative = _u16(self._data, self._vtable + slot)
        return self._at + relative if relative else 0

    def i32(self, number: int, default: int = 0) -> int:
        at = self.field(number)
        return _i32(self._data, at) if at else default

    def i8(self, number: int) -> int:
        at = self.field(number)
        value: int = struct.unpack_from("<b", self._data, at)[0] if at else 0
        return value

    def f32(self, number: int) -> float:
        """Return the first of a vector of floats."""
        at = self.field(number)
        return float(_unpack("<f", self._data, at + _u32(self._data, at) + 4))

    def table(self, number: int) -> _Table | None:
        at = self.field(number)
        return _Table(self._data, at + _u32(self._data, at)) if at else None

    def length(self, number: int) -> int:
        at = self.field(number)
        return _u32(self._data, at + _u32(self._data, at)) if at else 0

    def tables(self, number: int, most: int = TABLES_MAX) -> Iterator[_Table]:
        for at in self._elements(number, most):
            yield self._linked(at)

    def pick(self, number: int, index: int) -> _Table:
        return self._linked(_pick(self._elements(number, TABLES_MAX), index))

    def content(self, number: int) -> bytes:
        """Return the bytes of a text or a vector of bytes."""
        count, at = self.length(number), self.field(number)
        start = at + _u32(self._data, at) + 4 if at else 0
        if start + count > len(self._data):
            raise struct.error
        return self._data[start : start + count]

    def _linked(self, at: int) -> _Table:
        return _Table(self._data, at + _u32(self._data, at))

    def numbers(self, number: int, most: int) -> tuple[int, ...]:
        return tuple(_i32(self._data, at) for at in self._elements(number, most))

    def _elements(self, number: int, most: int) -> range:
        count = self.length(number)
        if count > most:
            raise _BadModelError(f"expected at most {most} elements, got {count}")
        at = self.field(number)
        start = at + _u32(self._data, at) + 4 if at else 0
        return range(start, start + 4 * count, 4)


def _model(root: _Table) -> ModelFile:
    version = root.i32(0)
    if version != SCHEMA_VERSION:
        raise _BadModelError(f"expected TFLite schema {SCHEMA_VERSION}, got {version}")
    codes = [_code(table) for table in root.tables(_CODES)]
    graphs = list(root.tables(_GRAPHS))
    if len(graphs) != 1:
        raise _BadModelError(f"expected one graph, got {len(graphs)}")
    graph = graphs[0]
    tensors = [_tensor(table) for table in graph.tables(0)]
    return ModelFile(
        ops=_ops(graph, codes, tensors),
        inputs=tuple(_pick(tensors, i).port for i in graph.numbers(1, TABLES_MAX)),
        outputs=tuple(_pick(tensors, i).port for i in graph.numbers(2, TABLES_MAX)),
    )


def _code(table: _Table) -> tuple[str, int]:
    # Old writers fill only the byte, new ones both; the larger one counts.
    code = max(table.i8(0), table.i32(3))
    if code not in OPS or table.field(1):
        raise _BadModelError(f"expected a known operator, got builtin code {code}")
    return OPS[code][0], table.i32(2, default=1)


def _tensor(table: _Table) -> _Tensor:
    kind = table.i8(1)
    if kind not in TYPES:
        raise _BadModelError(f"expected tensors of plain numbers, got type {kind}")
    quantization = table.table(4)
    scales = quantization.length(2) if quantization else 0
    return _Tensor(Port(TYPES[kind], table.numbers(0, RANK_MAX)), per_channel=scales > 1)


def _ops(graph: _Table, codes: list[tuple[str, int]], tensors: list[_Tensor]) -> tuple[Op, ...]:
    counts: Counter[int] = Counter()
    per_channel: set[int] = set()
    links = 0
    for table in graph.tables(3):
        code = table.i32(0)
        _pick(codes, code)
        counts[code] += 1
        ends = [i for i in table.numbers(1, TABLES_MAX) if i != _LEFT_OUT]
        ends += table.numbers(2, TABLES_MAX)
        if any(_pick(tensors, i).per_channel for i in ends):
            per_channel.add(code)
        links += len(ends)
        if links > LINKS_MAX:  # tables may overlap: a small file can say a lot
            raise _BadModelError(f"expected at most {LINKS_MAX} ends of operators, got more")
    return tuple(
        Op(name=name, version=version, uses=counts[code], per_channel=code in per_channel)
        for code, (name, version) in enumerate(codes)
        if code in counts
    )


def _note(root: _Table, name: bytes) -> bytes | None:
    """Return what the metadata says under ``name``."""
    for entry in root.tables(_METADATA, METADATA_MAX):
        if entry.content(0) == name:
            return root.pick(_BUFFERS, entry.i32(1)).content(0)
    return None


def _reaches(content: bytes) -> Reaches:
    found = Reaches(*struct.unpack_from("<2f", content))
    if not all(0 < reach < np.inf for reach in found):
        raise _BadModelError(f"expected parts with reaches above 0, got {found}")
    return found


def _linear_path(root: _Table, content: bytes, reaches: Reaches | None) -> LinearPath:
    graph = root.pick(_GRAPHS, 0)
    numbers, rest = struct.unpack_from("<2i", content), np.frombuffer(content, np.int8)[8:]
    inward, outward = (_weights(root, graph.pick(0, index)) for index in numbers)
    shape, size = inward.values.shape, inward.values.size
    sensors = len(rest) - 2 * size
    if outward.values.shape != shape[::-1] or sensors < 1 or shape[1] % sensors:
        raise _BadModelError(
            f"expected a linear path there and back, the rest of both and one number a sensor,"
            f" got {shape}, {outward.values.shape} and {len(rest)} bytes"
        )
    judged = rest[2 * size :] != 0
    there, back = _finer(inward, rest[:size]), _finer(outward, rest[size : 2 * size])
    if reaches is not None:
        back = Matrix(back.values, back.scale * reaches.linear)
    return LinearPath(there, back, judged, reaches)


def _finer(matrix: Matrix, rest: NDArray[np.int8]) -> Matrix:
    values = matrix.values * np.int16(FINER) + rest.reshape(matrix.values.shape)
    return Matrix(values, matrix.scale / FINER)


def _weights(root: _Table, table: _Table) -> Matrix:
    """Read a constant of 8-bit numbers with one scale."""
    port, quantization = _tensor(table).port, table.table(4)
    data = root.pick(_BUFFERS, table.i32(2)).content(0)
    scale = quantization.f32(2) if quantization and quantization.length(2) == 1 else 0.0
    fits = len(port.shape) == 2 and min(port.shape) > 0 and len(data) == math.prod(port.shape)
    if port.type != "int8" or not fits:
        raise _BadModelError(f"expected an int8 matrix, got {port} of {len(data)} bytes")
    if not 0 < scale < np.inf:
        raise _BadModelError(f"expected a matrix with one scale above 0, got {scale}")
    return Matrix(np.frombuffer(data, np.int8).reshape(port.shape).astype(np.int16), scale)


def _pick(items: Sequence[_T], index: int) -> _T:
    if not 0 <= index < len(items):
        raise _BadModelError(f"expected an index below {len(items)}, got {index}")
    return items[index]


def _u16(data: bytes, at: int) -> int:
    return int(_unpack("<H", data, at))


def _u32(data: bytes, at: int) -> int:
    return int(_unpack("<I", data, at))


def _i32(data: bytes, at: int) -> int:
    return int(_unpack("<i", data, at))


def _unpack(layout: str, data: bytes, at: int) -> float:
    if at < 0:  # struct would count from the end
        raise struct.error
    value: float = struct.unpack_from(layout, data, at)[0]
    return value
