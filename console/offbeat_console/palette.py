"""What a state looks like: a word, a shape and a colour, never colour alone.

Rules: calm is grey, colour means "look here" (ISA-101's habit); hues follow
Okabe and Ito and keep apart for the colour-blind; text reaches a contrast of
4.5 on its ground and shapes 3, in light and dark (a test computes both).

>>> round(contrast("#000000", "#ffffff"))
21
"""

from __future__ import annotations

from typing import NamedTuple


class Look(NamedTuple):
    """How a state is shown; ``path`` is the shape in a box of 16 by 16."""

    word: str
    path: str
    light: str
    dark: str
    filled: bool = True


class Ground(NamedTuple):
    """Colours of a theme."""

    page: str
    panel: str
    ink: str
    muted: str
    line: str
    accent: str


LIGHT = Ground("#f3f4f6", "#ffffff", "#15191e", "#4d5761", "#d5d9de", "#0b5cad")
DARK = Ground("#0e1216", "#171c22", "#e4e8ec", "#a0abb6", "#2b333b", "#6db3f7")

_CIRCLE = "M8 2.5a5.5 5.5 0 1 0 .01 0z"
LOOKS: dict[str, Look] = {
    "anomaly": Look("Anomaly", "M8 1 15.5 14.5H.5z", "#c23a00", "#ff9a4d"),
    "sensor_fault": Look("Sensor fault", "M8 .5 15.5 8 8 15.5.5 8z", "#9c2f74", "#e699c6"),
    "stale": Look(
        "No data", "M3 1.2 8 6.2l5-5L14.8 3l-5 5 5 5-1.8 1.8-5-5-5 5L1.2 13l5-5-5-5z",
        "#00619e", "#5fb8ec",
    ),
    "lost": Look("Unwatched", "M1 6.2h14v3.6H1z", "#15191e", "#e4e8ec"),
    "degraded": Look("Degraded", "M2 2h12v12H2z", "#735d2e", "#fff06a"),
    "warming": Look("Warming up", _CIRCLE, "#4d5761", "#a0abb6", filled=False),
    "ok": Look("Normal", _CIRCLE, "#5b7468", "#7d9c8d"),
    "unknown": Look("Unknown", "M2 2h12v12H2z", "#4d5761", "#a0abb6", filled=False),
}  # fmt: skip
# What the charts draw with: what came, what the model expected, the score.
SERIES_LIGHT = {"actual": "#00619e", "expected": "#c23a00", "score": "#15191e", "shadow": "#9c2f74"}
SERIES_DARK = {"actual": "#5fb8ec", "expected": "#ff9a4d", "score": "#e4e8ec", "shadow": "#e699c6"}


def css() -> str:
    """Return the palette as custom properties, for both themes."""
    return "\n".join(
        [
            ":root {", *_properties(LIGHT, "light"), "color-scheme: light; }",
            "body.body--dark {", *_properties(DARK, "dark"), "color-scheme: dark; }",
        ]
    )  # fmt: skip


def _properties(ground: Ground, theme: str) -> list[str]:
    series = SERIES_LIGHT if theme == "light" else SERIES_DARK
    return [
        *(f"--{name}: {value};" for name, value in ground._asdict().items()),
        *(f"--s-{name}: {getattr(look, theme)};" for name, look in LOOKS.items()),
        *(f"--c-{name}: {value};" for name, value in series.items()),
    ]


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours as WCAG 2 defines it, 1 to 21."""
    bright, dim = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def linear(colour: str) -> tuple[float, float, float]:
    """Return linear RGB, 0 to 1, of ``#rrggbb``."""
    red, green, blue = (_linear(int(colour[n : n + 2], 16) / 255) for n in (1, 3, 5))
    return red, green, blue


def _luminance(colour: str) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
