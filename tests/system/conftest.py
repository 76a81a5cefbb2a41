"""The system tests stand on the integration tests' rig."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.append(str(Path(__file__).parent.parent / "integration"))

from rig import Mosquitto

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running Mosquitto."""
    broker = Mosquitto(tmp_path / "broker").start()
    yield broker
    broker.kill()
