"""A broker of our own for each test that asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig import Mosquitto

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running Mosquitto."""
    broker = Mosquitto(tmp_path / "broker").start()
    yield broker
    broker.kill()
