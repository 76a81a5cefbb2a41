"""Windows → reconstructions: the only module that knows a TFLite runtime.

Rules: ai-edge-litert when it is installed, else tflite-runtime.  A model has
integer inputs of shape (1, T, F), all given the same window, each in its own
scale; the parts of the reconstruction are its outputs, or stand side by side in
a single one, which is handed out sooner, and are summed here, elementwise in
float64.  Values are rounded and clipped on the way in; to what was cut off,
there or in the components, the linear path answers in floats (`beyond`).  Many
windows run in one invocation, and the result does not depend on how many:
integer operators are exact whatever the batch, and rows of a batch never
meet.  One exception is avoided: on ARM the runtimes' own product of a single
row rounds some ties differently from that of several rows, so without the
delegate a single window is padded to two (twice as fast on x86-64 anyway).

>>> interpreter = Interpreter(model)  # doctest: +SKIP
>>> interpreter.reconstruct(np.zeros((3, 32, 8))).shape  # doctest: +SKIP
(3, 32, 8)
"""

from __future__ import annotations

import platform
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from offbeat_edge import modelfile
from offbeat_edge.beyond import Beyond, at_an_end
from offbeat_edge.errors import BundleError, ModelError, RuntimeUnavailable
from offbeat_edge.hush import without_greeting
from offbeat_edge.schema import Runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_edge.modelfile import LinearPath

    Floats = NDArray[np.float64]
    Steps = NDArray[np.int8]

BATCH = 16  # windows per invocation, where there are many
BATCHES = (1, BATCH)  # each is prepared when first needed and kept, at 0.76 MiB ...
PLAIN_BATCHES = (2, BATCH)  # ... and without a delegate
FULL = 1 / 3  # of a batch, from which on it costs less than its windows one by one
THREADS = 1
_RUNTIMES = ("ai-edge-litert", "tflite-runtime")  # distributions; their packages are spelled with _
_REFUSALS = (RuntimeError, ValueError, TypeError)  # what both runtimes raise


class _Port(NamedTuple):
    """One input or output of the model; numbers as arrays, which numpy takes in faster."""

    tensor: int
    shape: tuple[int, ...]  # for one window
    dtype: np.dtype[Any]
    scale: Floats
    zero: Floats | None  # None for 0
    least: Floats  # steps; symmetric
    most: Floats


class _Part(NamedTuple):
    """One part of the reconstruction."""

    output: int  # which of them
    columns: slice
    scale: Floats
    zero: Floats | None


class _Ran(NamedTuple):
    """What there is to know of a run beside the reconstructions."""

    cut: bool  # a value was beyond the integers
    steps: Steps  # (N, T, F) what the model saw
    components: Steps | None  # (N, rank) of the linear path, where the model tells them


class _Batch:
    """The model prepared for a fixed number of windows, with its buffers."""

    def __init__(self, runtime: Any, size: int, path: LinearPath | None) -> None:  # noqa: ANN401 - ships no types
        self._runtime = runtime
        self._size = size
        self.inputs = [_port(details) for details in runtime.get_input_details()]
        self.outputs = [_port(details) for details in runtime.get_output_details()]
        self._shape = (size, *self.inputs[0].shape[1:])
        self._parts, self._components = _parts(self.outputs, path)
        self._scratch = np.empty(self._shape, np.float64)
        self._entries = [(port, np.zeros(self._shape, port.dtype)) for port in self.inputs]

    @property
    def delegated(self) -> bool:
        """Whether a delegate took any operator over."""
        operators = self._runtime._get_ops_details()  # noqa: SLF001 - the only way to know
        return any(operator["op_name"] == "DELEGATE" for operator in operators)

    def run(self, windows: Floats, out: Floats) -> _Ran:
        """Fill ``out``; inputs past ``windows`` stay what the last run left there."""
        runtime, count = self._runtime, len(windows)
        scratch = self._scratch if count == self._size else self._scratch[:count]
        cut = False
        for port, buffer in self._entries:
            cut |= _quantize(windows, port, scratch, buffer[:count])
            runtime.set_tensor(port.tensor, buffer)
        runtime.invoke()
        rows = [runtime.get_tensor(port.tensor).reshape(self._size, -1) for port in self.outputs]
        if count != self._size:
            rows = [values[:count] for values in rows]
        first, *more = self._parts
        _real(rows, first, out.reshape(count, -1))
        flat = scratch.reshape(count, -1)
        for part in more:
            _real(rows, part, flat)
            np.add(out, scratch, out=out)
        told = None if self._components is None else rows[0][:, self._components]
        return _Ran(cut, self._entries[0][1][:count], told)


