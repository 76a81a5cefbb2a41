"""What is freed goes back to the system, and a batch of messages ends without a look for cycles."""

from __future__ import annotations

import gc
import os
import platform

import pytest

from offbeat_edge import spare
from offbeat_edge.bench.process import resident


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others have no malloc_trim")
def test_what_is_freed_in_the_midst_of_the_heap_goes_back() -> None:
    held = [b"x" * 100_000 for _ in range(400)]
    del held[::2]
    before = resident(os.getpid())
    spare.trim()
    assert before - resident(os.getpid()) > 10_000_000


def test_no_look_for_cycles_in_a_batch() -> None:
    before, looks = gc.get_threshold(), []
    gc.callbacks.append(lambda *_: looks.append(1))
    try:
        spare.collect_seldom()
        gc.collect()
        looks.clear()
        batch = [{n: [n]} for n in range(5_000)]
        assert (len(batch), looks) == (5_000, [])
    finally:
        gc.callbacks.pop()
        gc.set_threshold(*before)
