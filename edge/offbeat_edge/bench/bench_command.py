"""Measure this device: a bundle's size, latency, start and memory, and the daemon under load.

Needs nothing but what a device has; a broker for the daemon's part is taken
from --broker, or started where mosquitto is installed.  Every figure is told
as median (lowest .. highest).  Without a bundle only the machine is described.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from offbeat_edge import __version__
from offbeat_edge import bundle as bundles
from offbeat_edge.bench import broker as brokers
from offbeat_edge.bench import model as models
from offbeat_edge.bench import process as processes
from offbeat_edge.bench import wire
from offbeat_edge.bench.broker import Address
from offbeat_edge.bench.figures import Report, Wire, explain
from offbeat_edge.errors import ConfigError, OffbeatError
from offbeat_edge.interpreter import Interpreter
from offbeat_edge.knownanswer import check_in_child
from offbeat_edge.model import open_model

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from offbeat_edge.bundle import Bundle

DEFAULT_PORT = 1883
TURNS = 5
LEVELS = (0, 1)  # QoS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", nargs="?")
    parser.add_argument("--broker", help="HOST[:PORT] to measure the daemon on")
    parser.add_argument("--turns", type=int, default=TURNS, help="how often each figure is taken")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print a report."""
    if args.turns < 1:
        raise ConfigError([f"--turns: expected 1 or more, got {args.turns}"])
    report = measure(args.bundle, broker=args.broker, turns=args.turns)
    if args.json:
        print(json.dumps(msgspec.to_builtins(report), indent=2))
    else:
        print("\n".join(explain(report)))
    return 0


def measure(path: Path | None, *, broker: str | None, turns: int) -> Report:
    """Measure all there is to measure.

    Parameters
    ----------
    path : the bundle; None describes the machine.
    broker : ``HOST[:PORT]``; None starts a mosquitto where there is one.
    turns : how often each figure is taken.

    Raises
    ------
    BundleError : the bundle is refused, or gives other answers than it should.
    """
    machine = Report(
        version=__version__,
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        cpus=len(os.sched_getaffinity(0)),
        load=os.getloadavg()[0],
        floor_bytes=processes.floor(),
    )
    if path is None:
        return replace(machine, problems=("anything else: no bundle was given",))
    return _with_bundle(machine, path, broker=broker, turns=turns)


def _with_bundle(machine: Report, path: Path, *, broker: str | None, turns: int) -> Report:
    bundle = bundles.load(path)
    answer = check_in_child(path, digest=bundle.digest)  # before it is let into this process
    interpreter = Interpreter(bundle.model)
    model = open_model(bundle, config_digest="")
    with tempfile.TemporaryDirectory(prefix="offbeat-bench-") as name:
        folder = Path(name)
        process = processes.measure(path, bundle, folder, turns=turns)
        wire, problem = _wire(path, bundle, folder, broker=broker, turns=turns)
    return replace(
        machine,
        bundle=bundle.digest,
        runtime=interpreter.runtime,
        size=models.size(path, bundle),
        latency=models.latency(bundle, interpreter, model, turns=turns),
        process=process,
        wire=wire,
        problems=tuple(filter(None, [problem, None if answer.ok else answer.reason])),
    )


def _wire(
    path: Path, bundle: Bundle, folder: Path, *, broker: str | None, turns: int
) -> tuple[tuple[Wire, ...], str | None]:
    """Measure the daemon where there is a broker; else say why not."""
    with ExitStack() as stack:
        if broker is not None:
            address = _address(broker)
        elif (program := brokers.installed()) is not None:
            address = stack.enter_context(brokers.mosquitto(program, folder))
        else:
            return (), "the daemon: no --broker given, and mosquitto is not installed"
        try:
            return tuple(_wires(address, path, bundle, folder, turns=turns)), None
        except OffbeatError as error:
            return (), f"the daemon: {error}"


def _wires(
    address: Address, path: Path, bundle: Bundle, folder: Path, *, turns: int
) -> Iterator[Wire]:
    """Measure at both levels of QoS, and where every step is scored."""
    with wire.Bench(address=address, path=path, bundle=bundle, folder=folder) as bench:
        for qos in LEVELS:
            yield bench.measure(qos=qos, turns=turns)
    if bundle.manifest.model.stride > 1:
        dense = folder / "dense.offbeat"
        models.write_dense(dense, bundle)
        bundle = bundles.load(dense)
        with wire.Bench(address=address, path=dense, bundle=bundle, folder=folder) as bench:
            yield bench.measure(qos=0, turns=turns)


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":") if ":" in text else (text, "", str(DEFAULT_PORT))
    if not host or not port.isdigit():
        raise ConfigError([f"--broker: expected HOST or HOST:PORT, got {text!r}"])
    return Address(host, int(port))
