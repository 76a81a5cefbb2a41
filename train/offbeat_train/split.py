"""Which windows train, which validate, which calibrate: always in time order.

Rules: a window belongs to a part only when all its rows do, so no two parts
share a row.  Long histories are split once (the last rows calibrate).
Short ones are cut into ``FOLDS`` blocks; each is held out in turn by a
network that never saw it, and the last network trains on everything.

>>> [split.name for split in splits(prepared)]  # doctest: +SKIP
['block 1', 'block 2', 'block 3', 'block 4']
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from offbeat_train.defaults import SHORTEST, shorter_window
from offbeat_train.errors import DataError
from offbeat_train.prepare import Prepared, prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_train.health import Health
    from offbeat_train.history import History

    Floats = NDArray[np.float64]
    Floats32 = NDArray[np.float32]
    Ints = NDArray[np.int64]

FOLDS = 4
FOLD_ROWS = 6_000  # with fewer rows, blocks are held out in turn
TRAIN_SHARE, VALIDATION_SHARE = 0.65, 0.15  # of each asset's rows; the rest calibrates
HELD_OUT_CELLS = 12_000_000  # numbers in all held-out windows, about, at most ...
STRETCH_WINDOWS = 8  # ... taken in stretches of so many window lengths, evenly spread
MIN_WINDOWS = 4  # in each part
GOLDEN = (5.0**0.5 - 1.0) / 2.0  # multiples of it, modulo 1, leave no part of [0, 1) bare


class Windows:
    """Windows (N, T, F) over shared rows, copied only when indexed.

    Parameters
    ----------
    rows : (S, F) float64 or float32, scaled.
    ends : (N,) int64, the row at which each window ends.
    size : T.
    """

    ndim = 3

    def __init__(self, rows: Floats | Floats32, ends: Ints, size: int) -> None:
        view = np.lib.stride_tricks.sliding_window_view(rows, size, axis=0)
        self._view: NDArray[Any] = view.swapaxes(1, 2)
        self.ends = ends
        self.size = size
        self.shape = (len(ends), size, rows.shape[1])

    def __len__(self) -> int:
        """Return N."""
        return len(self.ends)

    def __getitem__(self, index: NDArray[np.intp] | slice) -> Floats:
        """Copy some windows, (n, T, F), in the rows' type."""
        picked: Floats = self._view[self.ends[index] - (self.size - 1)]
        return picked

    def spread(self, most: int) -> Floats:
        """Copy at most so many windows, evenly spaced."""
        count = min(len(self), most)
        return self[np.linspace(0, len(self) - 1, count).astype(np.intp)]


@dataclass(frozen=True, kw_only=True)
class Split:
    """One division of the windows; ``run`` (N,) numbers the calibration's runs."""

    name: str
    train: Windows
    validation: Windows
    held_out: Windows
    run: NDArray[np.intp]
    stride: int  # steps between held-out windows

    def lacks(self) -> str | None:
        """Name a part with too few windows, or None."""
        parts = {"training": self.train, "validation": self.validation,
                 "calibration": self.held_out}  # fmt: skip
        return next((what for what, part in parts.items() if len(part) < MIN_WINDOWS), None)

    def too_little(self, prepared: Prepared) -> DataError:
        """Say that windows are lacking, with the figures."""
        size, runs = prepared.plan.window, int(prepared.run[-1]) + 1
        have = f"{len(prepared.rows)} complete rows in {runs} stretches without a gap"
        return DataError(
            f"expected at least {MIN_WINDOWS} windows of {size} rows each for training, "
            f"validation and calibration, got too few for {self.lacks()} from {have}; "
            "a longer history or a shorter --window helps",
            window=size,
        )


def splits(prepared: Prepared) -> list[Split]:
    """Divide the windows; four splits for a short history, one for a long one.

    Raises
    ------
    DataError : a part has too few windows.
    """
    if len(prepared.rows) >= FOLD_ROWS:
        last = TRAIN_SHARE + VALIDATION_SHARE
        parts = ((0.0, TRAIN_SHARE), (TRAIN_SHARE, last), (last, 1.0))
        only = _split(prepared, "the last rows", *parts)
        if only.lacks():
            raise only.too_little(prepared)
        return [only]
    found = [_fold(prepared, index) for index in range(FOLDS)]
    whole = [split for split in found if not split.lacks()]
    if not whole:
        raise found[0].too_little(prepared)
    return whole


