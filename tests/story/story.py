"""The story of a fleet: it drifts, is taught, is attacked with a bad model, and stays well.

    python tests/story/story.py [--kills SEED] [--folder DIR]

Three simulated pumps, a gateway each, a recorder, a real Mosquitto, the commands
that people use.  Every chapter ends with what must hold; --kills sends SIGKILL to
gateways, recorder and jobs at random moments, and the story must end the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

from parts import DAY_MS, GATEWAYS, LONG_S, SENSORS, Butcher, Fleet, between, day
from retrain_parts import drifted, plant_rows, poisoned
from rig import wait_for

from offbeat_broker.faults import Fault
from offbeat_edge import bundle as bundles
from offbeat_train.retrain.due import at_least
from offbeat_train.rollout.job import load, path_of

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

    from parts import Rows

FIRST, DRIFT, ROLLOUT, AFTER, POISON, FORCED, END = 6, 7, 12, 15, 17, 22, 28
PUMPS = 3
BUDGET_A_WEEK = 6.0  # false alarms of one pump, stated at the first fit
MUCH = 0.03  # of the time in alarm: several times a calm day; thresholds follow a drift
LITTLE = 0.02  # of the time in alarm: what a good model may cost
CHANCE = 0.05  # that so many false alarms come where the budget is kept
HOURS = 1 / 24
LOOK_S = 1.0  # between two looks of the job that rolls out
POLICY = """
[canary]
gateways = ["gw1"]
[[ring]]
gateways = ["gw2"]
[gates]
min_windows = 60
min_asset_days = 0.1
calm_agreement = 0.3
loud_agreement = {loud}
alerts_per_day = {budget}
alert_ratio = {ratio}
patience_s = 600.0
[probation]
window_s = 21600.0
alerts_per_day = {budget}
alert_ratio = 20.0
"""


class Story:
    """One telling."""

    def __init__(self, folder: Path, kills: int | None) -> None:
        self.fleet = Fleet(folder)
        self.ear = self.fleet.ear
        self.kills = kills
        self.job_deaths = 0
        plain = plant_rows(pumps=PUMPS, days=END, faults=list(faults()))
        self.rows: Rows = drifted(plain, DRIFT)
        self.bad: Rows = poisoned(self.rows, POISON)

    def tell(self) -> None:
        self.first_model()
        butcher = Butcher(self.kills, self.fleet.victims()) if self.kills is not None else None
        if butcher:
            butcher.start()
        try:
            self.calm()
            self.drift()
            self.challenger()
            self.rollout()
            self.better()
            self.poison()
            self.forced()
        finally:
            if butcher:
                butcher.rest()
                say(f"killed on the way: {len(butcher.killed)} processes, {self.job_deaths} jobs")

    def first_model(self) -> None:
        self.fleet.play(between(self.rows, 0, FIRST))
        out = self.retrain("--period", "60s", "--window", "16", "--units", "16", "--epochs", "12",
                           "--budget", str(BUDGET_A_WEEK))  # fmt: skip
        self.first = self.champion()
        self.fleet.command("keys", "init", str(self.fleet.repository),
                           "--passphrase-file", str(self.fleet.passphrase))  # fmt: skip
        bundle = self.fleet.registry / "pump" / self.champion_version() / "bundle.offbeat"
        self.fleet.command("publish", str(bundle), *self.fleet.signing)
        self.fleet.open(bundle)
        say(f"first model {self.first[:12]}: {last(out)}")

    def calm(self) -> None:
        self.fleet.play(between(self.rows, FIRST, DRIFT))
        self.count("a calm day", FIRST, DRIFT)

    def drift(self) -> None:
        self.fleet.play(between(self.rows, DRIFT, ROLLOUT))
        _, loud = self.count("the process has drifted", DRIFT, ROLLOUT)
        assert loud > MUCH, "no false alarms to speak of: nothing to learn"
        self.forgive(DRIFT, ROLLOUT)

    def challenger(self) -> None:
        out = self.retrain()
        self.second = self.champion()
        assert self.second != self.first, out
        say(f"the challenger wins: {self.second[:12]}: {last(out)}")

    def rollout(self) -> None:
        code = self.roll_out(self.champion_version(), ROLLOUT, AFTER, loud=0.0)
        assert code == 0, "the rollout was halted"
        self.wait_running(self.second)
        say("shadow, canary, ring, everybody: the second model runs everywhere")

    def better(self) -> None:
        self.fleet.play(between(self.rows, AFTER, POISON))
        hits = [self.caught(fault) for fault in faults()]
        calm, loud = self.count("after the rollout", AFTER, POISON, beside=list(faults()))
        assert all(hits), f"faults caught: {hits}"
        # Two days of three pumps are less than a week: a model that keeps its word
        # may have some more there, by chance, than its word says.
        weeks = PUMPS * (POISON - AFTER) / 7
        chance = at_least(round(calm * weeks), BUDGET_A_WEEK * weeks)
        assert chance > CHANCE, f"{calm:.1f} false alarms a week and pump"
        assert loud < LITTLE, f"in alarm for {loud:.0%} of the time"
        say(f"{len(hits)} of {len(hits)} injected faults are caught")

    def poison(self) -> None:
        self.fleet.play(between(self.bad, POISON, FORCED))
        self.count("a flow meter is loose, and people say it is nothing", POISON, FORCED)
        self.forgive(POISON, FORCED)
        out = self.retrain("--force", ok=(0, 1))
        assert self.champion() == self.second, f"a poisoned challenger was promoted: {out}"
        say(f"the gate keeps the poisoned challenger out: {last(out)}")

    def forced(self) -> None:
        versions = sorted(p.parent.name for p in self.fleet.registry.glob("pump/*/bundle.offbeat"))
        self.third = versions[-1]
        code = self.roll_out(self.third, FORCED, END, loud=0.6, rows=self.bad)
        assert code == 1, "a model forced past the gate went to everybody"
        self.wait_running(self.second)
        told = self.fleet.command("rollout", "status", "pump", "--repository",
                                  str(self.fleet.repository), ok=(1,))  # fmt: skip
        say(f"forced past the gate it is stopped on the canary: {told.splitlines()[-3].strip()}")

    # -- what people and jobs do

    def retrain(self, *more: str, ok: tuple[int, ...] = (0,)) -> str:
        words = ("retrain", "--lake", str(self.fleet.lake), "--registry", str(self.fleet.registry),
                 "--model", "pump", "--asset", "pump*", *more)  # fmt: skip
        if self.kills is not None:
            doomed = self.fleet.start(*words)
            time.sleep(8.0 + self.kills % 7)
            doomed.kill()
            doomed.communicate()
            self.job_deaths += 1
        return self.fleet.command(*words, ok=ok)

    def roll_out(
        self, version: str, first: float, last: float, *, loud: float, rows: Rows | None = None
    ) -> int:
        """Roll out while the plant goes on; return the job's exit code."""
        policy = self.fleet.folder / f"policy-{version}.toml"
        budget = BUDGET_A_WEEK / 7
        policy.write_text(POLICY.format(loud=loud, budget=budget, ratio=10.0))
        bundle = self.fleet.registry / "pump" / version / "bundle.offbeat"
        words = ("rollout", "start", "pump", "--bundle", str(bundle), "--policy", str(policy),
                 "--every", f"{LOOK_S:g}", *self.fleet.signing)  # fmt: skip
        job = self.fleet.start(*words)
        at, step = float(first), 3 * HOURS
        while job.poll() is None and at < last:
            self.wait_told(job)
            self.fleet.play(between(rows or self.rows, at, at + step))
            self.wait_reported(job)
            at += step
            if self.kills is not None and self.job_deaths < 4 and job.poll() is None:
                job.kill()
                job.communicate()
                self.job_deaths += 1
                job = self.fleet.start(*words)
        return self.ended(job)

    def wait_told(self, job: subprocess.Popen[str]) -> None:
        """Wait until the gateways act on what the job has published last."""

        def told() -> bool:
            path = path_of(self.fleet.repository, "pump")
            version = load(self.fleet.repository, "pump").version if path.exists() else 0
            reports = [self.ear.report(gateway) for gateway in GATEWAYS]
            return version > 0 and all(r.get("document", 0) >= version for r in reports)

        self.wait(job, told, "gateways to be told")

    def wait_reported(self, job: subprocess.Popen[str]) -> None:
        """Wait until the job knows what came of these rows: they would run out while it waits.

        Gateways report at once what changed, and once a minute what they only counted.
        """
        now_ms = time.time() * 1000.0

        def reported() -> bool:
            reports = [self.ear.report(gateway) for gateway in GATEWAYS]
            return all(r.get("time_ms", 0) > now_ms for r in reports)

        self.wait(job, reported, "gateways to report")
        time.sleep(2.0 * LOOK_S)

    def wait(self, job: subprocess.Popen[str], done: Callable[[], bool], what: str) -> None:
        """Wait until something is done or the job is over, as long as no process ends by itself."""

        def over() -> bool:
            if self.kills is None:
                self.fleet.check()
            return done() or job.poll() is not None

        wait_for(over, what, timeout_s=LONG_S)

    def ended(self, job: subprocess.Popen[str]) -> int:
        out, _ = job.communicate(timeout=LONG_S)
        for line in out.splitlines():
            print(f"    {line}")
        return job.returncode

    def forgive(self, first: float, last: float) -> None:
        """Say of every alert of some days that it was nothing."""
        for kind in ("anomaly", "sensor_fault"):
            for alert in self.ear.new(kind, day(first), day(last)):
                self.ear.say(
                    f"offbeat/fleet/feedback/{alert['asset']}",
                    {"schema": "1.0", "id": f"f-{alert['alert']}", "alert": alert["alert"],
                     "asset": alert["asset"], "verdict": "false_alarm",
                     "start_ms": alert["start_ms"], "end_ms": self.until(alert, last),
                     "by": "story", "note": "", "time_ms": day(last)},
                )  # fmt: skip
        time.sleep(4.0)

    # -- what is seen

    def champion_version(self) -> str:
        return (self.fleet.registry / "pump" / "champion").read_text().strip()

    def champion(self) -> str:
        path = self.fleet.registry / "pump" / self.champion_version() / "bundle.offbeat"
        return bundles.load(path).digest

    def wait_running(self, digest: str) -> None:
        for gateway in GATEWAYS:
            wait_for(lambda g=gateway: self.ear.running(g) == digest,  # type: ignore[misc]
                     f"{gateway} to run {digest[:12]}", timeout_s=LONG_S)  # fmt: skip

    def count(
        self, told: str, first: float, last: float, beside: Sequence[Fault] = ()
    ) -> tuple[float, float]:
        """Return false alarms a week and pump, and the share of time in false alarm."""
        alerts = self.ear.new("anomaly", day(first), day(last))
        false = [a for a in alerts if not any(near(a, fault) for fault in beside)]
        pump_days = len(GATEWAYS) * (last - first)
        weekly = len(false) / pump_days * 7
        share = sum(self.until(a, last) - a["start_ms"] for a in false) / (pump_days * DAY_MS)
        say(f"{told}: {len(false)} false alarms, {weekly:.1f} a week and pump, "
            f"{share:.0%} of the time")  # fmt: skip
        return weekly, share

    def until(self, alert: dict[str, Any], last: float) -> int:
        """Return when an alert ended, or the end of the chapter."""
        ends = [e["end_ms"] for e in self.ear.alerts.values()
                if e["alert"] == alert["alert"] and e["type"] == "end"]  # fmt: skip
        return int(min([*ends, day(last)]))

    def caught(self, fault: Fault) -> bool:
        alerts = self.ear.new("anomaly", day(AFTER), day(POISON))
        alerts += self.ear.new("sensor_fault", day(AFTER), day(POISON))
        return any(near(alert, fault) for alert in alerts)


def faults() -> list[Fault]:
    """Return one fault of each pump in the days after the rollout."""
    begin = day(AFTER + 0.5)
    return [
        Fault(asset=f"pump{n}", kind=kind, start_ms=begin + n * 14_400_000,
              end_ms=begin + n * 14_400_000 + 10_800_000, magnitude=5.0, sensor=sensor)
        for n, (kind, sensor) in enumerate(
            [("leak", None), ("clogging", None), ("sensor_drift", SENSORS[2])], start=1
        )
    ]  # fmt: skip


def near(alert: dict[str, Any], fault: Fault) -> bool:
    """Tell whether an alert is of this fault: begun in it or in the window after, to a stride."""
    early, late = fault.start_ms - 2 * 60_000, fault.end_ms + 16 * 60_000
    return bool(alert["asset"] == fault.asset and early < alert["start_ms"] < late)


def last(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else ""


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, metavar="SEED")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        story = Story(args.folder or Path(scratch), args.kills)
        told = False
        try:
            story.tell()
            told = True
        finally:
            if not told:
                story.fleet.autopsy()
            story.fleet.close()
    say("the end: as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
