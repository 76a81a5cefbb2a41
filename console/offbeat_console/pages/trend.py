"""The strip chart as an element, and a live feed for it."""

from __future__ import annotations

from nicegui.element import Element
from nicegui.elements.echart import EChart  # registers the chart library that trend.js imports

__all__ = ["EChart", "Trend"]


class Trend(Element, component="../static/trend.js"):
    """Strip charts on one time axis.

    Parameters
    ----------
    label : for those who cannot see it.
    """

    def __init__(self, label: str) -> None:
        super().__init__()
        self.props["label"] = label

    def show(
        self, strips: object, spans: object, *, keep_ms: int = 0, from_ms: int | None = None,
        to_ms: int | None = None,
    ) -> None:  # fmt: skip
        """Draw anew; ``keep_ms`` bounds what later points push out."""
        self.run_method(
            "set",
            {"strips": strips, "spans": spans, "keep_ms": keep_ms, "from": from_ms, "to": to_ms},
        )

    def add(self, strips: object, spans: object | None) -> None:
        """Append points, and replace the spans if there are new ones."""
        self.run_method("add", {"strips": strips, "spans": spans})

    def describe(self, label: str) -> None:
        """Change what is said to those who cannot see it."""
        if self.props["label"] != label:
            self.props["label"] = label
