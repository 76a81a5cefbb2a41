"""Figures in words that people use."""

from __future__ import annotations


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
