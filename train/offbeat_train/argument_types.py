"""What a user writes on a command line → numbers, or a sentence on what was expected."""

from __future__ import annotations

import argparse
import re


def units(text: str) -> tuple[int, ...]:
    """Read whole numbers, separated by commas."""
    return tuple(positive(part) for part in text.split(","))


def positive(text: str) -> int:
    """Read a whole number above 0."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return number


def rate(text: str) -> float:
    """Read a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def rates(text: str) -> tuple[float, ...]:
    """Read numbers above 0, separated by commas."""
    return tuple(rate(part) for part in text.split(","))


def duration(text: str) -> int:
    """Read a time span into ms.

    >>> duration("5min")
    300000
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)\s*", text)
    sizes = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
    span = round(float(found.group(1)) * sizes[found.group(2)]) if found else 0
    if span < 1:
        raise argparse.ArgumentTypeError(f"expected a time such as 500ms, 1s or 5min, got {text!r}")
    return span
