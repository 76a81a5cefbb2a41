"""How an asset stands, in one word: the worst of what is open, and why.

Rules: pure; silence comes before an anomaly, that before a faulty sensor, and
any alert before what the model cannot do.  What people said of an asset is a
reason beside whatever else there is.

>>> standing({}, faults={}, degraded=None, scored=True, resting_ms=None)
Standing(state='ok', reasons=(), alert=None)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from offbeat_edge.schema import iso

if TYPE_CHECKING:
    from collections.abc import Mapping

    from offbeat_edge.alert import Lifecycle
    from offbeat_edge.schema import Kind, State


class Standing(NamedTuple):
    """What a state says beside its time."""

    state: State
    reasons: tuple[str, ...]
    alert: str | None  # the id of the open alert behind it


def standing(
    lives: Mapping[Kind, Lifecycle],
    *,
    faults: Mapping[str, str],
    degraded: str | None,
    scored: bool,
    resting_ms: int | None,
) -> Standing:
    """Say how an asset stands.

    Parameters
    ----------
    lives : its alerts, by kind.
    faults : sensor → what is wrong with it.
    degraded : why its model cannot run.
    scored : whether its last window had a score.
    resting_ms : event time at which the maintenance that is on ends.
    """
    state, reasons, kind = _worst(lives, faults, degraded, scored=scored)
    notes = [f"{kind}: {life.verdict}" for kind, life in lives.items() if life.verdict]
    if resting_ms is not None:
        notes.append(f"maintenance until {iso(resting_ms)}")
    return Standing(state, (*reasons, *notes), None if kind is None else lives[kind].alert)


def _worst(
    lives: Mapping[Kind, Lifecycle],
    faults: Mapping[str, str],
    degraded: str | None,
    *,
    scored: bool,
) -> tuple[State, tuple[str, ...], Kind | None]:
    faulty = tuple(sorted(f"{name}: {why}" for name, why in faults.items()))
    opened = {kind for kind, life in lives.items() if life.alert}
    if "stale" in opened:
        return "stale", ("no data",), "stale"
    if "anomaly" in opened:
        return "anomaly", faulty, "anomaly"
    if "sensor_fault" in opened:
        return "sensor_fault", faulty, "sensor_fault"
    if degraded is not None:
        return "degraded", (degraded,), None
    return ("ok" if scored else "warming"), (), None
