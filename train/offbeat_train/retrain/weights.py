"""The float network beside its bundle, so that the next one can go on from it.

Rules: weights as Keras orders them, in NumPy's own archive, no pickle; the
sizes come from the bundle's lineage.  What does not fit is no error: the
next network starts cold and says why.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from offbeat_edge.manifest import Manifest
    from offbeat_train.fit import Start

    Floats32 = NDArray[np.float32]


def save(path: Path, weights: list[Floats32]) -> None:
    """Write the weights."""
    named = {f"w{index:03d}": array for index, array in enumerate(weights)}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **named)


def load(path: Path) -> list[Floats32] | None:
    """Read the weights; None when there are none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return [archive[name] for name in sorted(archive.files)]
    except (OSError, ValueError, zipfile.BadZipFile):
        return None


def start(manifest: Manifest, path: Path) -> Start | None:
    """Give what a fit can go on from; None when the champion left nothing usable."""
    from offbeat_train.fit import Start  # noqa: PLC0415 - it brings TensorFlow
    from offbeat_train.network import NetworkSpec  # noqa: PLC0415

    weights = load(path)
    sizes = manifest.lineage.config.get("network")
    if weights is None or not isinstance(sizes, dict):
        return None
    spec = NetworkSpec(
        window=manifest.model.window, sensors=len(manifest.sensors), patch=sizes["patch"],
        encoder=tuple(sizes["encoder"]), latent=sizes["latent"],
        decoder=tuple(sizes["decoder"]), rank=sizes["rank"], mask=sizes["mask"],
    )  # fmt: skip
    return Start(spec=spec, weights=weights, sensors=tuple(s.name for s in manifest.sensors))
