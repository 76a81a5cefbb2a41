"""Windows judged a block at a time are judged as all at once."""

from __future__ import annotations

import numpy as np

from offbeat_train import blocks
from offbeat_train.blocks import in_blocks


def test_blocks_change_no_bit_and_stay_small() -> None:
    windows = np.random.default_rng(0).normal(size=(5, blocks.CELLS // 3, 1))
    seen: list[int] = []

    def judge(part: blocks.Floats, other: blocks.Floats) -> blocks.Floats:
        seen.append(len(part))
        return np.asarray((part * other).mean(axis=(1, 2)))

    whole = np.asarray((windows * windows).mean(axis=(1, 2)))
    assert np.array_equal(in_blocks(judge, windows, windows), whole)
    assert seen == [3, 2]
