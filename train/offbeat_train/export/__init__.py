"""From a trained network to the integer TFLite file that a device runs.

Rules: the file is written tensor by tensor (``flatbuffer``), with scales from
what training windows do in the float network (``ranges``) and the LSTM
unrolled into 8-bit operators (``integer``).  TensorFlow's converter has no
part in it.  The same model and windows give the same bytes.

>>> data = export(model, spec, windows)  # doctest: +SKIP
>>> "WHILE" in op_names(data)  # doctest: +SKIP
False
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from offbeat_train.export.flatbuffer import op_names
from offbeat_train.export.integer import build_graph
from offbeat_train.export.ranges import forward
from offbeat_train.network import weights_of

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from offbeat_train.network import NetworkSpec

__all__ = ["export", "op_names"]

REPRESENTATIVE = 2000  # windows looked at for the scales


def export(
    model: keras.Model,
    spec: NetworkSpec,
    representative: NDArray[np.float32],
    judged: NDArray[np.intp] | None = None,
) -> bytes:
    """Quantize a trained model.

    Parameters
    ----------
    model : made by `network.build` from ``spec``, trained.
    representative : training windows (N, T, F), scaled; at most
        `REPRESENTATIVE`, evenly spaced, are used.
    judged : columns of the sensors whose reconstruction is read and that may leave the
        integers' range; all when None.

    Returns
    -------
    The TFLite file.
    """
    count = min(len(representative), REPRESENTATIVE)
    keep = np.linspace(0, len(representative) - 1, count).astype(np.intp)
    weights = weights_of(model, spec)
    columns = np.arange(spec.sensors) if judged is None else judged
    ranges = forward(weights, spec, representative[keep], columns).ranges
    return build_graph(weights, spec, ranges, columns)
