"""Many windows, judged a block at a time.

Rules: what is judged by window comes out the same to the bit in any block,
and the room it takes no longer grows with the windows.

>>> in_blocks(lambda windows: windows.mean(axis=(1, 2)), np.ones((3, 2, 1))).tolist()
[1.0, 1.0, 1.0]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CELLS = 1_000_000  # numbers of one block, about; what judges it holds some ten times that


def in_blocks(judge: Callable[..., Floats], *arrays: Floats) -> Floats:
    """Join what ``judge`` makes of blocks of ``arrays``, each (N, T, F) with N >= 1."""
    size = max(1, CELLS // arrays[0][0].size)
    starts = range(0, len(arrays[0]), size)
    return np.concatenate([judge(*(a[start : start + size] for a in arrays)) for start in starts])
