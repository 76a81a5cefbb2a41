"""How the linear path answers what the integers cut off.

Purpose: a sensor that leaves the range of the model's integers is cut to it,
and what a machine often does together (all its levels drift) would look like
a fault of that sensor.  The network's linear path has no such end: what was
cut off is projected on its components and back here, in floats, and added to
the reconstruction.  Nor do the components end where the integers do: of one that
stands at an end, what it is beyond that goes back too.  The weights are the
model's own and what their rounding to 8 bits left: far out, a hundredth of a
level is more than all noise.

Rules: a window inside both ranges costs comparisons and is left as it is, to
the bit.  Only judged sensors go on, as far as residuals are told apart; a
rare command, hundreds of its tiny deviations out, says no more than that it
is there.  Each window is answered alone, with products and sums folded as the
detector's are and no matrix product, so the result depends neither on the
batch nor on the processor.  The weights become floats when the first window
needs them.

>>> from offbeat_edge.modelfile import LinearPath, Matrix
>>> matrix = Matrix(np.array([[100, 100]], np.int16), 0.01)
>>> path = LinearPath(matrix, Matrix(matrix.values.T, 0.005), np.array([True]))
>>> recon = np.full((1, 2, 1), 10.0)
>>> Beyond(path, most=10.0, step=1 / 127).add(np.array([[[14.0], [12.0]]]), recon)
>>> recon.ravel().tolist()
[13.0, 13.0]
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from offbeat_edge.detector import RESIDUAL_LIMIT, fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_edge.modelfile import LinearPath

    Floats = NDArray[np.float64]
    Steps = NDArray[np.int8]

END = 127  # steps; an 8-bit number there, above or below zero, may have been cut


def at_an_end(components: Steps) -> bool:
    """Whether one of the ``components`` may have been cut."""
    plain = components.tobytes()  # half as dear as a comparison of arrays so small
    return b"\x7f" in plain or b"\x81" in plain or b"\x80" in plain  # 127, -127 and -128


class Beyond:
    """The linear path of a model whose inputs end at ``most``.

    Parameters
    ----------
    path : as the model's file names it.
    most : scaled units, above and below zero.
    step : of the components, in their own unit.
    """

    def __init__(self, path: LinearPath, *, most: float, step: float) -> None:
        self._path = path
        self._most = most
        self._step = step
        self._end = np.where(path.judged, RESIDUAL_LIMIT, most)

    def add(self, windows: Floats, recon: Floats) -> None:
        """Add to ``recon`` the answer to what of ``windows`` was cut; (N, T, F) both."""
        cut = np.clip(windows, -self._end, self._end) - np.clip(windows, -self._most, self._most)
        for n in np.flatnonzero(cut.any(axis=(1, 2))):
            recon[n] += self._answer(cut[n].ravel()).reshape(recon[n].shape)

    def complete(self, steps: Steps, components: Steps, recon: Floats) -> None:
        """Add to ``recon`` what of the components was cut.

        Parameters
        ----------
        steps : (N, T, F) the windows as the model saw them; its sums of
            products of whole numbers are exact in any order.
        components : (N, rank) as the model tells them.
        recon : (N, T, F)
        """
        inward, outward = self._path.inward, self._weights[1]
        unit = inward.scale * self._most / END
        for n, c in np.argwhere((components >= END) | (components <= -END)).tolist():
            exact = inward.values[c].dot(steps[n].ravel().astype(np.int64)).item()
            rest = exact * unit - components[n, c].item() * self._step
            recon[n] += (outward[c] * rest).reshape(recon[n].shape)

    def _answer(self, cut: Floats) -> Floats:
        """Project ``cut`` (T x F,) on the components and back."""
        inward, outward = self._weights
        out = np.flatnonzero(cut)
        components = fold(inward[out] * cut[out, None], axis=0)
        return fold(outward * components[:, None], axis=0)

    @cached_property
    def _weights(self) -> tuple[Floats, Floats]:
        """Both as rows to be weighed and summed: (T x F, rank) and (rank, T x F)."""
        inward, outward = (
            np.ascontiguousarray(matrix.values.T.astype(np.float64) * matrix.scale)
            for matrix in (self._path.inward, self._path.outward)
        )
        return inward, outward
