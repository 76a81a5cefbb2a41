"""The whole loop in one go: history → fit → broker → daemon → faults → alerts.

Rules: the commands a user would type are run as they stand; everything is
simulated from one seed; event time runs ``SPEED_UP`` times faster than the
clock, and slows down when the broker or the daemon does.

>>> Demo(out=Path("demo-out"), seed=7, console=Console()).run()  # doctest: +SKIP
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from rich.markup import escape

from offbeat_broker import embedded, recording, schedule
from offbeat_broker.plant import Plant
from offbeat_broker.publish import Pace, connected
from offbeat_broker.signals import DAY_MS, HOUR_MS
from offbeat_edge.bundle import load
from offbeat_edge.config import Mqtt
from offbeat_edge.errors import OffbeatError
from offbeat_edge.schema import iso
from offbeat_train import demo_console, demo_report
from offbeat_train.demo_judge import Verdict, judge
from offbeat_train.demo_listen import listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import Console

    from offbeat_broker.faults import Truth
    from offbeat_edge.schema import AlertEvent
    from offbeat_train.demo_listen import Listener

GATEWAY = "gw1"
PUMPS = 4
PERIOD_MS = 10_000
BEGIN_MS = 1_736_121_600_000  # 2025-01-06T00:00Z, a Monday
HISTORY_MS = 7 * DAY_MS
LIVE_MS = DAY_MS
LEAD_MS = HOUR_MS  # of normal live data before the first fault
EACH = 2  # faults of every kind
EPOCHS = 30
SPEED_UP = 2400.0  # a day in 36 s
HEARTBEAT_S = 10.0  # a line this often while a command is silent
ONLINE_S = 60.0  # for the daemon to connect
AHEAD_MS = 20 * 60_000  # of event time that may be published beyond the newest score
QUIET_S = 20.0  # nothing heard for so long: the daemon has stopped scoring
STOP_S = 30.0  # for the daemon to end

CONFIG = """\
[gateway]
id = "{gateway}"
state_dir = "state"

[mqtt]
port = {port}
protocol = "3.1.1"  # the embedded broker's

[[source]]
topic = "plant/{{asset}}"

[[model]]
bundle = "pump.offbeat"

[publish]
score = true
explain_top = 10  # sensors whose expectation goes with each score

