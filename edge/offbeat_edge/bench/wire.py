"""The daemon under load, beside subscribers that do nothing or only decode JSON.

Rules: the daemon is ``offbeat run`` itself, with its state on disk and its
defaults; all three are processes of their own on one broker, have the same
receive window and take the same messages in turns.  A turn ends when the
subscriber has answered a last message, so everything before it was taken.
CPU time is the subscriber's own, broker and publisher not counted.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from offbeat_edge.bench.figures import Subject, Wire, ratios, spread
from offbeat_edge.bench.peer import END, KINDS
from offbeat_edge.bench.process import resident
from offbeat_edge.bench.publisher import Publisher
from offbeat_edge.bench.signal import Signal, name_of
from offbeat_edge.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from offbeat_edge.bench.broker import Address
    from offbeat_edge.bundle import Bundle

ASSETS = 100
MESSAGES = 6400  # of a turn, to whole strides
BURST = 8_000  # messages at once, so that they fit in memory and their ids in 16 bits
ANSWER_S = 120.0  # for a turn; a Pi needs some
SETTLE_S = 1.3  # for the last commit and the health after it
RECEIVE_MAXIMUM = 1000  # the daemon's default
DAEMON = "daemon"
BASELINE = "decode"
CONFIGURATION = """\
[gateway]
id = "{gateway}"
state_dir = "{folder}/state"
[mqtt]
host = "{host}"
port = {port}
receive_maximum = {window}
[[source]]
topic = "{root}/daemon/{{asset}}"
[[model]]
bundle = "{bundle}"
[publish]
health_interval_s = 1
[limits]
max_assets = 100000
[log]
format = "json"
"""


class Turn(NamedTuple):
    """What one subscriber needed for one burst, seconds."""

    clock_s: float
    cpu_s: float


class Bench:
    """The processes of one measurement; a context manager.

    Parameters
    ----------
    address : the broker.
    path, bundle : the bundle's file, and what is in it.
    folder : for configuration and state.
    assets : that messages come from.
    peers : whether the other subscribers run too; `measure` needs them.
    """

    def __init__(
        self,
        *,
        address: Address,
        path: Path,
        bundle: Bundle,
        folder: Path,
        assets: int = ASSETS,
        peers: bool = True,
    ) -> None:
        # Nothing retained or kept for one measurement may answer for another.
        self._root = f"offbeat-bench-{os.getpid()}-{bundle.manifest.model.stride}-{assets}"
        folder = folder / self._root
        folder.mkdir()
        self._bundle = bundle
        self._assets = assets
        self._peers = KINDS if peers else ()
        self._signal = Signal(bundle)
        self._step = 0
        self._sent = self._ends = 0  # to the daemon
        self._pids: dict[str, int] = {}
        self._address = address
        self._config = folder / "bench.toml"
        self._config.write_text(
            CONFIGURATION.format(
                gateway=self._root,
                root=self._root,
                folder=folder,
                host=address.host,
                port=address.port,
                window=RECEIVE_MAXIMUM,
                bundle=path.absolute(),
            )
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start everything and warm it up."""
        with ExitStack() as stack:
            self._ear = _Ear(self._address, self._root)
            stack.callback(self._ear.close)
            self._publisher = Publisher(*self._address)
            stack.callback(self._publisher.close)
            for kind in self._peers:
                self._start(stack, kind, "offbeat_edge.bench.peer", kind, *self._peer_words())
                self._ear.wait(f"{self._root}/done/{kind}")
            config = str(self._config)
            self._start(stack, DAEMON, "offbeat_edge.cli", "run", "--config", config)
            self._ear.wait(f"offbeat/{self._root}/status")
            self._warm_up()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End every process."""
        self._stack.close()

    def measure(self, *, qos: int, turns: int) -> Wire:
        """Send each subscriber the same messages, in turns."""
        stride = self._bundle.manifest.model.stride
        steps = -(-MESSAGES // (self._assets * stride)) * stride
        taken: dict[str, list[Turn]] = {kind: [] for kind in (*KINDS, DAEMON)}
        for _ in range(turns):
            payloads = self._payloads(steps)
            for kind, figures in taken.items():
                figures.append(self._turn(kind, payloads, qos=qos))
        return Wire(
            broker=f"{self._address.host}:{self._address.port}",
            qos=qos,
            messages=steps * self._assets,
            payload_bytes=len(self._signal.payload(0)),
            assets=self._assets,
            stride=stride,
            lost=self._sent - self._taken(),
            daemon_bytes=self.resident(),
            subjects=_subjects(taken, steps * self._assets),
        )

    def resident(self) -> int:
        """Return the daemon's resident bytes."""
        return resident(self._pids[DAEMON])

    def feed(self, steps: int) -> Turn:
        """Send the daemon that many messages of each asset; return what it needed."""
        return self._turn(DAEMON, self._payloads(steps), qos=0)

    def _peer_words(self) -> tuple[str, ...]:
        return (self._address.host, str(self._address.port), self._root, str(RECEIVE_MAXIMUM))

    def _start(self, stack: ExitStack, kind: str, module: str, *words: str) -> None:
        command = (sys.executable, "-P", "-m", module, *words)
        process = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own modules
        )
        stack.callback(process.kill)
        self._pids[kind] = process.pid

    def _warm_up(self) -> None:
        """Fill every window, and let everything be prepared that is prepared once."""
        model = self._bundle.manifest.model
        steps = (model.window // model.stride + 2) * model.stride
        part = max(1, BURST // self._assets)
        for first in range(0, steps, part):
            payloads = self._payloads(min(part, steps - first))
            for kind in (*self._peers, DAEMON):
                self._turn(kind, payloads, qos=1)

    def _payloads(self, steps: int) -> list[bytes]:
        first, self._step = self._step, self._step + steps
        return [self._signal.payload(step) for step in range(first, self._step)]

    def _turn(self, kind: str, payloads: Sequence[bytes], *, qos: int) -> Turn:
        """Send a burst to one subscriber and wait until it has taken it."""
        topics = [f"{self._root}/{kind}/{name_of(n)}" for n in range(self._assets)]
        messages = [(topic, payload) for payload in payloads for topic in topics]
        last, answer = self._last(kind, payloads[-1])
        messages.append(last)
        burst = self._publisher.burst(messages, qos=qos)
        self._sent += len(messages) if kind == DAEMON else 0
        cpu, started = cpu_seconds(self._pids[kind]), time.perf_counter()
        self._publisher.send(burst, acknowledgements=len(messages) if qos else 0)
        self._ear.wait(answer)
        return Turn(time.perf_counter() - started, cpu_seconds(self._pids[kind]) - cpu)

    def _last(self, kind: str, payload: bytes) -> tuple[tuple[str, bytes], str]:
        """Return the message that ends a burst, and the topic it is answered on.

        The daemon tells the state of an asset it never heard of.
        """
        if kind != DAEMON:
            return (f"{self._root}/{kind}/end", END), f"{self._root}/done/{kind}"
        self._ends += 1
        asset = f"end-{self._ends}"
        return (f"{self._root}/{kind}/{asset}", payload), _state(self._root, asset)

    def _taken(self) -> int:
        """Return how many messages the daemon says it has taken."""
        time.sleep(SETTLE_S)
        self._ear.forget()
        health = json.loads(self._ear.wait(f"offbeat/{self._root}/health"))
        return int(health["counters"]["messages"])


class _Ear:
    """Hears the answers."""

    def __init__(self, address: Address, root: str) -> None:
        self._heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        granted: queue.Queue[None] = queue.Queue()
        client = self._client = Client(CallbackAPIVersion.VERSION2)
        client.on_subscribe = lambda *_: granted.put(None)
        client.on_message = self._message
        try:
            client.connect(*address)
        except OSError as error:
            raise LinkError(f"bench: {address.host}:{address.port}: {error}") from error
        client.subscribe([(f"{root}/done/+", 1), *_told(root)])
        client.loop_start()
        try:
            granted.get(timeout=ANSWER_S)
        except queue.Empty:
            raise LinkError(f"bench: {address.host}: expected to be let in, got silence") from None

    def wait(self, topic: str) -> bytes:
        """Return what comes on a topic; what came on others before it is forgotten."""
        deadline = time.monotonic() + ANSWER_S
        while (patience := deadline - time.monotonic()) > 0:
            try:
                heard, payload = self._heard.get(timeout=patience)
            except queue.Empty:
                break
            if heard == topic:
                return payload
        raise LinkError(f"bench: expected a message on {topic} within {ANSWER_S:.0f} s, got none")

    def forget(self) -> None:
        """Drop what was heard so far."""
        while not self._heard.empty():
            self._heard.get()

    def close(self) -> None:
        """Hang up."""
        self._client.disconnect()
        self._client.loop_stop()

    def _message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._heard.put((message.topic, bytes(message.payload)))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used, to the nanosecond (Linux)."""
    return time.clock_gettime(~pid << 3 | 2)


def _told(root: str) -> list[tuple[str, int]]:
    below = ("status", "health", "asset/+/state")
    return [(f"offbeat/{root}/{name}", 1) for name in below]


def _state(root: str, asset: str) -> str:
    return f"offbeat/{root}/asset/{asset}/state"


def _subjects(taken: dict[str, list[Turn]], messages: int) -> dict[str, Subject]:
    def subject(turns: list[Turn]) -> Subject:
        base = taken[BASELINE]
        return Subject(
            per_second=spread([messages / turn.clock_s for turn in turns]),
            cpu_us=spread([1e6 * turn.cpu_s / messages for turn in turns]),
            ratio=ratios([turn.cpu_s for turn in base], [turn.cpu_s for turn in turns]),
            wall_ratio=ratios([turn.clock_s for turn in base], [turn.clock_s for turn in turns]),
        )

    return {kind: subject(turns) for kind, turns in taken.items()}
