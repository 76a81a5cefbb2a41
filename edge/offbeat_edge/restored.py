"""Checks that a saved state of a watch is one that its model could have left.

msgspec has checked types and times when this is asked; lengths depend on the
model.  A state of the wrong shape would fail later, in the middle of a
sample, and again at every start: it is refused as a whole here.

>>> _same("check", 2, [1, 2])
>>> _same("check", 2, [1, 2, 3])
Traceback (most recent call last):
ValueError: check: expected 2 entries, got 3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offbeat_edge.schema import MAX_EVENT_MS
from offbeat_edge.window import QUARANTINE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sized

    from offbeat_edge.manifest import Manifest
    from offbeat_edge.watchstate import WatchState
    from offbeat_edge.window import AlignerState

_FLOAT_BYTES = 8


def check_said(state: WatchState) -> None:
    """Check what is kept whatever the model: the state last said; raises ValueError."""
    if state.current is not None and abs(state.current.since_ms) > MAX_EVENT_MS:
        raise ValueError(f"current: expected a time that a date can write, got {state.current}")


def check_fits(state: WatchState, manifest: Manifest) -> None:
    """Check lengths and steps against the model; raises ValueError."""
    sensors, spec = len(manifest.sensors), manifest.model
    _check_aligner(state.aligner, sensors, MAX_EVENT_MS // spec.period_ms)
    keep, rows = state.ring
    if not 0 <= keep <= spec.window:
        raise ValueError(f"ring: expected 0 to {spec.window} rows, got {keep}")
    _same("ring", keep * sensors * _FLOAT_BYTES, rows)
    for name in ("last", "same", "outside"):
        _same(f"check.{name}", sensors, getattr(state.check, name))


def _check_aligner(state: AlignerState, sensors: int, most: int) -> None:
    for step in (state.closed or 0, *state.pending):
        if abs(step) > most:
            raise ValueError(f"aligner: expected steps up to {most}, got {step}")
    _same("aligner.last_times", sensors, state.last_times)
    _same("aligner.last_values", sensors, state.last_values)
    for entry in state.pending.values():
        _same("aligner.pending", sensors, entry.times)
        _same("aligner.pending", sensors, entry.values)
    for _, values in state.quarantine:
        _same("aligner.quarantine", sensors, values)
    if len(state.quarantine) > QUARANTINE_LIMIT:
        raise ValueError(f"aligner.quarantine: expected {QUARANTINE_LIMIT} entries at most")


def _same(where: str, expected: int, found: Sized) -> None:
    if len(found) != expected:
        raise ValueError(f"{where}: expected {expected} entries, got {len(found)}")
