"""The console that runs beside the demo."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest
from rig import Mosquitto, wait_for

from offbeat_train import demo_console

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("nicegui")


def connected(url: str) -> bool:
    with urllib.request.urlopen(f"{url}healthz", timeout=10) as answer:  # noqa: S310
        return bool(json.load(answer)["connected"])


def test_it_serves_the_demos_broker_and_ends_with_it(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with demo_console.running(tmp_path, mosquitto.port) as url:
        assert url is not None
        wait_for(lambda: connected(url), "the console to be connected")
    with pytest.raises(OSError, match="refused"):
        connected(url)


@pytest.mark.parametrize(
    ("asked", "terminal", "starts"),
    [(None, False, False), (None, True, True), (False, True, False), (True, False, True)],
)
def test_it_starts_where_somebody_can_look(
    asked: bool | None,  # noqa: FBT001
    terminal: bool,  # noqa: FBT001
    starts: bool,  # noqa: FBT001
) -> None:
    assert demo_console.wanted(asked, terminal=terminal) is starts