def divide(
    history: History,
    health: Health,
    *,
    period_ms: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    scatter_ms: int | None = None,
) -> tuple[Prepared, list[Split]]:
    """Prepare and split a history; a window that nobody asked for gives way.

    What suits the beat may be more than gaps, or many short recordings, leave
    room for in each part: then shorter ones are tried, down to ``SHORTEST``.
    With ``scatter_ms`` the parts are blocks of that length from all over the
    history, so that a threshold knows every regime in it.

    Raises
    ------
    DataError : as `prepare` and `splits` do, of the shortest window tried.
    """
    size = window
    while True:
        try:
            prepared = prepare(history, health, period_ms=period_ms, window=size, stride=stride)
            if scatter_ms is not None:
                prepared = scattered(prepared, scatter_ms)
            return prepared, splits(prepared)
        except DataError as error:
            if window is not None or error.window is None or error.window <= SHORTEST:
                raise
            size = shorter_window(error.window)


def scattered(prepared: Prepared, block_ms: int) -> Prepared:
    """Give each block of time a place of its own, evenly spread whatever part one takes."""
    place = (prepared.times_ms // block_ms).astype(np.float64) * GOLDEN % 1.0
    return replace(prepared, place=np.asarray(place, dtype=np.float64))


def everything(prepared: Prepared) -> Windows:
    """Give every window of the history."""
    ends = window_ends(prepared, np.zeros(len(prepared.rows), dtype=np.int64))
    return Windows(prepared.rows32, ends, prepared.plan.window)


def window_ends(prepared: Prepared, part: Ints) -> Ints:
    """Give the rows at which windows of one run and one ``part`` (S,) end.

    Rows whose part is negative belong to no window.
    """
    size = prepared.plan.window
    fresh = np.ones(len(part), dtype=bool)
    fresh[1:] = (np.diff(part) != 0) | (np.diff(prepared.run) != 0)
    index = np.arange(len(part))
    start = np.maximum.accumulate(np.where(fresh, index, 0))
    return np.flatnonzero((index - start + 1 >= size) & (part >= 0))


def _fold(prepared: Prepared, index: int) -> Split:
    """Hold out block ``index``; half of the block after it validates."""
    beside = (index + 1) % FOLDS
    held = (index / FOLDS, (index + 1) / FOLDS)
    validation = ((beside + 0.5) / FOLDS, (beside + 1) / FOLDS)
    return _split(prepared, f"block {index + 1}", None, validation, held)


def _split(
    prepared: Prepared,
    name: str,
    train: tuple[float, float] | None,
    validation: tuple[float, float],
    held: tuple[float, float],
) -> Split:
    """Cut by place; ``train`` of None is all that the others leave."""
    size, rows = prepared.plan.window, prepared.rows
    in_held, in_validation = _within(prepared, held), _within(prepared, validation)
    rest = ~in_held & ~in_validation
    in_train = rest if train is None else rest & _within(prepared, train)
    most = HELD_OUT_CELLS // (size * rows.shape[1]) + 1
    stride = max(1, min(prepared.plan.stride, -(-int(in_held.sum()) // most)))
    held_ends = _marked(prepared, in_held)
    held_ends = _thinned(held_ends[held_ends % stride == 0], most, STRETCH_WINDOWS * size // stride)
    short = prepared.rows32
    gap = np.ones(len(held_ends), dtype=bool)
    gap[1:] = np.diff(held_ends) != stride
    return Split(
        name=name,
        train=Windows(short, _marked(prepared, in_train), size),
        validation=Windows(short, _marked(prepared, in_validation), size),
        held_out=Windows(rows, held_ends, size),
        run=np.cumsum(gap) - 1,
        stride=stride,
    )


def _thinned(ends: Ints, most: int, stretch: int) -> Ints:
    """Keep about ``most`` ends, in whole stretches, as neighbours belong together."""
    if len(ends) <= most:
        return ends
    count = -(-len(ends) // stretch)
    kept = np.linspace(0, count - 1, max(1, most // stretch)).astype(np.int64)
    chosen = np.zeros(count, dtype=bool)
    chosen[kept] = True
    thinned: Ints = ends[np.repeat(chosen, stretch)[: len(ends)]]
    return thinned


def _within(prepared: Prepared, span: tuple[float, float]) -> NDArray[np.bool_]:
    low, high = span
    inside: NDArray[np.bool_] = (prepared.place >= low) & (prepared.place < high)
    return inside


def _marked(prepared: Prepared, inside: NDArray[np.bool_]) -> Ints:
    return window_ends(prepared, np.where(inside, 0, -1).astype(np.int64))
