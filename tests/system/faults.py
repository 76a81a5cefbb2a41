"""A recording played through a broker to a daemon while things break.

Every choice comes from one seed, which is printed.  The daemon reaches the
broker through a proxy; player and listener are beside it.  After the last
fault the alert events must equal those of an undisturbed run.
"""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING, Self

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from proxy import Proxy
from rig import (
    START_MS,
    WAIT_S,
    Daemon,
    Listener,
    Mosquitto,
    Player,
    Reading,
    Site,
    differences,
    recording,
    wait_for,
)

if TYPE_CHECKING:
    from pathlib import Path

LATENESS_S = 3
CHUNK = (20, 70)  # readings between two faults
BREATH_S = (0.0, 0.5)  # between a chunk and the fault that meets it
CLIENT_ID = "offbeat-gw1"
BREAKING = (
    "kill_daemon",
    "stop_daemon",
    "kill_daemon_twice",
    "freeze_daemon",
    "restart_broker",
    "cut",
    "partition",
    "delay",
    "steal_session",
)
DISTURBED = ("duplicates", "reordered", "from_2099")


class Run:
    """One play.

    Parameters
    ----------
    folder, broker : where, and through what. seed : decides everything.
    prelude : code that makes a mutant of the daemon.
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
    ) -> None:
        print(f"seed {seed}")  # noqa: T201 - what pytest shows of a failure
        self.chance = random.Random(seed)
        self.told: list[str] = []
        self._broker = broker
        self._proxy = Proxy(broker.port)
        self.site = Site(
            folder, self._proxy.port, protocol=protocol, lateness_s=LATENESS_S
        )  # fmt: skip
        self.readings = recording(seed=seed, seconds=seconds, faults=faults)
        self.expected = self.site.replay(self.readings)
        self.listener = Listener(broker.port)
        self.player = Player(broker.port)
        self.daemon = Daemon(self.site, prelude=prelude).start().ready()

    def __enter__(self) -> Self:  # noqa: D105
        return self

    def __exit__(self, *_: object) -> None:  # noqa: D105
        if self.daemon.alive:
            self.daemon.kill()
        self.player.close()
        self.listener.close()
        self._proxy.close()

    def play(self, kinds: tuple[str, ...]) -> None:
        """Play the whole recording; a fault of one of the kinds meets each chunk."""
        stream = self._disturbed() if set(kinds) & set(DISTURBED) else list(self.readings)
        breaking = [kind for kind in kinds if kind not in DISTURBED]
        at = 0
        while at < len(stream):
            size = self.chance.randint(*CHUNK)
            self.player.play(stream[at : at + size])
            at += size
            time.sleep(self.chance.uniform(*BREATH_S))
            if breaking:
                kind = self.chance.choice(breaking)
                self.told.append(kind)
                getattr(self, f"_{kind}")()

    def verdict(self, *, patience_s: float = WAIT_S) -> str:
        """Wait until the daemon is done; say how the alerts differ, or nothing."""
        try:
            self.listener.wait_alerts((e.id for e in self.expected), timeout_s=patience_s)
        except AssertionError:
            pass  # the difference says it better
        else:
            time.sleep(1.5)  # what should not come would come now
        return differences(self.listener.alerts, self.expected)

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

    # -- what may happen

    def _kill_daemon(self) -> None:
        self.daemon.kill()
        self.daemon.start().ready()

    def _stop_daemon(self) -> None:
        code = self.daemon.stop()
        assert code == 0, f"exit code {code} after {self.told}: {self.daemon.errors()}"
        self.daemon.start().ready()

    def _kill_daemon_twice(self) -> None:
        self.daemon.kill()
        self.daemon.start()
        time.sleep(self.chance.uniform(0.2, 2.0))  # in the middle of its recovery, perhaps
        self._kill_daemon()

    def _freeze_daemon(self) -> None:
        self.daemon.signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.1, 2.0))
        self.daemon.signal(signal.SIGCONT)

    def _restart_broker(self) -> None:
        self._broker.stop()
        time.sleep(self.chance.uniform(0.0, 0.5))
        self._broker.start()

    def _cut(self) -> None:
        self._proxy.cut()

    def _partition(self) -> None:
        self._proxy.held = True
        time.sleep(self.chance.uniform(0.5, 3.0))
        self._proxy.held = False

    def _delay(self) -> None:
        self._proxy.delay_s = self.chance.uniform(0.0, 0.05)

    def _steal_session(self) -> None:
        """Another client takes our id, and with it what is on its way, without acknowledging."""
        thief = Client(
            CallbackAPIVersion.VERSION2, client_id=CLIENT_ID, clean_session=False, manual_ack=True
        )
        thief.connect("127.0.0.1", self._broker.port)
        thief.loop_start()
        wait_for(thief.is_connected, "the thief to be in", timeout_s=WAIT_S)
        time.sleep(0.2)
        thief.disconnect()
        thief.loop_stop()
