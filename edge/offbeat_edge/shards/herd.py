"""Processes that are kept alive: started, watched, started again, stopped together.

Rules: a child speaks sd_notify to a socket of ours; one that is not ready in
time or stops feeding its watchdog is killed, as one that died by itself it
comes again after a wait that doubles while it keeps failing.  A child that
says its configuration is wrong (exit code 78) ends the herd: starting it
again would not help.  Nothing here knows what the children do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

from offbeat_edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from offbeat_edge.log import Log

START_S = 300.0  # from start to READY; a child that recovers long feeds its watchdog meanwhile
WATCHDOG_S = 30.0  # without a sign of work
RETRY_BASE_S = 1.0
RETRY_CAP_S = 30.0
STEADY_S = 60.0  # a child that lived this long starts the waits anew
STOP_S = 30.0  # from SIGTERM to SIGKILL
_LAST = 16  # doublings, far beyond the cap


class Child:
    """One process and what it said of itself."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self.command = list(command)
        self.process: subprocess.Popen[bytes] | None = None
        self.ready = False
        self.starts = 0
        self.failures = 0
        self.started_at = self.fed_at = self.retry_at = 0.0
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.setblocking(False)
        self.address = f"offbeat-{os.getpid()}-{name}"
        self.ear.bind(f"\0{self.address}")

    def listen(self, now: float) -> None:
        """Take what it said."""
        with contextlib.suppress(BlockingIOError):
            while True:
                said = self.ear.recv(4096)
                self.ready = self.ready or b"READY=1" in said
                self.fed_at = now


class Herd:
    """Keeps the children alive.

    Parameters
    ----------
    commands : name → command line.
    environ : what the children inherit; their sd_notify variables are ours.
    log : where starts and deaths are said.
    monotonic : seconds.
    """

    def __init__(
        self,
        *,
        commands: Mapping[str, Sequence[str]],
        environ: Mapping[str, str],
        log: Log,
        monotonic: Callable[[], float],
    ) -> None:
        self.children = [Child(name, command) for name, command in commands.items()]
        self._environ = dict(environ)
        self._log = log
        self._now = monotonic

    @property
    def ready(self) -> bool:
        """Whether every child has said that it is."""
        return all(child.ready for child in self.children)

    def turn(self) -> None:
        """Look after every child; raises ConfigError when one says it cannot run."""
        now = self._now()
        for child in self.children:
            child.listen(now)
            if child.process is not None:
                self._watch(child, child.process, now)
            elif now >= child.retry_at:
                self._start(child, now)

    def stop(self) -> None:
        """End all children, politely first."""
        running = [c.process for c in self.children if c.process is not None]
        for process in running:
            process.terminate()
        deadline = self._now() + STOP_S
        for process in running:
            try:
                process.wait(max(0.0, deadline - self._now()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for child in self.children:
            child.ear.close()

    def signal(self, number: int) -> None:
        """Send a signal to every child that runs."""
        for child in self.children:
            if child.process is not None:
                child.process.send_signal(number)

    def _start(self, child: Child, now: float) -> None:
        environ = {
            **self._environ,
            "NOTIFY_SOCKET": f"@{child.address}",
            "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6)),
        }
        child.process = subprocess.Popen(child.command, env=environ)  # noqa: S603 - our own
        child.starts += 1
        child.started_at = child.fed_at = now
        child.ready = False
        self._log.info("shard_started", shard=child.name, pid=child.process.pid)

    def _watch(self, child: Child, process: subprocess.Popen[bytes], now: float) -> None:
        code = process.poll()
        hung = now - child.fed_at > WATCHDOG_S or (
            not child.ready and now - child.started_at > START_S
        )
        if code is None and hung:
            self._log.error("shard_hung", shard=child.name, pid=process.pid)
            process.send_signal(signal.SIGKILL)
            code = process.wait()
        if code is not None:
            self._died(child, code, now)
        elif child.ready and now - child.started_at > STEADY_S:
            child.failures = 0

    def _died(self, child: Child, code: int, now: float) -> None:
        if code == ConfigError.exit_code:
            raise ConfigError([f"shard {child.name}: its configuration was refused, see its log"])
        wait = min(RETRY_CAP_S, RETRY_BASE_S * 2.0 ** min(child.failures, _LAST))
        child.failures += 1
        child.process, child.ready, child.retry_at = None, False, now + wait
        self._log.error("shard_died", shard=child.name, code=code, retry_s=wait)
