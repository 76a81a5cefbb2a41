"""Figures in words that people use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offbeat_edge.schema import SensorSpec

NAMED = 5  # in a list that people read


def length(hours: float) -> str:
    """Tell a length of time to people.

    >>> length(0.107), length(43.2)
    ('6 minutes', '43 hours')
    """
    return f"{60 * hours:.0f} minutes" if hours < 1 else f"{hours:.0f} hours"


def often(rate: float) -> str:
    """Tell a rate to people.

    >>> often(1.936), often(1575.0)
    ('1.94', '1,575')
    """
    return f"{rate:.3g}" if rate < 100 else f"{rate:,.0f}"


def amount(sensor: SensorSpec, scaled: float) -> str:
    """Tell so many deviations of a sensor in its unit."""
    return f"{sensor.name!r} {scaled * sensor.scale:.3g} {sensor.unit}".rstrip()


def few(texts: Sequence[str]) -> str:
    """List the first, and say how many more there are.

    >>> few("abc"), few("abcdefg")
    ('a, b, c', 'a, b, c, d, e and 2 more')
    """
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + more