[log]
format = "json"
"""


class DemoError(OffbeatError):
    """A part of the loop did not start or end as it should."""


class Heard(NamedTuple):
    """What came out of the live run."""

    events: list[AlertEvent]
    scores: dict[str, list[tuple[int, float]]]
    sent: int
    taken: int


class Demo:
    """One run.

    Parameters
    ----------
    out : directory for everything that is written; made when it is absent
    seed : of the plant, its faults and the training
    console : where progress goes
    page : whether the web console runs beside it
    served : called with the page's address once it is there
    stay : called with the page's address before the daemon ends; returns when people have seen it
    """

    def __init__(
        self,
        *,
        out: Path,
        seed: int,
        console: Console,
        page: bool = False,
        served: Callable[[str], None] = lambda _: None,
        stay: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._out = out
        self._seed = seed
        self._console = console
        self._page = page
        self._served = served
        self._stay = stay
        self._plant = Plant(seed=seed, pumps=PUMPS)
        self._begun = time.monotonic()

    def run(self) -> bool:
        """Do everything; say whether the loop did its job."""
        self._out.mkdir(parents=True, exist_ok=True)
        for folder in ("state", "console"):
            shutil.rmtree(self._out / folder, ignore_errors=True)
        self._history()
        self._fit()
        faults = self._faults()
        heard = self._live(faults)
        model = load(self._out / "pump.offbeat").manifest.model
        verdict = judge(
            faults, heard.events, window_ms=model.window * model.period_ms,
            stride_ms=model.stride * model.period_ms, sent=heard.sent, taken=heard.taken,
        )  # fmt: skip
        self._report(verdict, heard)
        return verdict.passed

    def _say(self, text: str) -> None:
        passed = time.monotonic() - self._begun
        self._console.print(f"[dim]{passed:5.0f} s[/dim]  {text}", highlight=False, soft_wrap=True)

    def _title(self, text: str) -> None:
        self._console.print()
        self._say(f"[bold]{text}[/bold]")

    def _history(self) -> None:
        days = HISTORY_MS // DAY_MS
        self._title(f"1. A plant's normal history: {PUMPS} pumps, {days} days, no faults")
        history = self._plant.history(
            start_ms=BEGIN_MS, duration_ms=HISTORY_MS, period_ms=PERIOD_MS
        )
        path = self._out / "history.parquet"
        rows = recording.write(history, path)
        self._say(f"{escape(str(path))}: {rows} rows")

    def _fit(self) -> None:
        self._title("2. Learning what is normal")
        words = ["fit", "history.parquet", "--out", "pump.offbeat", "--epochs", str(EPOCHS),
                 "--seed", str(self._seed)]  # fmt: skip
        self._say(f"$ offbeat {' '.join(words)}")
        quiet = {"PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3"}
        with self._heartbeat():
            done = subprocess.run(  # noqa: S603 - our own command
                _command(words), cwd=self._out, env=os.environ | quiet, check=False
            )
        if done.returncode != 0:
            raise DemoError(f"offbeat fit: expected exit code 0, got {done.returncode}")

    @contextmanager
    def _heartbeat(self) -> Iterator[None]:
        """Say that time passes, where no progress bar can."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT_S):
                self._say("…")

        thread = threading.Thread(target=beat, daemon=True)
        if not self._console.is_terminal:
            thread.start()
        yield
        done.set()

    def _faults(self) -> list[Truth]:
        plan = schedule.draw(
            self._plant, seed=self._seed, start_ms=BEGIN_MS + HISTORY_MS + LEAD_MS,
            duration_ms=LIVE_MS - LEAD_MS, each=EACH, period_ms=PERIOD_MS,
        )  # fmt: skip
        found = [schedule.truth(self._plant, fault, period_ms=PERIOD_MS) for fault in plan]
        lines = b"".join(msgspec.json.encode(fault) + b"\n" for fault in found)
        (self._out / "truth.jsonl").write_bytes(lines)
        self._live_data = self._plant.history(
            start_ms=BEGIN_MS + HISTORY_MS, duration_ms=LIVE_MS, period_ms=PERIOD_MS, schedule=plan
        )
        return found

    def _live(self, faults: list[Truth]) -> Heard:
        self._title(f"3. Live: a day at {SPEED_UP:.0f} times its pace, {len(faults)} faults")
        with (
            embedded.running() as port,
            listening(port, gateway=GATEWAY, tell=self._tell) as listener,
            self._web(port) as url,
            self._daemon(port, listener) as daemon,
        ):
            self._say(f"broker on 127.0.0.1:{port}, daemon online")
            sent = self._publish(port, faults, listener)
            last = int(self._live_data.time_ms[-1]) - 2 * self._step_ms()
            if not listener.wait_scored(self._plant.assets, last, QUIET_S):
                self._say("[red]the daemon did not score the stream to its end[/red]")
            if url is not None:
                self._stay(url)
            taken = self._stop(daemon)
        return Heard(list(listener.events.values()), dict(listener.scores), sent, taken)

    def _step_ms(self) -> int:
        """Event time between two scores."""
        model = load(self._out / "pump.offbeat").manifest.model
        return model.stride * model.period_ms

    @contextmanager
    def _web(self, port: int) -> Iterator[str | None]:
        """Run the web console beside it all, if it is wanted."""
        if not self._page:
            yield None
            return
        with demo_console.running(self._out, port) as url:
            self._say(f"[bold]watch it at {url}[/bold]" if url else "the console did not start")
            if url:
                self._served(url)
            yield url

    @contextmanager
    def _daemon(self, port: int, listener: Listener) -> Iterator[subprocess.Popen[bytes]]:
        """Run ``offbeat run`` as the device would, until the block ends."""
        (self._out / "offbeat.toml").write_text(CONFIG.format(gateway=GATEWAY, port=port))
        words = ["run", "--config", "offbeat.toml"]
        self._say(f"$ offbeat {' '.join(words)}")
        with (
            (self._out / "daemon.log").open("wb") as log,
            subprocess.Popen(  # noqa: S603 - our own command
                _command(words), cwd=self._out, stdout=log, stderr=subprocess.STDOUT
            ) as daemon,
        ):
            try:
                if not listener.wait_status("online", ONLINE_S):
                    raise DemoError(
                        f"offbeat run: expected online within {ONLINE_S} s, see {log.name}"
                    )
                yield daemon
            finally:
                if daemon.poll() is None:
                    daemon.kill()

    def _publish(self, port: int, faults: list[Truth], listener: Listener) -> int:
        pace = _Announcer(faults, self._announce, listener)
        with connected(Mqtt(host="127.0.0.1", port=port), topic="plant/{asset}") as publisher:
            sent = publisher.send(self._live_data, pace)
            publisher.flush()
        self._say(f"{sent} messages published")
        return sent

    def _stop(self, daemon: subprocess.Popen[bytes]) -> int:
        """End the daemon as systemd would; return the messages it took."""
        daemon.terminate()
        code = daemon.wait(STOP_S)
        lines = (self._out / "daemon.log").read_text().splitlines()
        if code != 0 or not lines:
            raise DemoError(f"offbeat run: expected exit code 0 on SIGTERM, got {code}")
        said: dict[str, int] = json.loads(lines[-1])
        return said.get("messages", 0)

    def _announce(self, fault: Truth) -> None:
        what = demo_report.describe(fault)
        self._say(f"{_clock(fault.start_ms)}  {fault.asset}  [yellow]▼ {what}[/yellow]")

    def _tell(self, event: AlertEvent) -> None:
        if event.type == "update":
            return
        sign = "[red]▲ alert[/red]" if event.type == "new" else "[green]△ over[/green]"
        said = f": {escape(demo_report.said(event))}" if event.type == "new" else ""
        self._say(f"{_clock(event.time_ms)}  {event.asset}  {sign}{said}")

    def _report(self, verdict: Verdict, heard: Heard) -> None:
        self._title("4. What came of it")
        self._console.print(demo_report.table(verdict))
        for rule in verdict.rules:
            sign = "[green]✓[/green]" if rule.met else "[red]✗[/red]"
            self._say(f"{sign} {rule.text}: {rule.got}")
        self._say(f"[bold]{'The loop did its job.' if verdict.passed else 'It did not.'}[/bold]")
        seconds = time.monotonic() - self._begun
        demo_report.write(
            self._out, verdict, heard.scores, seed=self._seed, seconds=round(seconds, 1)
        )
        self._say(f"{escape(str(self._out / 'demo.html'))} shows it, demo.json has the figures")


class _Announcer(Pace):
    """A pace that tells of each fault as its time comes, and lets the daemon keep up."""

    def __init__(
        self, faults: list[Truth], tell: Callable[[Truth], None], listener: Listener
    ) -> None:
        super().__init__(speed_up=SPEED_UP, stop=threading.Event())
        self._left = sorted(faults, key=lambda fault: fault.start_ms)
        self._tell = tell
        self._listener = listener
        self._first: int | None = None

    def wait(self, time_ms: int) -> bool:
        """Wait until it is ``time_ms`` and the daemon is near."""
        if self._first is None:
            self._first = time_ms
        if time_ms - self._first > 2 * AHEAD_MS:  # by then it has warmed up
            self._listener.wait_newest(time_ms - AHEAD_MS, QUIET_S)
        while self._left and self._left[0].start_ms <= time_ms:
            self._tell(self._left.pop(0))
        return super().wait(time_ms)


def _command(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "offbeat_edge.cli", *words]


def _clock(time_ms: int) -> str:
    return iso(time_ms)[11:16]
