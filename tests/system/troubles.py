"""What may happen, and what is promised then.

| fault | promised |
|---|---|
| daemon killed, killed twice, stopped, frozen | every alert |
| broker restarted cleanly, frozen | every alert |
| connection cut, partitioned, delayed, packets lost | every alert |
| session taken by another client of our id | every alert |
| messages twice, displaced within the lateness, one from 2099 | every alert |
| disk full, shorter than the grace; state folder read-only at a start, likewise | every alert |
| the gateway's clock an hour off either way, or in 1970 | every alert |
| broker killed | the replay of what was delivered; holes are shown as gaps |
| session expired at the broker | likewise; `session_lost` is logged |
| random bytes in the state database or its log | every alert that starts a while after |
| bundle damaged at a start | likewise; `bundle_failed` is logged, its assets are not watched |
"""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import time
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from rig import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults import Run

CLIENT_ID = "offbeat-gw1"
HOUR_S = 3600


class Promise(Enum):
    """What the alerts equal after a fault."""

    ALL = "the undisturbed run"
    DELIVERED = "the replay of what was delivered"
    AFTER = "the undisturbed run, from a while after it"


class Fault(NamedTuple):
    """A fault and its promise."""

    act: Callable[[Run], None]
    promise: Promise = Promise.ALL


def kill_daemon(run: Run) -> None:
    run.daemon.kill()
    run.daemon.start().ready()


def stop_daemon(run: Run) -> None:
    code = run.daemon.stop()
    assert code == 0, f"exit code {code} after {run.told}: {run.daemon.errors()}"
    run.daemon.start().ready()


def kill_daemon_twice(run: Run) -> None:
    run.daemon.kill()
    run.daemon.start()
    time.sleep(run.chance.uniform(0.2, 2.0))  # in the middle of its recovery, perhaps
    kill_daemon(run)


def freeze_daemon(run: Run) -> None:
    run.daemon.signal(signal.SIGSTOP)
    time.sleep(run.chance.uniform(0.1, 2.0))
    run.daemon.signal(signal.SIGCONT)


def freeze_broker(run: Run) -> None:
    run.broker.signal(signal.SIGSTOP)
    time.sleep(run.chance.uniform(0.1, 2.0))
    run.broker.signal(signal.SIGCONT)


def restart_broker(run: Run) -> None:
    run.broker.stop()
    time.sleep(run.chance.uniform(0.0, 0.5))
    run.broker.start()


def kill_broker(run: Run) -> None:
    run.broker.kill()
    time.sleep(run.chance.uniform(0.0, 0.5))
    run.broker.start()


def cut(run: Run) -> None:
    run.proxy.cut()


def partition(run: Run) -> None:
    run.proxy.held = True
    time.sleep(run.chance.uniform(0.5, 3.0))
    run.proxy.held = False


def delay(run: Run) -> None:
    run.proxy.delay_s = run.chance.uniform(0.0, 0.05)


def lose_packets(run: Run) -> None:
    """From now on until told otherwise; every second time, until all is well again."""
    run.wire.lose(run.chance.choice([0.0, run.chance.uniform(0.02, 0.15)]))


def steal_session(run: Run) -> None:
    """Another client takes our id, and with it what is on its way, without acknowledging."""
    thief = Client(
        CallbackAPIVersion.VERSION2, client_id=CLIENT_ID, clean_session=False, manual_ack=True
    )
    thief.connect("127.0.0.1", run.broker.port)
    thief.loop_start()
    wait_for(thief.is_connected, "the thief to be in", timeout_s=WAIT_S)
    time.sleep(0.2)
    thief.disconnect()
    thief.loop_stop()


def end_session(run: Run) -> None:
    """The broker forgets our session while we are away, and what waited in it."""
    run.proxy.refusing = True
    run.proxy.cut()
    vandal = Client(CallbackAPIVersion.VERSION2, client_id=CLIENT_ID, clean_session=True)
    vandal.connect("127.0.0.1", run.broker.port)
    vandal.loop_start()
    wait_for(vandal.is_connected, "the session to be ended", timeout_s=WAIT_S)
    vandal.disconnect()
    vandal.loop_stop()
    run.proxy.refusing = False
    run.daemon.wait_event("session_lost")


