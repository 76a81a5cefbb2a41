"""Windows → reconstructions: the only module that knows a TFLite runtime.

Rules: ai-edge-litert when it is installed, else tflite-runtime.  A model has
integer inputs of shape (1, T, F), all given the same window, each in its own
scale; its outputs are the parts of the reconstruction and are summed here,
elementwise in float64.  Values are rounded and clipped on the way in.  Many
windows run in one invocation, and the result does not depend on how many:
integer operators are exact whatever the batch, and rows of a batch never
meet.

>>> interpreter = Interpreter(model)  # doctest: +SKIP
>>> interpreter.reconstruct(np.zeros((3, 32, 8))).shape  # doctest: +SKIP
(3, 32, 8)
"""

from __future__ import annotations

import platform
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from offbeat_edge.errors import ModelError, RuntimeUnavailable
from offbeat_edge.schema import Runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BATCH = 16  # windows per invocation when there are many
THREADS = 1
_RUNTIMES = (
    ("ai-edge-litert", "ai_edge_litert.interpreter"),
    ("tflite-runtime", "tflite_runtime.interpreter"),
)
_REFUSALS = (RuntimeError, ValueError, TypeError)  # what both runtimes raise


class _Port(NamedTuple):
    """One input or output of the model."""

    tensor: int
    shape: tuple[int, ...]  # for one window
    dtype: np.dtype[Any]
    scale: float
    zero: int

    def quantize(self, windows: Floats) -> NDArray[Any]:
        limit = np.iinfo(self.dtype)
        steps = np.rint(windows / self.scale) + self.zero
        clipped: NDArray[Any] = np.clip(steps, limit.min, limit.max).astype(self.dtype)
        return clipped

    def dequantize(self, values: NDArray[Any]) -> Floats:
        exact: Floats = values.astype(np.float64)
        return (exact - self.zero) * self.scale


class Interpreter:
    """A loaded model.

    Parameters
    ----------
    model : the TFLite file's bytes.  A crafted file can crash the runtime
        and with it the process; load what is not yet trusted in a child.
    threads : the runtime may use.
    delegate : let the runtime use its default delegate (XNNPACK).

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
        name, self._module = _runtime()
        self._ready = {1: self._prepare(1)}
        single = self._ready[1]
        self._inputs = [_port(details) for details in single.get_input_details()]
        self._outputs = [_port(details) for details in single.get_output_details()]
        self.window, self.sensors = self._shape()
        self.runtime = Runtime(
            name=name,
            version=metadata.version(name),
            arch=platform.machine(),
            delegate="xnnpack" if delegate else "none",
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
        for start in range(0, len(windows), BATCH):
            part = windows[start : start + BATCH]
            out[start : start + len(part)] = self._invoke(part)
        return out

    def _invoke(self, windows: Floats) -> Floats:
        count = len(windows)
        size = 1 if count == 1 else BATCH
        if size not in self._ready:
            self._ready[size] = self._prepare(size)
        ready = self._ready[size]
        try:
            for port in self._inputs:
                padded = np.zeros((size, self.window, self.sensors), port.dtype)
                padded[:count] = port.quantize(windows)
                ready.set_tensor(port.tensor, padded)
            ready.invoke()
            raw = [ready.get_tensor(port.tensor) for port in self._outputs]
        except _REFUSALS as error:
            raise ModelError(f"model: invocation of {size} windows failed: {error}") from error
        parts = [
            port.dequantize(values.reshape(size, self.window, self.sensors)[:count])
            for port, values in zip(self._outputs, raw, strict=True)
        ]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def _prepare(self, size: int) -> Any:  # noqa: ANN401 - the runtimes ship no types
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
        except _REFUSALS as error:
            raise ModelError(
                f"model: expected a TFLite model for {size} windows: {error}"
            ) from error
        return ready

    def _shape(self) -> tuple[int, int]:
        shapes = {port.shape for port in self._inputs}
        first = shapes.pop()
        one, window, sensors = first if len(first) == 3 and not shapes else (0, 0, 0)
        sizes = {int(np.prod(port.shape)) for port in self._outputs}
        if one != 1 or sizes != {window * sensors} or len(self._outputs) > 2:
            raise ModelError(
                "model: expected inputs (1, T, F) and one or two outputs of T x F numbers,"
                f" got inputs {[port.shape for port in self._inputs]}"
                f" and outputs {[port.shape for port in self._outputs]}"
            )
        return window, sensors


def _runtime() -> tuple[str, Any]:
    """Find a runtime; returns its distribution's name and its module."""
    problems = []
    for name, module in _RUNTIMES:
        try:
            return name, import_module(module)
        except ImportError as error:
            problems.append(f"{name}: {error}")
    raise RuntimeUnavailable(
        f"expected ai-edge-litert or tflite-runtime, got {'; '.join(problems)}"
    )


def _port(details: dict[str, Any]) -> _Port:
    scale, zero = details["quantization"]
    dtype = np.dtype(details["dtype"])
    if dtype.kind != "i" or not scale:
        raise ModelError(f"model: expected quantized integers at its ends, got {dtype}")
    shape = tuple(int(size) for size in details["shape"])
    return _Port(int(details["index"]), shape, dtype, float(scale), int(zero))
