"""Golden windows: inputs with the answers they must get.

Rules: a fixed binary layout and nothing to execute: 8 bytes of magic, then
N, T, F and a zero as little-endian uint32, then float64 little-endian
windows (N, T, F), scores (N,) and shares (N, F).  Windows are in scaled
units, scores are the detector's (1.0 is the threshold).

>>> golden = Golden(windows=np.zeros((1, 2, 1)), scores=np.array([0.5]), shares=np.ones((1, 1)))
>>> len(encode(golden))
56
>>> decode(encode(golden), where="x").scores
array([0.5])
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_edge.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MAGIC = b"OBGOLD1\n"
GOLDEN_MAX = 1024  # windows
_HEADER = struct.Struct("<8s4I")
_FLOAT = np.dtype("<f8")


class Golden(NamedTuple):
    """N windows of T steps and F sensors, with their answers."""

    windows: Floats  # (N, T, F) scaled units
    scores: Floats  # (N,)
    shares: Floats  # (N, F)


def decisive(scores: Floats, *, epsilon: float) -> NDArray[np.bool_]:
    """Which ``scores`` (N,) stay on their side of 1.0 when they move by ``epsilon``.

    Only these may become golden: another runtime may move a score that far.
    """
    result: NDArray[np.bool_] = np.abs(scores - 1.0) > epsilon
    return result


def scores_digest(scores: Floats) -> str:
    """SHA-256 of ``scores`` (N,) as float64 little-endian, hex: equal to the bit or not."""
    return hashlib.sha256(np.ascontiguousarray(scores, dtype=_FLOAT).tobytes()).hexdigest()


def encode(golden: Golden) -> bytes:
    """Write the member's bytes."""
    count, steps, width = golden.windows.shape
    arrays = (np.ascontiguousarray(part, dtype=_FLOAT).tobytes() for part in golden)
    return _HEADER.pack(MAGIC, count, steps, width, 0) + b"".join(arrays)


def decode(data: bytes, *, where: str) -> Golden:
    """Read the member's bytes; the arrays are read-only views.

    Raises
    ------
    BundleError : not the layout, a wrong length, or a number that is not finite.
    """
    if len(data) < _HEADER.size or data[: len(MAGIC)] != MAGIC:
        raise BundleError(f"{where}: expected golden windows, got bytes starting {data[:8]!r}")
    _, count, steps, width, zero = _HEADER.unpack_from(data)
    if not 1 <= count <= GOLDEN_MAX or zero:
        raise BundleError(f"{where}: expected 1 to {GOLDEN_MAX} golden windows, got {count}")
    cells = count * (steps * width + 1 + width)
    expected = _HEADER.size + cells * _FLOAT.itemsize
    if len(data) != expected:
        raise BundleError(f"{where}: expected {expected} bytes, got {len(data)}")
    flat = np.frombuffer(data, dtype=_FLOAT, offset=_HEADER.size)
    if not np.isfinite(flat).all():
        raise BundleError(f"{where}: expected finite numbers, got NaN or infinity")
    windows, scores, shares = np.split(flat, [count * steps * width, count * (steps * width + 1)])
    return Golden(
        windows=windows.reshape(count, steps, width),
        scores=scores,
        shares=shares.reshape(count, width),
    )
