"""A week of traffic at speed: ``python tests/system/long_run.py --days 7``.

Samples with times of their own go through a real Mosquitto into a daemon, as
fast as it takes them, while the connection is cut now and then.  Memory,
threads, descriptors, disk and flash written are sampled; after a quarter of
the time they must be flat, within the bounds below, and the alerts those of
replay.  Prints a table, and exits with 1 when something grew or differs.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "integration")]

from proxy import Proxy  # noqa: E402 - not a package: found by the line above
from rig import (  # noqa: E402
    START_MS,
    Daemon,
    Listener,
    Mosquitto,
    Player,
    Reading,
    Site,
    closing,
    differences,
    make_bundle,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP_S = 5  # between the samples of an asset
HOUR_S = 3600
BUMP_EVERY_S = 7200  # an anomaly of each asset
WILD_EVERY_S = 6 * HOUR_S  # a sensor beyond all plausibility
CUT_EVERY_S = 3 * HOUR_S
BACKLOG = 5000  # messages that may wait at the broker
PATIENCE_S = 300.0  # for a backlog to be taken
# Without it Mosquitto writes its whole queue at every message.
UNSAVED = "autosave_on_changes false"

GROWTH_MB = 6.0  # resident, from the first quarter to the end
GROWTH_THREADS = 0
GROWTH_DESCRIPTORS = 3  # a socket more while it reconnects
DISK_MB = 16.0  # state folder: snapshot, at most 1 MiB of journal, the log of 4 MB, control log


class Use(NamedTuple):
    """What the daemon uses at a moment."""

    hours: float  # of simulated time
    resident_mb: float
    threads: int
    descriptors: int
    disk_mb: float
    written_mb: float
    messages: int
    alerts: int


def traffic(*, seed: int, hours: float, assets: int) -> Iterator[Reading]:
    """Yield the readings of all assets in the order of their times."""
    chance = random.Random(seed)
    for second in range(0, int(hours * HOUR_S), STEP_S):
        for n in range(assets):
            phase = second + n * 700
            bump = 8.0 if phase % BUMP_EVERY_S < 4 * STEP_S else 0.0
            wild = 900.0 if phase % WILD_EVERY_S < 5 * STEP_S else 0.0
            values = {
                "ts": START_MS + second * 1000,
                "flow": round(10.0 + chance.gauss(0, 0.1) + bump, 3),
                "heat": round(20.0 + chance.gauss(0, 0.1) + wild, 3),
            }
            yield Reading(f"plant/p{n}", json.dumps(values).encode())


class Week:
    """One long run."""

    def __init__(self, folder: Path, *, hours: float, assets: int, seed: int) -> None:
        self.uses: list[Use] = []
        self._hours, self._assets, self._seed = hours, assets, seed
        make_bundle(folder / "tiny.offbeat", period_ms=STEP_S * 1000)
        self._broker = Mosquitto(folder / "broker", extra=UNSAVED).start()
        self._proxy = Proxy(self._broker.port)
        self.site = Site(folder, self._proxy.port)
        self._listener, self._player = Listener(self._broker.port), Player(self._broker.port)
        self._daemon = Daemon(self.site)

    def run(self, samples: int) -> str:
        """Play it all, looking so many times; say what differs from replay, or nothing."""
        with closing(self._player, self._listener, self._daemon, self._broker):
            self._daemon.start().ready()
            self._listener.wait_subscribed()
            self._play(samples)
            expected = self.site.replay(self._traffic())
            self._listener.wait_alerts((event.id for event in expected), timeout_s=PATIENCE_S)
            time.sleep(1.5)  # what should not come would come now
            return differences(self._listener.alerts, expected)

    def _traffic(self) -> Iterator[Reading]:
        return traffic(seed=self._seed, hours=self._hours, assets=self._assets)

    def _play(self, samples: int) -> None:
        hour = HOUR_S // STEP_S * self._assets
        part = max(1, min(hour // 2, int(hour * self._hours) // samples))
        every = max(1, int(hour * self._hours) // part // samples)
        batch: list[Reading] = []
        sent = turn = 0
        for reading in self._traffic():
            batch.append(reading)
            if len(batch) < part:
                continue
            self._player.play(batch)
            sent, turn, batch = sent + len(batch), turn + 1, []
            self._wait_for(sent - BACKLOG)
            if turn * part % (CUT_EVERY_S // STEP_S * self._assets) < part:
                self._proxy.cut()
            if turn % every == 0:
                self._wait_for(sent)
                self.uses.append(self._use(sent / hour))
        self._player.play(batch)
        self._wait_for(sent + len(batch))
        self.uses.append(self._use(self._hours))

    def _wait_for(self, count: int) -> None:
        wait_for(lambda: self._taken() >= count, f"{count} messages", timeout_s=PATIENCE_S)

    def _taken(self) -> int:
        return int(self._listener.health().get("counters", {}).get("messages", 0))

    def _use(self, hours: float) -> Use:
        proc = Path(f"/proc/{self._daemon.pid}")
        status = dict(
            line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line
        )
        written = dict(line.split(": ") for line in (proc / "io").read_text().splitlines())
        disk = sum(p.stat().st_size for p in self.site.state.parent.rglob("*") if p.is_file())
        return Use(
            round(hours, 2), round(int(status["VmRSS"].split()[0]) / 1000, 1),
            int(status["Threads"]), len(list((proc / "fd").iterdir())), round(disk / 1e6, 2),
            round(int(written["write_bytes"]) / 1e6, 1), self._taken(), len(self._listener.alerts),
        )  # fmt: skip


def grown(uses: list[Use]) -> list[str]:
    """Say what grew after the first quarter, beyond the bounds."""
    early = uses[: max(1, len(uses) // 4)]
    late = uses[len(early) :]
    found = []
    for name, bound in (
        ("resident_mb", GROWTH_MB),
        ("threads", GROWTH_THREADS),
        ("descriptors", GROWTH_DESCRIPTORS),
    ):
        growth = max(getattr(use, name) for use in late) - max(getattr(use, name) for use in early)
        if growth > bound:
            found.append(f"{name}: {growth:g} more after the first quarter, expected {bound:g}")
    most = max(use.disk_mb for use in uses)
    return found + ([f"disk: {most:g} MB, expected {DISK_MB:g}"] if most > DISK_MB else [])


def main() -> int:
    """Run; return 1 when something grew or differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--assets", type=int, default=4)
    parser.add_argument("--samples", type=int, default=28, help="looks at what is used")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        week = Week(Path(folder), hours=args.days * 24, assets=args.assets, seed=args.seed)
        difference = week.run(args.samples)
    sys.stdout.write(" ".join(f"{name:>12}" for name in Use._fields) + "\n")
    for use in week.uses:
        sys.stdout.write(" ".join(f"{value:>12}" for value in use) + "\n")
    problems = [*grown(week.uses), *([difference] if difference else [])]
    took = round(time.monotonic() - started)
    sys.stdout.write(f"{took} s; {'; '.join(problems) or 'flat, and alerts as replayed'}\n")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
