"""Which shard has an asset: rendezvous hashing.

Rules: pure and stable for ever: states on disk depend on it.  Of N shards
that become N + 1, only one asset in N + 1 moves, and only to the new one
(Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
IEEE/ACM Transactions on Networking 6(1), 1998).

>>> [owner(f"pump{n}", 4) for n in range(8)]
[2, 0, 0, 3, 0, 0, 1, 2]
"""

from __future__ import annotations

from hashlib import blake2b


def owner(asset: str, shards: int) -> int:
    """Return the shard, 0 to ``shards`` - 1, that watches ``asset``."""
    return max(range(shards), key=lambda shard: _weight(asset, shard))


def _weight(asset: str, shard: int) -> bytes:
    return blake2b(f"{shard}/{asset}".encode(), digest_size=8).digest()
