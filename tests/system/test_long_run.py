"""Hours of traffic at speed: what the daemon uses stays flat.  ``make week`` plays seven days."""

from __future__ import annotations

from typing import TYPE_CHECKING

from long_run import Use, Week, grown

if TYPE_CHECKING:
    from pathlib import Path


def test_hours_of_traffic_leave_memory_threads_descriptors_and_disk_flat(tmp_path: Path) -> None:
    week = Week(tmp_path, hours=3.0, assets=4, seed=1)
    assert week.run(12) == ""
    assert grown(week.uses) == []
    assert week.uses[-1].messages >= 3 * 3600 // 5 * 4
    assert week.uses[-1].alerts > 10


def test_growth_is_seen() -> None:
    flat = Use(0.0, 90.0, 2, 14, 1.0, 1.0, 0, 0)
    leak = [flat._replace(resident_mb=90.0 + n) for n in range(12)]
    assert grown([flat] * 12) == []
    assert "resident_mb" in grown(leak)[0]
    assert "threads" in grown([*[flat] * 11, flat._replace(threads=3)])[0]
    assert "disk" in grown([*[flat] * 11, flat._replace(disk_mb=99.0)])[0]
