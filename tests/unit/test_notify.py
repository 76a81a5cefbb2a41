"""systemd is told, and its absence is no trouble."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from offbeat_edge.notify import Notifier

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("abstract", [True, False])
def test_a_state_reaches_the_manager(tmp_path: Path, *, abstract: bool) -> None:
    name = f"offbeat-test-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": f"@{name}" if abstract else name})
        assert notifier.send("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_a_manager_that_is_gone_is_no_trouble(tmp_path: Path) -> None:
    assert not Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).send("READY=1")
    assert not Notifier({}).send("READY=1")


def test_the_watchdog_is_fed_thrice_as_often_as_asked() -> None:
    assert Notifier({"WATCHDOG_USEC": "60000000"}).watchdog_s == 20.0
    assert Notifier({}).watchdog_s is None
    assert Notifier({"WATCHDOG_USEC": "soon"}).watchdog_s is None
