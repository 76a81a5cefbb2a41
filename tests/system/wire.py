"""The way between daemon and broker, and packets that get lost on it.

Best is a network namespace of the daemon's own, whose kernel drops packets:
with ``tc netem``, or where that is missing with iptables' ``statistic``.
Where neither is allowed, the proxy does what a loss looks like from above:
it holds bytes back as long as TCP waits before it sends them again.
``choose`` takes the best there is; ``kind`` says which.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
from typing import TYPE_CHECKING

from proxy import LOOPBACK, Proxy

if TYPE_CHECKING:
    from tap import Tap

_numbers = itertools.count()


class Wire:
    """Every packet arrives; those the proxy holds back arrive late."""

    kind = "proxy"
    host = LOOPBACK
    wrapper: tuple[str, ...] = ()

    def __init__(self, target: int, tap: Tap) -> None:
        self.proxy = Proxy(target, tap=tap, host=self.host)

    def lose(self, share: float) -> None:
        """Lose this share of the packets from now on."""
        self.proxy.loss = share

    def close(self) -> None:
        """Take down what was set up."""
        self.proxy.close()


class Namespace(Wire):
    """A namespace for the daemon; ``kind`` is "netem" or "iptables"."""

    def __init__(self, target: int, tap: Tap) -> None:
        self._name = f"ob{os.getpid() % 100_000}n{next(_numbers)}"
        self.host = _unused()
        self.wrapper = ("ip", "netns", "exec", self._name)
        self._build(self.host[: self.host.rindex(".")], int(self.host.rsplit(".", 1)[1]) + 1)
        super().__init__(target, tap)

    def lose(self, share: float) -> None:
        if self.kind == "netem":
            for where in ((), self.wrapper):
                device = self._out if where else self._in
                _run(*where, *f"tc qdisc replace dev {device} root netem loss {share:%}".split())
            return
        for chain in ("INPUT", "OUTPUT"):
            _run(*self.wrapper, "iptables", "-F", chain)
            if share:
                rule = (
                    f"iptables -A {chain} -m statistic --mode random --probability {share} -j DROP"
                )
                _run(*self.wrapper, *rule.split())

    def close(self) -> None:
        super().close()
        _run("ip", "netns", "del", self._name)

    def _build(self, net: str, last: int) -> None:
        self._in, self._out = f"{self._name}i", f"{self._name}o"
        _run("ip", "netns", "add", self._name)
        try:
            _run(*f"ip link add {self._in} type veth peer name {self._out}".split())
            _run(*f"ip link set {self._out} netns {self._name}".split())
            _run(*f"ip addr add {self.host}/30 dev {self._in}".split())
            _run(*f"ip link set {self._in} up".split())
            _run(*self.wrapper, *f"ip addr add {net}.{last}/30 dev {self._out}".split())
            _run(*self.wrapper, *f"ip link set {self._out} up".split())
            self.kind = self._dropper()
        except OSError:
            _run("ip", "netns", "del", self._name)
            raise

    def _dropper(self) -> str:
        for kind in ("netem", "iptables"):
            self.kind = kind
            try:
                self.lose(0.01)
                self.lose(0.0)
            except OSError:
                continue
            return kind
        raise OSError("expected tc netem or iptables statistic, got neither")


def _unused() -> str:
    """Return an address of whose network nobody here has one."""
    taken = subprocess.run(
        ["ip", "-4", "-o", "addr"], check=True, capture_output=True, text=True
    ).stdout
    while True:
        chance = random.SystemRandom()
        net = f"10.{chance.randrange(200, 250)}.{chance.randrange(256)}."
        if f" {net}" not in taken:
            return f"{net}1"


def choose(target: int, tap: Tap) -> Wire:
    """Return the best wire that this machine allows."""
    try:
        return Namespace(target, tap)
    except (OSError, subprocess.SubprocessError):
        return Wire(target, tap)


def _run(*command: str) -> None:
    """Run a program; OSError when it fails or is not there."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
