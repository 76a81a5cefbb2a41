"""What a gateway says of the bundles it was sent: retained on ``offbeat/<gw>/rollout/<model>``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from offbeat_edge.delivery.assignment import Mode
from offbeat_edge.delivery.conduct import State
from offbeat_edge.delivery.figures import Figures

if TYPE_CHECKING:
    from pathlib import Path

PAGE_BYTES = 4096


class RolloutReport(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one gateway."""

    schema: str = "1.0"
    gateway: str
    model: str
    time: str
    time_ms: int
    document: int  # version of the rollout document last followed
    state: State
    mode: Mode | None  # of what runs; None: as configured, or gone back to
    reason: str  # of the last rollback or refusal
    rejected: list[str]  # digests that are not tried again
    running: Figures
    champion: Figures | None  # beside the challenger, on the same samples
    challenger: Figures | None
    compared: int  # windows judged by both
    agreement: float | None
    calm_agreement: float | None  # of windows that the champion finds normal
    loud_agreement: float | None  # of those it finds anomalous
    memory_mb: float  # of the daemon, resident


def resident_mb(statm: Path) -> float:
    """Return a process's resident memory from its ``/proc/<pid>/statm``; 0.0 without one."""
    try:
        return round(int(statm.read_text().split()[1]) * PAGE_BYTES / 1e6, 1)
    except (OSError, ValueError, IndexError):
        return 0.0
