"""What `offbeat bench` measures on a device, as data.

Rules: a figure is taken several times and told as median, lowest and
highest, so that noise shows; what is compared is measured in turns within
one run, and a ratio is taken turn by turn.  The three kinds of measurement
live in `model`, `process` and `wire`.

>>> spread([3.0, 1.0, 2.0])
Spread(median=2.0, low=1.0, high=3.0)
>>> ratios([2.0, 4.0], [1.0, 4.0]).median
1.5
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import msgspec

from offbeat_edge.schema import SCHEMA, Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Spread(msgspec.Struct, frozen=True):
    """One figure, taken several times."""

    median: float
    low: float
    high: float


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes on disk and on the way, as zlib at its best makes them."""

    bundle: int
    bundle_compressed: int
    model: int
    model_compressed: int


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of the model alone, and with scaling and scoring around it."""

    batch: int  # windows of a batch
    model_one_ms: Spread
    model_batched_ms: Spread  # a window
    judged_one_ms: Spread
    judged_batched_ms: Spread  # a window


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process of its own: how soon it scores, and what it holds."""

    assets: int
    first_score_s: Spread  # from the start of Python, state restored
    resident_bytes: int
    bytes_per_further_asset: int


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One subscriber under load.

    ``ratio`` compares messages a second of its own CPU time with those of the
    subscriber that decodes, ``wall_ratio`` messages a second of the clock.
    """

    per_second: Spread
    cpu_us: Spread  # a message
    ratio: Spread
    wall_ratio: Spread


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of one JSON object each, through a broker."""

    broker: str
    qos: int
    messages: int  # in one turn
    payload_bytes: int
    assets: int
    stride: int
    lost: int  # of those sent to the daemon
    daemon_bytes: int  # resident
    subjects: dict[str, Subject]  # bare, decode, daemon


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured; None where there was nothing to measure with."""

    schema: str = SCHEMA
    version: str
    python: str
    machine: str
    cpus: int
    load: float  # of the machine at the start, runnable processes
    floor_bytes: int  # resident, an empty process with paho, numpy and the runtime
    bundle: str | None = None  # digest
    runtime: Runtime | None = None
    size: Size | None = None
    latency: Latency | None = None
    process: Process | None = None
    wire: tuple[Wire, ...] = ()
    problems: tuple[str, ...] = ()


def spread(values: Sequence[float]) -> Spread:
    """Return median, lowest and highest of one value or more."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Return the spread of the ratios of values taken in the same turns."""
    return spread([a / b for a, b in zip(over, under, strict=True)])


def explain(report: Report) -> Iterator[str]:
    """Tell a report to people, line by line."""
    yield f"offbeat {report.version}, Python {report.python}, {report.machine}"
    yield f"  {report.cpus} cores, load {report.load:.1f} at the start"
    if report.runtime is not None:
        found = report.runtime
        yield f"  {found.name} {found.version}, delegate {found.delegate}"
    yield f"  floor, MiB resident         {_mib(report.floor_bytes)}  paho, numpy and the runtime"
    yield "median (lowest .. highest)"
    if report.size is not None:
        yield from _size(report.size)
    if report.latency is not None:
        yield from _latency(report.latency)
    if report.process is not None:
        yield from _process(report.process)
    for wire in report.wire:
        yield from _wire(wire)
    yield from (f"not measured: {problem}" for problem in report.problems)


def _size(size: Size) -> Iterator[str]:
    yield "size, KiB (compressed)"
    yield f"  bundle                      {_kib(size.bundle)} ({_kib(size.bundle_compressed)})"
    yield f"  model                       {_kib(size.model)} ({_kib(size.model_compressed)})"


def _latency(latency: Latency) -> Iterator[str]:
    yield "latency, ms a window"
    yield _line("model, one", latency.model_one_ms, ".4f")
    yield _line(f"model, {latency.batch} at once", latency.model_batched_ms, ".4f")
    yield _line("scored, one", latency.judged_one_ms, ".4f")
    yield _line(f"scored, {latency.batch} at once", latency.judged_batched_ms, ".4f")


def _process(process: Process) -> Iterator[str]:
    yield "process"
    yield _line("start to first score, s", process.first_score_s, ".2f")
    yield f"  resident, MiB               {_mib(process.resident_bytes)}  {process.assets} assets"
    yield f"  a further asset, KiB        {_kib(process.bytes_per_further_asset)}"


def _wire(wire: Wire) -> Iterator[str]:
    yield (
        f"QoS {wire.qos}, {wire.broker}, {wire.messages} messages of {wire.payload_bytes} bytes,"
        f" {wire.assets} assets, stride {wire.stride}"
    )
    for name, subject in wire.subjects.items():
        yield _line(f"{name}, messages/s", subject.per_second, ".0f")
        yield _line("  CPU, µs a message", subject.cpu_us, ".1f")
        yield _line("  rate / decode, CPU", subject.ratio, ".2f")
        yield _line("  rate / decode, clock", subject.wall_ratio, ".2f")
    yield f"  daemon resident, MiB        {_mib(wire.daemon_bytes)}"
    if wire.lost:
        yield f"  lost by the broker          {wire.lost:10}"


def _line(name: str, figure: Spread, form: str) -> str:
    low, high = format(figure.low, form), format(figure.high, form)
    return f"  {name:26}  {format(figure.median, form):>10}  ({low} .. {high})"


def _kib(size: int) -> str:
    return f"{size / 1024:10.1f}"


def _mib(size: int) -> str:
    return f"{size / 2**20:10.1f}"
