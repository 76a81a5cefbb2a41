"""How scores and alerts of several platforms differ from the first one's.

    python compare.py REFERENCE OTHER...      files that ``scores.py`` wrote

Exit code 1: a known answer failed, or an alert of one platform has no
counterpart within two windows on another.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

NEAR_MS = 2 * 40 * 60_000  # generous: one alert, begun a little earlier or later


COLUMNS = "{:<24}{:<14}{:>8}{:>8}{:>10}{:>7}{:>8}{:>9}{:>7}"
HEAD = ("platform", "known answer", "scores", "differ", "largest", "sides", "alerts", "same id")


def main(paths: list[str]) -> int:
    first, *others = ({"name": Path(p).stem, **json.loads(Path(p).read_text())} for p in paths)
    print(COLUMNS.format(*HEAD, "alone"))  # noqa: T201
    return max([row(first, other) for other in (first, *others)])


def row(first: dict[str, Any], other: dict[str, Any]) -> int:
    """Print one platform; return whether it is unlike the first one."""
    pairs = list(zip(first["scores"], other["scores"], strict=True))
    assert all(a[0] == b[0] for a, b in pairs), "windows of other times"
    gaps = [abs(a[1] - b[1]) for a, b in pairs]
    sides = sum((a[1] > 1.0) != (b[1] > 1.0) for a, b in pairs)
    mine, theirs = alerts(first), alerts(other)
    lonely = alone(mine, theirs) + alone(theirs, mine)
    answered = bool(other["known_answer"][0])
    cells = (
        other["name"], "ok" if answered else "FAILED", len(gaps), sum(gap > 0 for gap in gaps),
        f"{max(gaps, default=0.0):.2g}", sides, len(theirs), len(mine.keys() & theirs.keys()),
        lonely,
    )  # fmt: skip
    print(COLUMNS.format(*cells))  # noqa: T201
    return 0 if answered and not lonely else 1


def alerts(result: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """Return alert → kind and time of its first event."""
    return {i.split("/")[0]: (kind, ms) for i, what, kind, ms in result["events"] if what == "new"}


def alone(some: dict[str, tuple[str, int]], others: dict[str, tuple[str, int]]) -> int:
    """Count alerts that have no counterpart near them."""
    return sum(
        not any(kind == k and abs(ms - m) <= NEAR_MS for k, m in others.values())
        for kind, ms in some.values()
    )


sys.exit(main(sys.argv[1:]))
