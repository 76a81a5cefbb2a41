"""Which sensor a score comes from: what is left of it when one is as the others say.

`each_out` asks that of suspects in turn, `all_out` of some known to be faulty, at once.

A model spreads one sensor's fault over what it makes of all that go with it,
so residuals alone name the wrong one.  Here each suspect is taken out in
turn: in the whole window its readings give way to what the model makes of
them, a few times over, until they are what the other sensors ask for.  Its
part is what vanishes of the squared score, over what is left (so is the
reconstruction-based contribution of Alcala and Qin, 2009, found, but through
the model itself): one that accounts for all of it leaves nothing to others.

Rules: a function of one window, elementwise in float64 but for the model.
It costs as many windows as suspects in each round: ask for what is told only.

>>> import numpy as np
>>> def mean_of_both(windows):
...     return np.repeat(windows.mean(axis=2, keepdims=True), 2, axis=2)
>>> window = np.array([[8.0, 0.0]])
>>> recon, both = mean_of_both(window[None])[0], np.array([0, 1])
>>> windows, _ = each_out(window, recon, both, mean_of_both)
>>> windows.round(1).tolist()
[[[0.0, 0.0]], [[8.0, 8.0]]]
>>> all_out(window, np.array([1]), mean_of_both)[0].round(1).tolist()
[[[8.0, 8.0]]]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Reconstruct = Callable[[Floats], Floats]  # (N, T, F) scaled → (N, T, F) scaled

SUSPECTS = 16  # sensors taken out at most
ROUNDS = 4  # of drawing a sensor anew
LEAST = 1e-6  # what is left of a squared score counts as this much at least
REACH = 1.5  # of the way to what the model makes of it, as the model follows a fault in part


def each_out(
    window: Floats, recon: Floats, suspects: NDArray[np.intp], reconstruct: Reconstruct
) -> tuple[Floats, Floats]:
    """Take out each of K suspects in turn.

    Parameters
    ----------
    window, recon : (T, F) scaled.
    suspects : (K,) columns.

    Returns
    -------
    (K, T, F) windows, in each of which one suspect is as the others say, and
    their reconstructions.
    """
    count = len(suspects)
    out = np.eye(window.shape[1], dtype=bool)[suspects][:, None]
    return _drawn(
        np.repeat(window[None], count, axis=0), np.repeat(recon[None], count, axis=0),
        out, reconstruct,
    )  # fmt: skip


def all_out(
    window: Floats, columns: NDArray[np.intp], reconstruct: Reconstruct
) -> tuple[Floats, Floats]:
    """Take out the sensors of ``columns`` of ``window`` (T, F) together.

    They begin at their usual level, for what they said may be any number.
    Returns the window, (1, T, F), and its reconstruction.
    """
    out = np.zeros(window.shape[1], dtype=bool)
    out[columns] = True
    begun = np.where(out, 0.0, window)[None]
    return _drawn(begun, reconstruct(begun), out, reconstruct)


def _drawn(
    windows: Floats, recons: Floats, out: NDArray[np.bool_], reconstruct: Reconstruct
) -> tuple[Floats, Floats]:
    """Draw what is ``out``, (K, 1, F) or (F,), of windows (K, T, F) anew, a few times over."""
    for _ in range(ROUNDS):
        # a new array: what runs the model may have kept the last one
        windows = np.where(out, windows + REACH * (recons - windows), windows)
        recons = reconstruct(windows)
    return windows, recons


def parts(raw: Floats, left: Floats) -> Floats:
    """Weigh suspects by ``raw``, (1,), the score, and what was ``left`` of it, (K,) >= 0."""
    whole, rest = raw * raw, left * left
    vanished: Floats = np.maximum(whole - rest, 0.0)
    return vanished / np.maximum(rest, LEAST)