def _real(rows: list[NDArray[Any]], part: _Part, out: Floats) -> None:
    """Fill ``out`` (N, T x F) with what a part of the outputs' rows means."""
    out[...] = rows[part.output][:, part.columns]
    if part.zero is not None:
        np.subtract(out, part.zero, out=out)
    np.multiply(out, part.scale, out=out)


class Interpreter:
    """A loaded model.

    Parameters
    ----------
    model : the TFLite file's bytes.  A crafted file can crash the runtime
        and with it the process; load what is not yet trusted in a child.
    threads : the runtime may use.
    delegate : let the runtime use its default delegate (XNNPACK); tflite-runtime
        2.14 has none for 8-bit operators, and ``runtime`` says what is used.

    Attributes
    ----------
    window, sensors : T and F.
    runtime : the combination within which results are equal to the bit.

    Raises
    ------
    RuntimeUnavailable : no runtime is installed.
    ModelError : the runtime refused the model, or it is not one of ours.
    """

    def __init__(self, model: bytes, *, threads: int = THREADS, delegate: bool = True) -> None:
        self._model = model
        self._threads = threads
        self._delegate = delegate
        found = installed()
        self._module = found.module
        self._path = _linear_path(model)
        with without_greeting():
            first = self._prepare(1)
        self.window, self.sensors = _shape(first, self._path)
        self._beyond = _beyond(self._path, first)
        self._sizes = BATCHES if first.delegated else PLAIN_BATCHES
        self._ready = {1: first} if first.delegated else {}
        self.runtime = Runtime(
            name=found.name,
            version=found.version,
            arch=platform.machine(),
            delegate="xnnpack" if first.delegated else "none",
        )

    def reconstruct(self, windows: Floats) -> Floats:
        """Run windows through the model.

        Parameters
        ----------
        windows : (N, T, F) float64, scaled, finite; N may be 0.

        Returns
        -------
        (N, T, F) float64, scaled.

        Raises
        ------
        ModelError : the runtime refused an invocation.
        ValueError : another shape.
        """
        if windows.shape[1:] != (self.window, self.sensors):
            raise ValueError(
                f"interpreter: expected windows (N, {self.window}, {self.sensors}),"
                f" got {windows.shape}"
            )
        out = np.empty(windows.shape, np.float64)
        if len(windows) in self._ready:  # as most often, with nothing to cut
            self._run(len(windows), windows, out)
            return out
        start = 0
        while start < len(windows):
            size = self._size(len(windows) - start)
            self._run(size, windows[start : start + size], out[start : start + size])
            start += size
        return out

    def _run(self, size: int, windows: Floats, out: Floats) -> None:
        if size not in self._ready:
            self._ready[size] = self._prepare(size)
        try:
            ran = self._ready[size].run(windows, out)
            if self._beyond is not None:
                _go_on(self._beyond, ran, windows, out)
        except _REFUSALS as error:
            raise ModelError(f"model: invocation of {size} windows failed: {error}") from error

    def _size(self, count: int) -> int:
        """Choose a batch for ``count`` windows: the large one, padded, when it is full enough."""
        few, many = self._sizes
        return many if count > FULL * many else few

    def _prepare(self, size: int) -> _Batch:
        kinds = self._module.OpResolverType
        resolver = kinds.AUTO if self._delegate else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            ready = self._module.Interpreter(
                model_content=self._model,
                num_threads=self._threads,
                experimental_op_resolver_type=resolver,
            )
            for details in ready.get_input_details():
                ready.resize_tensor_input(details["index"], [size, *details["shape"][1:]])
            ready.allocate_tensors()
            return _Batch(ready, size, self._path)
        except _REFUSALS as error:
            raise ModelError(
                f"model: expected a TFLite model for {size} windows, got: {error}"
            ) from error


