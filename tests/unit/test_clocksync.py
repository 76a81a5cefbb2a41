"""An unsynchronized clock is noticed; what cannot be known is not claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from offbeat_edge.clocksync import BUILT_MS, TIME_ERROR, synchronized

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("wall_ms", "kernel", "marked", "expected"),
    [
        (BUILT_MS, 0, False, True),
        (BUILT_MS, TIME_ERROR, True, False),
        (BUILT_MS, -1, True, True),
        (BUILT_MS, -1, False, None),
        (0, 0, True, False),  # 1970, whatever anybody says
        (BUILT_MS - 1, -1, False, False),
    ],
)
def test_the_kernel_is_believed_then_the_mark_then_nobody(
    tmp_path: Path, wall_ms: int, kernel: int, *, marked: bool, expected: bool | None
) -> None:
    mark = tmp_path / "synchronized"
    if marked:
        mark.touch()
    found = synchronized(wall_ms=lambda: wall_ms, kernel=lambda: kernel, mark=mark)
    assert found is expected


def test_asking_the_real_kernel_works_or_is_not_allowed() -> None:
    assert synchronized() in (True, False, None)
