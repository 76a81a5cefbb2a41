"""The integer model beside what people would use instead, as ratios in one run.

Not part of `make test`: a busy machine makes any figure wrong.  Run it with
``pytest tests/benchmarks -s`` to see the table.
"""

from __future__ import annotations

import os
import time
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="the cloud half is not installed")

from ai_edge_litert import interpreter as litert  # noqa: E402 - after the skip

from offbeat_edge.bench.figures import Spread, ratios, spread  # noqa: E402
from offbeat_edge.bench.model import in_turns  # noqa: E402
from offbeat_edge.interpreter import BATCH, Interpreter  # noqa: E402
from offbeat_train.defaults import Spectrum, choose_patch, linear_path  # noqa: E402
from offbeat_train.export import export  # noqa: E402
from offbeat_train.export.fused import build_fused  # noqa: E402
from offbeat_train.network import NetworkSpec, build, set_linear, weights_of  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

TURNS = int(os.environ.get("OFFBEAT_BENCH_TURNS", "9"))
WINDOW = 64
SENSORS = 8
RANK = 24  # what 95 % of the variance of a simulated pump takes, about
SIZE_MAX = 96 << 10  # bytes, compressed


class Figures(NamedTuple):
    """Of the default network at eight sensors."""

    alone: Spread  # int8, the runtime alone, one window / fused float32, one window
    alone_batched: Spread  # the same, a window of a batch of 16 / the same
    one: Spread  # int8 with rounding, clipping and adding around it / the same
    batched: Spread  # the same, a window of a batch of 16 / the same
    keras: Spread  # int8, one window / keras.Model.predict of one
    model: bytes


def bare(model: bytes, batch: int) -> Callable[[], object]:
    """Whole numbers through the runtime, as `fused` does with reals."""
    runtime = litert.Interpreter(model_content=model, num_threads=1)
    into = runtime.get_input_details()[0]
    runtime.resize_tensor_input(into["index"], [batch, *into["shape"][1:]])
    runtime.allocate_tensors()
    window = np.ones((batch, *into["shape"][1:]), np.int8)
    outputs = [details["index"] for details in runtime.get_output_details()]

    def once() -> object:
        runtime.set_tensor(into["index"], window)
        runtime.invoke()
        return [runtime.get_tensor(output) for output in outputs]

    return once


def fused(model: bytes, window: NDArray[np.float32]) -> Callable[[], object]:
    """One window through the float32 file; its LSTMs keep state, so it is reset."""
    runtime = litert.Interpreter(model_content=model, num_threads=1)
    runtime.allocate_tensors()
    into = runtime.get_input_details()[0]["index"]
    out = runtime.get_output_details()[0]["index"]

    def once() -> object:
        runtime.reset_all_variables()
        runtime.set_tensor(into, window)
        runtime.invoke()
        return runtime.get_tensor(out)

    return once


@pytest.fixture(scope="module", name="figures")
def measured() -> Figures:
    return measure()


def measure() -> Figures:
    """Measure all of them in one run."""
    spec = NetworkSpec(
        window=WINDOW, sensors=SENSORS, patch=choose_patch(WINDOW), encoder=(32,), latent=16,
        decoder=(32,), rank=RANK,
    )  # fmt: skip
    draw = np.random.default_rng(1)
    windows = draw.normal(size=(512, WINDOW, SENSORS)).cumsum(axis=1).astype(np.float32)
    windows /= windows.std()
    network = build(spec, seed=1)
    set_linear(network, linear_path(Spectrum.of(windows)), RANK)
    model = export(network, spec, windows)
    runner = Interpreter(model)
    wide = windows[:BATCH].astype(np.float64)
    alone, alone_many, one, many, floating = in_turns(
        [
            bare(model, 1),
            bare(model, BATCH),
            lambda: runner.reconstruct(wide[:1]),
            lambda: runner.reconstruct(wide),
            fused(build_fused(weights_of(network, spec), spec), windows[:1]),
        ],
        turns=TURNS,
        clock=time.thread_time,  # all three have one thread; what others take is left out
    )
    once, predict = in_turns(
        [lambda: runner.reconstruct(wide[:1]), lambda: network.predict(windows[:1], verbose=0)],
        turns=TURNS // 2,
    )
    found = Figures(
        alone=ratios(alone, floating),
        alone_batched=ratios([seconds / BATCH for seconds in alone_many], floating),
        one=ratios(one, floating),
        batched=ratios([seconds / BATCH for seconds in many], floating),
        keras=ratios(once, predict),
        model=model,
    )
    for name, seconds in (("int8", one), ("float32, fused", floating), ("keras", predict)):
        print(f"\n{name}, one window, ms: {spread([1000 * s for s in seconds])}", end="")  # noqa: T201
    print(f"\nratios: {found[:5]}")  # noqa: T201
    return found


def test_the_ratios_are_told(figures: Figures) -> None:
    """Print them beside what is aimed at; a time is nothing to assert on."""
    for name, found, aim in (
        ("int8 one window / fused float32, the runtimes alone", figures.alone, 0.5),
        ("int8 a window in batches of 16 / the same", figures.alone_batched, 0.2),
        ("int8 one window from reals to reals / the same", figures.one, 0.5),
        ("int8 a window in batches of 16 from reals to reals / the same", figures.batched, 0.2),
        ("int8 one window / keras predict", figures.keras, 0.01),
    ):
        print(f"\n{name}: {found} (aim: {aim:g})", end="")  # noqa: T201
    assert min(found.median for found in figures[:5]) > 0


def test_the_model_is_small_compressed(figures: Figures) -> None:
    assert len(zlib.compress(figures.model, 9)) <= SIZE_MAX
