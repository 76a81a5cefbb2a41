"""A process of its own: its start to the first score, and what it holds in memory.

The child, ``python -m offbeat_edge.bench.process BUNDLE SNAPSHOT``,
loads what the daemon loads, restores its state and says a word at each stage;
then it waits for a line, so that the parent can look at it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import offbeat_edge.run_command  # noqa: F401 - what the daemon loads costs and weighs too
from offbeat_edge import bundle as bundles
from offbeat_edge import spare
from offbeat_edge.bench.figures import Process, spread
from offbeat_edge.bench.signal import Signal
from offbeat_edge.engine import Engine
from offbeat_edge.errors import OffbeatError
from offbeat_edge.interpreter import installed
from offbeat_edge.link import MAX_READ
from offbeat_edge.model import open_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offbeat_edge.bundle import Bundle

ASSETS = 100
FURTHER = 900  # assets, to see what one costs
BATCH = MAX_READ  # samples fed at once
PYTHON = (sys.executable, "-P")
FLOOR = "import numpy, paho.mqtt.client, {runtime}; print('ready', flush=True); input()"


class _Look(NamedTuple):
    """One child: when it scored, and its resident bytes at two stages."""

    first_score_s: float
    resident: int
    further: int


def measure(path: Path, bundle: Bundle, folder: Path, *, turns: int) -> Process:
    """Start processes and look at them.

    Parameters
    ----------
    path, bundle : the file, and what is in it.
    folder : where a snapshot can be written.
    turns : how many processes score, one after the other.
    """
    snapshot = folder / "snapshot"
    snapshot.write_bytes(_snapshot(bundle))
    looks = [_look(path, snapshot) for _ in range(turns)]
    last = looks[-1]
    return Process(
        assets=ASSETS,
        first_score_s=spread([look.first_score_s for look in looks]),
        resident_bytes=last.resident,
        bytes_per_further_asset=(last.further - last.resident) // FURTHER,
    )


def floor() -> int:
    """Return the resident bytes of an empty process with paho, numpy and the runtime."""
    code = FLOOR.format(runtime=installed().module.__name__)
    with _child((*PYTHON, "-c", code)) as child:
        _hear(child, "ready")
        return resident(child.pid)


def resident(pid: int) -> int:
    """Return the resident bytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _engine(bundle: Bundle) -> Engine:
    model = open_model(bundle, config_digest="")
    return Engine(site="bench", gateway="bench", route=lambda _: model)


def _feed(engine: Engine, bundle: Bundle, assets: range, steps: range) -> int:
    """Feed readings as the daemon would; return how many windows were scored."""
    samples = Signal(bundle).samples(assets, steps)
    parts = iter(lambda: list(islice(samples, BATCH)), [])  # no more in memory than a daemon has
    return sum(len(engine.feed(part).scores) for part in parts)


def _steps(bundle: Bundle) -> int:
    """Return after how many steps every asset has a score, to whole strides."""
    model = bundle.manifest.model
    return (model.window // model.stride + 2) * model.stride


def _snapshot(bundle: Bundle) -> bytes:
    engine = _engine(bundle)
    _feed(engine, bundle, range(ASSETS), range(_steps(bundle)))
    return engine.snapshot()


def _look(path: Path, snapshot: Path) -> _Look:
    started = time.perf_counter()
    command = (*PYTHON, "-m", "offbeat_edge.bench.process", str(path), str(snapshot))
    with _child(command) as child:
        _hear(child, "scored")
        first_score_s = time.perf_counter() - started
        _go_on(child)
        _hear(child, "steady")
        steady = resident(child.pid)
        _go_on(child)
        _hear(child, "further")
        return _Look(first_score_s, steady, resident(child.pid))


@contextmanager
def _child(command: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def _hear(child: subprocess.Popen[str], word: str) -> None:
    heard = child.stdout.readline().strip() if child.stdout else ""
    if heard != word:
        raise OffbeatError(f"bench: expected the child to say {word!r}, got {heard!r}")


def _go_on(child: subprocess.Popen[str]) -> None:
    if child.stdin is not None:
        child.stdin.write("\n")
        child.stdin.flush()


def main(argv: list[str]) -> int:
    """Be the child."""
    path, snapshot = argv
    bundle = bundles.load(path)
    engine = _engine(bundle)
    engine.restore(Path(snapshot).read_bytes())
    known, stride = _steps(bundle), bundle.manifest.model.stride
    if not _feed(engine, bundle, range(1), range(known, known + stride)):
        return 1
    _say("scored")
    _feed(engine, bundle, range(1, ASSETS), range(known, known + stride))
    _feed(engine, bundle, range(ASSETS), range(known + stride, 2 * known + stride))
    spare.trim()  # as the daemon does
    _say("steady")
    _feed(engine, bundle, range(ASSETS, ASSETS + FURTHER), range(known))
    _say("further")
    return 0


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
