"""The verdict's picture: how near each block of held-out normal rows came to an alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from offbeat_train.report_figures import BLUE, ORANGE, RED, STYLE, WIDTH, svg

if TYPE_CHECKING:
    from offbeat_train.retrain.evidence import Evidence

HIGHEST = 5.0  # strength; what is above is drawn there


def strengths(evidence: Evidence) -> str:
    """Draw both models' block strengths on each ground; above 1 is an alarm."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.4 + 1.8 * len(evidence.grounds)))
        rows = figure.subplots(len(evidence.grounds), 1, squeeze=False)[:, 0]
        for axes, ground in zip(rows, evidence.grounds, strict=True):
            place = np.arange(len(ground.challenger.normal))
            sides = (("champion", ground.champion, ORANGE), ("challenger", ground.challenger, BLUE))
            for name, side, colour in sides:
                if side is not None:
                    drawn = np.minimum(side.normal, HIGHEST)
                    axes.plot(place, drawn, ".", color=colour, label=name, markersize=4)
            axes.axhline(1.0, color=RED, linestyle="--")
            axes.set_ylim(bottom=0.0)
            axes.set_title(f"{ground.name} normal rows")
            axes.set_ylabel("strength")
        rows[0].legend(loc="best", fontsize=7)
        rows[-1].set_xlabel("block")
        return svg(figure, "strengths")