def _go_on(beyond: Beyond, ran: _Ran, windows: Floats, out: Floats) -> None:
    """Add to ``out`` what the integers cut off."""
    if ran.cut:
        beyond.add(windows, out)
    if ran.components is not None and at_an_end(ran.components):
        beyond.complete(ran.steps, ran.components, out)


def _linear_path(model: bytes) -> LinearPath | None:
    try:
        return modelfile.linear_path(model, where="model")
    except BundleError as error:
        raise ModelError(str(error)) from None


def _parts(outputs: list[_Port], path: LinearPath | None) -> tuple[list[_Part], slice | None]:
    """Say where the parts of the reconstruction are, and the components of the linear path."""
    if path is None or path.reaches is None:
        whole = slice(None)
        return [_Part(n, whole, port.scale, port.zero) for n, port in enumerate(outputs)], None
    port, size = outputs[0], len(path.outward.values)
    parts = [
        _Part(0, slice(n * size, (n + 1) * size), port.scale * reach, port.zero)
        for n, reach in enumerate(path.reaches)
    ]
    return parts, slice(2 * size, None)


def _shape(batch: _Batch, path: LinearPath | None) -> tuple[int, int]:
    """Check the ends of a model prepared for one window; returns T and F."""
    shapes = {port.shape for port in batch.inputs}
    first = shapes.pop()
    one, window, sensors = first if len(first) == 3 and not shapes else (0, 0, 0)
    sizes = {int(np.prod(port.shape)) for port in batch.outputs}
    expected = modelfile.output_size(window * sensors, path)
    if one != 1 or sizes != {expected}:
        raise ModelError(
            f"model: expected inputs (1, T, F) and outputs of {expected} numbers,"
            f" got inputs {[port.shape for port in batch.inputs]}"
            f" and outputs {[port.shape for port in batch.outputs]}"
        )
    return window, sensors


def _beyond(path: LinearPath | None, batch: _Batch) -> Beyond | None:
    """Make what answers beside a model prepared for one window."""
    if path is None:
        return None
    port = batch.inputs[0]
    found = (len(path.outward.values) // len(path.judged), len(path.judged))
    if found != port.shape[1:] or port.zero is not None:
        raise ModelError(
            f"model: expected a linear path over windows {port.shape[1:]} around 0, got {found}"
        )
    step = float(batch.outputs[0].scale)  # of the components
    return Beyond(path, most=float(port.scale * port.most), step=step)


def _quantize(windows: Floats, port: _Port, scratch: Floats, out: NDArray[Any]) -> bool:
    """Round to the port's steps and clip; symmetric, so -limit to limit.

    Returns whether anything was clipped.
    """
    np.divide(windows, port.scale, out=scratch)
    np.rint(scratch, out=scratch)
    if port.zero is not None:
        scratch += port.zero
    flat = scratch.reshape(-1)
    cut = bool(flat[flat.argmax()] > port.most or flat[flat.argmin()] < port.least)
    if cut:
        np.clip(scratch, port.least, port.most, out=scratch)
    out[...] = scratch
    return cut


class Installed(NamedTuple):
    """The runtime that is used here."""

    name: str  # of its distribution
    version: str
    module: Any


def installed() -> Installed:
    """Return the runtime that runs models here; raises RuntimeUnavailable."""
    problems = []
    for name in _RUNTIMES:
        package = name.replace("-", "_")
        try:
            module = import_module(f"{package}.interpreter")
        except ImportError as error:
            problems.append(f"{name}: {error}")
        else:  # importlib.metadata would say the same, for half a megabyte
            return Installed(name, sys.modules[package].__version__, module)
    raise RuntimeUnavailable(
        f"expected ai-edge-litert or tflite-runtime, got {'; '.join(problems)}"
    )


def _port(details: dict[str, Any]) -> _Port:
    scale, zero = details["quantization"]
    dtype = np.dtype(details["dtype"])
    if dtype.kind != "i" or not scale:
        raise ModelError(f"model: expected quantized integers at its ends, got {dtype}")
    shape = tuple(int(size) for size in details["shape"])
    most = np.array(np.iinfo(dtype).max, np.float64)
    shift = np.array(zero, np.float64) if zero else None
    return _Port(
        int(details["index"]), shape, dtype, np.array(scale, np.float64), shift, -most, most
    )
