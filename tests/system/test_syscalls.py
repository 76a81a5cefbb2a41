"""What the kernel sees: the disk has it before the broker hears that we have it."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from rig import Daemon, Listener, Mosquitto, Player, Site, closing, recording, wait_for

if TYPE_CHECKING:
    from pathlib import Path

CALLS = "trace=fsync,fdatasync,pwrite64,sendto,recvfrom"
WAL = r"\(\d+<[^>]*\\x2d\\x77\\x61\\x6c>"  # "-wal", in strace's way of writing
PUBACK = re.compile(r'sendto\(.*?, "\\x40\\x0[2-9a-f]')
WAL_WRITE = re.compile("pwrite64" + WAL)
WAL_SYNC = re.compile("f(?:data)?sync" + WAL + r"\)\s+= 0")
TOPIC = re.compile("".join(rf"\\x{byte:02x}" for byte in b"plant/p"))
ARRIVAL = re.compile(r"recvfrom\(.*" + TOPIC.pattern)
ONE_PUBACK = re.compile(r"\\x40\\x0[2-9a-f]\\x")


def strace(trace: Path) -> tuple[str, ...]:
    """Return a command that traces what follows it; skips where that is not allowed."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if subprocess.run(["strace", "-o", trace, "true"], check=False).returncode:
        pytest.skip("strace is not allowed here")
    return ("strace", "-D", "-f", "-yy", "-xx", "-s", "70000", "-e", CALLS, "-o", str(trace))


def order(trace: Path) -> list[str]:
    """Return arrivals, writes and syncs of the log, and PUBACKs, in the kernel's order."""
    patterns = {"arrival": ARRIVAL, "write": WAL_WRITE, "sync": WAL_SYNC, "puback": PUBACK}
    found = []
    for line in trace.read_text().splitlines():
        found += [name for name, pattern in patterns.items() if pattern.search(line)]
    return found


def packets(trace: Path) -> tuple[int, int]:
    """Count the messages that arrived and the PUBACKs that left; many share a call."""
    arrived = acknowledged = 0
    for line in trace.read_text().splitlines():
        arrived += len(TOPIC.findall(line)) if ARRIVAL.search(line) else 0
        acknowledged += len(ONE_PUBACK.findall(line)) if PUBACK.search(line) else 0
    return arrived, acknowledged


def unsafe_pubacks(calls: list[str]) -> int:
    """Count PUBACKs sent while an arrival had not been written and synced since."""
    unsafe, state = 0, "safe"
    for call in calls:
        if call == "arrival":
            state = "arrived"
        elif call == "write" and state == "arrived":
            state = "written"
        elif call == "sync" and state == "written":
            state = "safe"
        unsafe += call == "puback" and state != "safe"
    return unsafe


def test_the_checker_sees_a_puback_that_comes_too_early() -> None:
    assert unsafe_pubacks(["arrival", "write", "sync", "puback"]) == 0
    assert unsafe_pubacks(["arrival", "write", "puback", "sync"]) == 1
    assert unsafe_pubacks(["arrival", "sync", "puback"]) == 1


def test_every_puback_follows_the_sync_of_what_arrived(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    trace = tmp_path / "trace"
    site = Site(tmp_path, mosquitto.port)
    listener = Listener(mosquitto.port)
    daemon = Daemon(site, wrapper=strace(trace)).start().ready()
    player = Player(mosquitto.port)
    with closing(player, listener, daemon):
        readings = recording(seed=1, seconds=60)
        for start in range(0, len(readings), 20):
            player.play(readings[start : start + 20])
        listener.wait_alerts(event.id for event in site.replay(readings))
        assert daemon.stop() == 0
        wait_for(lambda: "+++ exited with 0" in trace.read_text()[-2000:], "the end of the trace")
    calls = order(trace)
    assert min(packets(trace)) >= len(readings)
    assert calls.count("puback") > 1
    assert unsafe_pubacks(calls) == 0