def fill_disk(run: Run) -> None:
    """No file may grow for a while, shorter than the grace."""
    _, hard = resource.prlimit(run.daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(run.daemon.pid, resource.RLIMIT_FSIZE, (1, hard))
    time.sleep(run.chance.uniform(0.5, 3.0))
    resource.prlimit(run.daemon.pid, resource.RLIMIT_FSIZE, (hard, hard))


def read_only_disk(run: Run) -> None:
    """At a start the state cannot be written, and a little later it can again."""
    run.daemon.kill()
    folder = run.site.state.parent
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,ro,bind", str(folder))
        run.daemon.start()
        run.daemon.wait_event("disk_refused")
        time.sleep(run.chance.uniform(0.0, 3.0))
        # a namespace has mounts of its own
        _run("nsenter", "--target", str(run.daemon.pid), "--mount", "umount", "-l", str(folder))
    finally:
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)
    run.daemon.ready()


def _run(*command: str) -> None:
    subprocess.run(command, check=False, capture_output=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def read_only_allowed() -> bool:
    """Whether this process may mount."""
    return (
        shutil.which("mount") is not None
        and not subprocess.run(
            ["unshare", "-m", "true"], check=False, capture_output=True
        ).returncode
    )


def rot_state(run: Run) -> None:
    """Random bytes in the state database or in its log, found at the next start."""
    run.daemon.kill()
    files = [path for path in run.site.state.parent.glob("state.db*") if path.stat().st_size]
    path = run.chance.choice([p for p in files if "damaged" not in p.name])
    body = bytearray(path.read_bytes())
    for _ in range(run.chance.randint(1, 4)):
        at, size = run.chance.randrange(len(body)), run.chance.randint(1, 600)
        body[at : at + size] = run.chance.randbytes(len(body[at : at + size]))
    path.write_bytes(body)
    run.lost_ms.append(run.played_ms)
    run.daemon.start().ready()


def rot_bundle(run: Run) -> None:
    """A start with a bundle that is no longer what it was, then one with the good one."""
    run.daemon.kill()
    good = run.site.bundle.read_bytes()
    bad = bytearray(good)
    bad[run.chance.randrange(len(bad))] ^= 1 << run.chance.randrange(8)
    run.site.bundle.write_bytes(bad)
    run.daemon.start()
    run.daemon.wait_event("bundle_failed")
    run.daemon.ready().kill()
    run.site.bundle.write_bytes(good)
    run.lost_ms.append(run.played_ms)
    run.daemon.start().ready()


def set_clock(run: Run) -> None:
    assert run.clock is not None
    run.clock.shift(run.chance.choice([0, HOUR_S, -HOUR_S, HOUR_S - int(time.time())]))
    if run.chance.random() < 0.3:
        kill_daemon(run)


FAULTS = {
    "kill_daemon": Fault(kill_daemon),
    "stop_daemon": Fault(stop_daemon),
    "kill_daemon_twice": Fault(kill_daemon_twice),
    "freeze_daemon": Fault(freeze_daemon),
    "freeze_broker": Fault(freeze_broker),
    "restart_broker": Fault(restart_broker),
    "cut": Fault(cut),
    "partition": Fault(partition),
    "delay": Fault(delay),
    "lose_packets": Fault(lose_packets),
    "steal_session": Fault(steal_session),
    "fill_disk": Fault(fill_disk),
    "read_only_disk": Fault(read_only_disk),
    "set_clock": Fault(set_clock),
    "kill_broker": Fault(kill_broker, Promise.DELIVERED),
    "end_session": Fault(end_session, Promise.DELIVERED),
    "rot_state": Fault(rot_state, Promise.AFTER),
    "rot_bundle": Fault(rot_bundle, Promise.AFTER),
}
DISTURBED = ("duplicates", "reordered", "from_2099")
NEEDING = {"read_only_disk": read_only_allowed}  # what a fault asks of the machine


def breaking(*promises: Promise, clock: bool = False) -> tuple[str, ...]:
    """Return the faults of these promises that this machine allows."""
    return tuple(
        name
        for name, fault in FAULTS.items()
        if fault.promise in promises
        and (clock or name != "set_clock")
        and NEEDING.get(name, lambda: True)()
    )
