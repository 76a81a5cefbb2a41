"""Learn the shapes that each sensor draws: a codebook of k-means centers.

Rules: windows as the device will see them, shapes drawn by its own code; as
many codes and numbers as `CELLS` allow for all sensors together, so that a
wide machine does not pay more on the device than a narrow one; a machine of
so many sensors that too few codes would remain gets none, nor does one without
a beat, nor one whose held-out windows show no shapes that come again.

>>> beat = np.sin(np.arange(4000) * 2 * np.pi / 40)[:, None]
>>> windows = np.lib.stride_tricks.sliding_window_view(beat, 40, axis=0).swapaxes(1, 2)
>>> book = learn(windows, np.array([0]))
>>> book.pool, len(book.codes[0]), bool(strangeness(book, windows, np.array([0])).max() < 0.01)
(1, 128, True)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from offbeat_edge.shape import STEPS, Codebook, drawn
from offbeat_train.blocks import in_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CODES, LEAST_CODES = 128, 16  # shapes of a sensor
NUMBERS = (64, 32, 16)  # pooled numbers of a shape, at most; the first that leaves codes enough
CELLS = 24_576  # numbers in all codebooks of a model
WINDOWS = 5_000  # looked at
WINDOWS_PER_CODE = 4
BATCH = 2_048  # windows of one step of k-means
UNKNOWN = 0.2  # of a shape's variance that the nearest code may leave; noise leaves 0.5 and more


class Book(NamedTuple):
    """Codebooks of S sensors; ``codes`` (S, K, D) in whole steps."""

    pool: int
    codes: Floats


def learn(windows: Floats, scored: NDArray[np.intp]) -> Book | None:
    """Learn from normal ``windows`` (N, T, F), scaled; None for too many sensors."""
    sample = windows[np.linspace(0, len(windows) - 1, min(len(windows), WINDOWS)).astype(np.intp)]
    pool, count = _sizes(sample.shape[1], len(scored))
    if count < LEAST_CODES:
        return None
    count = max(1, min(count, len(sample) // WINDOWS_PER_CODE))
    shapes = in_blocks(
        lambda part: drawn(part[..., scored].astype(np.float64), pool).swapaxes(0, 1), sample
    )
    of_sensors = np.ascontiguousarray(shapes.swapaxes(0, 1))
    return Book(pool, np.stack([_centers(of_sensor, count) for of_sensor in of_sensors]))


def strangeness(book: Book, windows: Floats, scored: NDArray[np.intp]) -> Floats:
    """Mean square distance of each sensor's shape to the nearest code, (N, S)."""
    codebook = Codebook(book.codes)
    return in_blocks(lambda part: codebook.distance(drawn(part[..., scored], book.pool)), windows)


def worth_knowing(book: Book, windows: Floats, scored: NDArray[np.intp], strange: Floats) -> bool:
    """Tell whether a book knows the shapes of held-out ``windows`` (N, T, F) at all.

    Sensors that draw noise have no shapes: their nearest code is hardly
    nearer than none.  ``strange`` (N, S) is how far the windows are from it.
    """
    keep = np.linspace(0, len(windows) - 1, min(len(windows), BATCH)).astype(np.intp)
    shapes = drawn(windows[keep][..., scored], book.pool)
    whole = np.square(shapes).mean(axis=(1, 2)) / STEPS**2
    left = strange[keep].mean(axis=0) / np.maximum(whole, 1.0 / STEPS**2)
    return bool(left.mean() < UNKNOWN)


def _sizes(window: int, sensors: int) -> tuple[int, int]:
    """Choose how many steps to pool, and how many codes there is room for."""
    for most in NUMBERS:
        pool = next(q for q in range(1, window + 1) if window % q == 0 and window // q <= most)
        count = min(CODES, CELLS // (sensors * (window // pool)))
        if count == CODES:
            break
    return pool, count


def _centers(shapes: Floats, count: int) -> Floats:
    """K-means of (N, D), rounded to whole steps."""
    means = MiniBatchKMeans(count, n_init=1, random_state=0, batch_size=BATCH)
    return np.asarray(np.rint(means.fit(shapes).cluster_centers_), dtype=np.float64)
