"""A bundle of a real model, two sensors by four steps, and its parts.

``data/tiny_4x2.tflite`` is `offbeat_train.export.integer.build_graph` on
seeded random weights (window 4, patch 1, LSTMs of 3 units, rank 2): small
enough to keep, and it needs no TensorFlow here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from offbeat_edge import archive, bundle, canonical, golden, knownanswer, manifest
from offbeat_edge.interpreter import Interpreter

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_edge.manifest import Manifest

DATA = Path(__file__).parent / "data"
TINY = (DATA / "tiny_4x2.tflite").read_bytes()
SMALL = (DATA / "small_lstm.tflite").read_bytes()  # eight steps, as `export` writes it today
ABORTS_AT = (6632, 0x08)  # this bit flipped, LiteRT 2.3 and tflite-runtime 2.14 abort


def golden_bytes() -> bytes:
    """Fixed windows with made-up answers."""
    windows = np.linspace(-1.0, 1.0, 3 * 4 * 2).reshape(3, 4, 2)
    return golden.encode(
        golden.Golden(windows, np.array([0.5, 0.9, 2.0]), np.full((3, 2), 0.5)),
    )


def members(**changes: bytes) -> dict[str, bytes]:
    return {bundle.MODEL: TINY, bundle.GOLDEN: golden_bytes(), **changes}


def packed(plain: Manifest) -> bytes:
    """The bytes of a good bundle."""
    parts = members()
    return archive.pack({**parts, bundle.MANIFEST: manifest.seal(plain, parts)})


def forged(plain: Manifest, change: Callable[[dict[str, object]], None]) -> bytes:
    """A bundle in perfect form whose manifest document was changed."""
    parts = members()
    document = canonical.loads(manifest.seal(plain, parts))
    assert isinstance(document, dict)
    change(document)
    return archive.pack({**parts, bundle.MANIFEST: canonical.dumps(document)})


def answered(plain: Manifest, model: bytes = TINY) -> tuple[Manifest, dict[str, bytes]]:
    """Manifest and members whose golden answers are those of the runtime here."""
    runner = Interpreter(TINY)
    windows = np.random.default_rng(1).normal(size=(12, 4, 2)) * 2.0
    found = knownanswer.answer(plain, windows, runner)
    keep = golden.decisive(found.scores, epsilon=plain.epsilon)
    kept = golden.Golden(*(part[keep] for part in found))
    here = knownanswer.answer(plain, kept.windows, runner)
    check = manifest.RuntimeCheck(
        runtime=runner.runtime, scores_sha256=golden.scores_digest(here.scores), max_diff=0.0
    )
    listed = msgspec.structs.replace(plain, runtimes=(check,))
    return listed, {bundle.MODEL: model, bundle.GOLDEN: golden.encode(kept)}
