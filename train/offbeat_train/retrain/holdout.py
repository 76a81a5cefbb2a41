"""Which normal rows train, and which only judge: recent ones, and older ones kept back for good.

Rules: pure.  Time is cut into blocks of one length.  An older block is kept
back when the hash of asset and block says so: the same blocks for every
challenger of a model, so that none of its descendants was ever trained on
them.  Everything from ``recent_ms`` on judges as well; no champion can have
seen it, for it was not there.  What judges falls on two grounds: *recent*, all
that the champion has not seen, and *older*, the time it was trained on.

>>> [kept_back("pump1", block) for block in range(8)]
[True, False, True, False, False, False, False, False]
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_train.errors import DataError
from offbeat_train.recordings import Recording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from offbeat_train.history import History

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

BLOCK_WINDOWS = 8  # window lengths in a block
ONE_IN = 6  # older blocks are kept back
RECENT_SHARE = 0.3  # of what came after the champion's data
FULL = 0.8  # of its length a block must span to judge


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where time is cut."""

    block_ms: int
    recent_ms: int  # a block's edge; from here on nothing trains
    seen_ms: int  # a block's edge: blocks before it are the older ground, others the recent one

    def judges(self, asset: str, times_ms: Ints) -> Bools:
        """Say which records (N,) no training may see."""
        blocks = times_ms // self.block_ms
        out: Bools = times_ms >= self.recent_ms
        for block in np.unique(blocks[~out]).tolist():
            if kept_back(asset, block):
                out |= blocks == block
        return out


class Block(NamedTuple):
    """Records of one asset in one block, without a cut between them."""

    asset: str
    start_ms: int
    times_ms: Ints  # (N,)
    values: NDArray[np.float64]  # (N, F), NaN where absent


def kept_back(asset: str, block: int) -> bool:
    """Say whether an older block only ever judges."""
    hashed = hashlib.sha256(f"{asset}/{block}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") % ONE_IN == 0


def cut_at(history: History, *, seen_ms: int | None, block_ms: int) -> Cut:
    """Choose where the recent rows begin: in the last part of what the champion has not seen.

    Parameters
    ----------
    history : normal rows.
    seen_ms : where the champion's data ended; None when there is no champion.
    """
    times = np.concatenate([recording.times_ms for recording in history.assets.values()])
    fresh = times if seen_ms is None else times[times > seen_ms]
    chosen = fresh if fresh.size else times
    edge = float(np.quantile(chosen, 1.0 - RECENT_SHARE))
    recent = int(edge // block_ms + 1) * block_ms
    border = (seen_ms // block_ms + 1) * block_ms if seen_ms is not None and fresh.size else recent
    return Cut(block_ms=block_ms, recent_ms=recent, seen_ms=min(recent, border))


def training(history: History, cut: Cut) -> History:
    """Leave out all that judges.

    Raises
    ------
    DataError : nothing is left to learn from.
    """
    assets = {}
    for name, recording in history.assets.items():
        left = select(recording, ~cut.judges(name, recording.times_ms))
        if len(left.times_ms):
            assets[name] = left
    if not assets:
        raise DataError("expected normal rows to learn from, got none beside those held out")
    rows = sum(len(recording.times_ms) for recording in assets.values())
    return replace(history, assets=assets, rows=rows)


def select(recording: Recording, kept: Bools) -> Recording:
    """Keep some records (N,); nothing may span those left out."""
    index = np.flatnonzero(kept)
    before = np.zeros(len(kept), dtype=bool)
    before[recording.cuts] = True
    # A cut before a kept record, where anything between it and the last kept one was cut out.
    place = np.cumsum(before | np.concatenate([[False], ~kept[:-1]]))
    cuts = np.flatnonzero(np.diff(place[index]) != 0) + 1 if index.size else index
    return Recording(
        times_ms=recording.times_ms[index], values=recording.values[index],
        row=recording.row[index], cuts=cuts.astype(np.int64),
    )  # fmt: skip


def judging(history: History, cut: Cut, *, recent: bool) -> Iterator[Block]:
    """Give the blocks that judge, of one of the two grounds, in order of asset and time."""
    for name, recording in history.assets.items():
        judges = cut.judges(name, recording.times_ms)
        judges &= (recording.times_ms >= cut.seen_ms) == recent
        held = select(recording, judges)
        for stretch in held.stretches():
            yield from _blocks(name, held, stretch, cut)


def _blocks(name: str, recording: Recording, stretch: slice, cut: Cut) -> Iterator[Block]:
    times = recording.times_ms[stretch]
    values = recording.values[stretch]
    block = times // cut.block_ms
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(times)]
    for first, end in itertools.pairwise(edges):
        own = times[first:end]
        if own[-1] - own[0] >= FULL * cut.block_ms:
            start = int(block[first]) * cut.block_ms
            yield Block(name, start, own, values[first:end])
