"""The palette: legible in light and dark, and for people who see fewer colours."""

from __future__ import annotations

from itertools import combinations

import pytest

from offbeat_console import palette
from offbeat_console.palette import DARK, LIGHT, LOOKS, Ground

# How the three kinds of colour-blindness see linear RGB (Machado, Oliveira, Fernandes 2009,
# severity 1).
SIGHT = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
                   (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
                     (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602),
                   (0.004733, 0.691367, 0.303900)),
}  # fmt: skip
ALARMING = ("anomaly", "sensor_fault", "stale", "degraded")
APART = 10.0  # CIE76 distance in Lab; 2.3 is just noticeable
THEMES = [pytest.param("light", LIGHT, id="light"), pytest.param("dark", DARK, id="dark")]


def lab(rgb: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = (min(1.0, max(0.0, part)) for part in rgb)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def distance(one: str, other: str, sight: str) -> float:
    seen = []
    for colour in (one, other):
        rgb = palette.linear(colour)
        rows = SIGHT[sight]
        seen.append(lab(tuple(sum(m * c for m, c in zip(row, rgb, strict=True)) for row in rows)))
    return float(sum((a - b) ** 2 for a, b in zip(*seen, strict=True)) ** 0.5)


@pytest.mark.parametrize(("theme", "ground"), THEMES)
def test_every_text_is_legible_on_both_grounds(theme: str, ground: Ground) -> None:
    texts = {name: getattr(look, theme) for name, look in LOOKS.items()}
    texts |= {"ink": ground.ink, "muted": ground.muted, "accent": ground.accent}
    for name, colour in texts.items():
        for under in (ground.page, ground.panel):
            assert palette.contrast(colour, under) >= 4.5, (name, under)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_of_a_chart_stand_out(theme: str) -> None:
    ground = LIGHT if theme == "light" else DARK
    series = palette.SERIES_LIGHT if theme == "light" else palette.SERIES_DARK
    for name, colour in series.items():
        assert palette.contrast(colour, ground.panel) >= 3.0, name


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_alarming_states_are_told_apart_by_every_eye(theme: str, sight: str) -> None:
    for one, other in combinations(ALARMING, 2):
        apart = distance(getattr(LOOKS[one], theme), getattr(LOOKS[other], theme), sight)
        assert apart > APART, (one, other, apart)


def test_no_state_is_told_by_colour_alone() -> None:
    assert len({look.word for look in LOOKS.values()}) == len(LOOKS)
    assert len({(look.path, look.filled) for look in LOOKS.values()}) == len(LOOKS)


def test_every_state_a_daemon_knows_has_a_look() -> None:
    from typing import get_args  # noqa: PLC0415

    from offbeat_edge.schema import State  # noqa: PLC0415

    assert set(get_args(State)) <= LOOKS.keys()
