"""What an event says: a sentence for people, and the sensors behind it.

>>> told = of_fault("pump1", {"flow": "stuck"}, {"flow": 4.0})
>>> told.message, told.contributions[0].share
('pump1: sensor fault: flow stuck at 4', 1.0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from offbeat_edge.schema import Contribution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from offbeat_edge.outputs import Verdict


class Told(NamedTuple):
    """What people read of an event, and the sensors behind it."""

    message: str
    contributions: tuple[Contribution, ...] = ()


def contributions(names: Sequence[str], verdict: Verdict, *, most: int) -> tuple[Contribution, ...]:
    """Return the sensors with the largest shares, ``most`` of them."""
    order = sorted(range(len(names)), key=lambda i: (-verdict.shares[i], i))
    return tuple(
        Contribution(
            sensor=names[i],
            share=verdict.shares[i],
            expected=None if verdict.expected is None else verdict.expected[i],
            actual=verdict.actual[i],
        )
        for i in order[:most]
    )


def of_anomaly(asset: str, score: float, found: tuple[Contribution, ...]) -> Told:
    """Tell of a score and the sensors behind it."""
    message = f"{asset}: {score:.1f} times the threshold"
    if not found:
        return Told(message)
    top = found[0]
    message += f", most from {top.sensor}"
    if top.expected is not None and top.actual is not None:
        actual, expected = told_apart(top.actual, top.expected)
        message += f" ({actual}, expected {expected})"
    return Told(message, found)


def told_apart(actual: float, expected: float) -> tuple[str, str]:
    """Write two numbers with four digits, or as many as show their difference.

    >>> told_apart(20.0, 10.04), told_apart(2388.04, 2388.1)
    (('20', '10.04'), ('2388.04', '2388.1'))
    """
    for digits in (4, 6, 9):
        both = f"{actual:.{digits}g}", f"{expected:.{digits}g}"
        if both[0] != both[1]:
            break
    return both


def of_fault(asset: str, faults: Mapping[str, str], readings: Mapping[str, float | None]) -> Told:
    """Tell of faulty sensors; ``readings`` of those that are, or just were."""
    listed = ", ".join(
        f"{name} {why}" + ("" if readings[name] is None else f" at {readings[name]:g}")
        for name, why in sorted(faults.items())
    )
    share = 1.0 / max(1, len(readings))
    found = (
        Contribution(sensor=name, share=share, actual=readings[name]) for name in sorted(readings)
    )
    return Told(f"{asset}: sensor fault: {listed}", tuple(found))
