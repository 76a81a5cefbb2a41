"""A recording played through a broker to a daemon while things break.

Every choice comes from one seed, which is printed.  The daemon reaches the
broker through a wire and a proxy; player and listener are beside it.  What
must be equal in the end depends on what happened (``troubles.FAULTS``): all
alert events of an undisturbed run; those of the replay of what was delivered,
where the broker lost some; those of a later start, where the state was lost.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Self

import clocks
from ledger import Ledger
from rig import (
    START_MS,
    WAIT_S,
    Daemon,
    Listener,
    Player,
    Reading,
    Site,
    differences,
    recording,
)
from tap import Tap
from troubles import DISTURBED, FAULTS, Promise
from wire import choose

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from rig import Mosquitto

LATENESS_S = 3
# Of event time after a loss of state: a window, the lateness, the holds (20 s), and
# the nine stretches of 4 s that the tiny bundle's threshold remembers.
SETTLED_MS = 60_000
CHUNK = (20, 70)  # readings between two faults
BREATH_S = (0.0, 0.5)  # between a chunk and the fault that meets it


class Run:
    """One play.

    Parameters
    ----------
    folder, broker : where, and through what. seed : decides everything.
    prelude : code that makes a mutant of the daemon.
    clock : start the daemon under libfaketime, so that its clock can be set.
    """

    def __init__(
        self,
        folder: Path,
        broker: Mosquitto,
        *,
        seed: int,
        protocol: str = "auto",
        prelude: str = "",
        seconds: int = 400,
        faults: int = 12,
        clock: bool = False,
    ) -> None:
        self.chance = random.Random(seed)
        self.told: list[str] = []
        self.lost_ms: list[int] = []  # event times at which the state was lost
        self.broker = broker
        self.tap = Tap()
        self.wire = choose(broker.port, self.tap)
        print(f"seed {seed}, wire {self.wire.kind}")  # noqa: T201 - what pytest shows of a failure
        self.proxy = self.wire.proxy
        self.site = Site(
            folder, self.proxy.port, protocol=protocol, lateness_s=LATENESS_S, host=self.wire.host
        )  # fmt: skip
        self.clock = clocks.Clock(folder) if clock else None
        self.readings = recording(seed=seed, seconds=seconds, faults=faults, sensor_faults=4)
        self.expected = self.site.replay(self.readings)
        self.ledger = Ledger(folder)
        self.listener = Listener(broker.port)
        self.player = Player(broker.port)
        first = clocks.PRELUDE if clock else ""
        self.daemon = Daemon(
            self.site, prelude=first + self.ledger.prelude + prelude, wrapper=self.wire.wrapper,
            environ=self.clock.environ if self.clock else None,
        )  # fmt: skip
        self.daemon.start().ready()
        self.listener.wait_subscribed()

    def __enter__(self) -> Self:  # noqa: D105
        return self

    def __exit__(self, *_: object) -> None:  # noqa: D105
        if self.daemon.alive:
            self.daemon.kill()
        self.player.close()
        self.listener.close()
        self.wire.close()

    def play(self, kinds: tuple[str, ...], *, start: int = 0, until: int | None = None) -> None:
        """Play the recording or a part of it; a fault of one of the kinds meets each chunk."""
        stream = self._disturbed() if set(kinds) & set(DISTURBED) else list(self.readings)
        stream = stream[:until]
        breaking = [kind for kind in kinds if kind not in DISTURBED]
        at = start
        while at < len(stream):
            size = self.chance.randint(*CHUNK)
            self.player.play(stream[at : at + size])
            at += size
            self.played_ms = START_MS + min(at, len(self.readings)) // 2 * 1000
            time.sleep(self.chance.uniform(*BREATH_S))
            if breaking:
                kind = self.chance.choice(breaking)
                self.told.append(kind)
                FAULTS[kind].act(self)

    def verdict(self, *, patience_s: float = WAIT_S) -> str:
        """Wait until the daemon is done; say how the alerts differ, or nothing."""
        promises = {FAULTS[kind].promise for kind in self.told}
        if Promise.AFTER in promises:
            return self._verdict_after(patience_s)
        if Promise.DELIVERED in promises:
            return self._verdict_delivered(patience_s)
        return self._settled(self.listener.alerts, {e.id for e in self.expected}, patience_s)

    def _verdict_delivered(self, patience_s: float) -> str:
        """Equal to the replay of what the daemon made durable: the broker lost the rest."""
        self._drained(patience_s)
        want = {event.id for event in self.site.told(self.ledger.samples())}
        return self._settled(self.tap.published, want, patience_s)

    def _drained(self, patience_s: float) -> None:
        """Wait until nothing more is committed, or the time is over."""
        deadline, before = time.monotonic() + patience_s, -1
        while len(now := self.ledger.samples()) != before and time.monotonic() < deadline:
            before = len(now)
            time.sleep(2.5)

    def _verdict_after(self, patience_s: float) -> str:
        """Equal from a while after each loss of state; what waited in the state may be missing."""
        sure = [e for e in self.expected if e.start_ms > max(self.lost_ms) + SETTLED_MS]
        deadline = time.monotonic() + patience_s
        while {e.id for e in sure} - self.tap.published and time.monotonic() < deadline:
            time.sleep(0.1)
        missing = [e for e in sure if e.id not in self.tap.published]
        if not missing:
            return ""
        which = ", ".join(f"{e.kind} {e.type} {e.id} from {e.start}" for e in missing[:4])
        of = {e.alert for e in missing}
        told = sorted(i for i in self.tap.published if i.partition("/")[0] in of)
        lost = max(self.lost_ms) - START_MS
        return f"{len(missing)} missing of {len(sure)}: {which}; told {told}; lost at {lost} ms"

    def _settled(self, got: Collection[str], want: set[str], patience_s: float) -> str:
        deadline = time.monotonic() + patience_s
        while want - set(got) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not want - set(got):
            time.sleep(1.5)  # what should not come would come now
        difference = differences(got, want)
        return difference and f"{difference}; {self._condition()}"

    def _condition(self) -> str:
        """Say what the daemon says of itself, for whoever looks for the cause."""
        words = [e for e in self.daemon.events if e["level"] in ("warning", "error")]
        return f"degraded {self.listener.health().get('degraded')}, log {words[-4:]}"

    def _disturbed(self) -> list[Reading]:
        """Displace readings within the lateness, repeat some, and add a visitor from 2099."""
        stream = []
        for n, reading in enumerate(self.readings):
            second = n // 2  # two assets
            stream.append((second + self.chance.uniform(0, LATENESS_S - 0.01), reading))
            if self.chance.random() < 0.1:
                stream.append((second + self.chance.uniform(0, 20), reading))
        far = b'{"ts": %d, "flow": 10.0, "heat": 20.0}' % (START_MS + 73 * 31_557_600_000)
        stream.append((self.chance.uniform(30, 60), Reading("plant/p0", far)))
        return [reading for _, reading in sorted(stream, key=lambda pair: pair[0])]
