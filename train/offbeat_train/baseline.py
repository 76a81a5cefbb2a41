"""Windowed PCA: the plain linear autoencoder that a network has to beat.

Rules: it sees the very windows the network sees; it keeps as many components
as explain ``energy`` of their variance; no labels.

>>> import numpy as np
>>> beat = np.sin(np.arange(400) / 5.0)[:, None]
>>> windows = np.lib.stride_tricks.sliding_window_view(beat, 20, axis=0).swapaxes(1, 2)
>>> pca = WindowedPca.fit(windows)
>>> pca.rank
2
>>> bool(np.abs(pca.reconstruct(windows) - windows).max() < 1e-9)
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_train.defaults import Spectrum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ENERGY = 0.9  # share of the windows' variance that the components keep
MAX_WINDOWS = 5_000  # fitted on at most this many, evenly spaced


class WindowedPca(NamedTuple):
    """Mean window and orthonormal components of flattened windows.

    ``mean`` is (T x F,), ``components`` (T x F, rank).
    """

    mean: Floats
    components: Floats

    @classmethod
    def fit(cls, windows: Floats, *, energy: float = ENERGY) -> WindowedPca:
        """Fit on ``windows`` (N, T, F), scaled; N >= 2."""
        if windows.ndim != 3 or len(windows) < 2:
            raise ValueError(f"baseline: expected windows (N >= 2, T, F), got {windows.shape}")
        keep = np.linspace(0, len(windows) - 1, min(len(windows), MAX_WINDOWS)).astype(np.intp)
        known = Spectrum.of(windows[keep])
        rank = rank_for(known.variances, energy)
        return cls(known.mean, np.ascontiguousarray(known.directions[:, :rank]))

    @property
    def rank(self) -> int:
        """How many numbers a window is squeezed through."""
        return int(self.components.shape[1])

    def reconstruct(self, windows: Floats) -> Floats:
        """Return the nearest windows (N, T, F) in the span of the components."""
        flat = windows.reshape(len(windows), -1) - self.mean
        back = (flat @ self.components) @ self.components.T + self.mean
        return np.asarray(back.reshape(windows.shape), dtype=np.float64)


def rank_for(variances: Floats, energy: float) -> int:
    """Return the fewest leading ``variances`` (descending) that hold ``energy`` of the sum."""
    total = float(variances.sum())
    if total <= 0.0:
        return 1
    share = np.cumsum(variances) / total
    return min(int(np.searchsorted(share, energy)) + 1, len(variances))
