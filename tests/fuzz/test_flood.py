"""A million hostile messages change no alert; here, some thousands of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flood import GROWTH_MB, flood

if TYPE_CHECKING:
    from pathlib import Path


def test_hostile_messages_between_good_ones_change_no_alert(tmp_path: Path) -> None:
    found = flood(tmp_path, count=20_000, seed=1)
    assert found.difference == ""
    assert found.alerts >= 50
    assert found.samples > 0  # some reach the engine, and are refused there
    assert len(found.rejects) >= 8
    assert found.growth_mb < GROWTH_MB
