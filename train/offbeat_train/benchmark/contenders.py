"""Who is measured beside the integer model, on the very same windows.

Rules: every contender with a reconstruction walks through the device's own
windows, detector and alert rule, with weights and threshold calibrated on
the same held-out windows by the same rule.  The float model shares the
integer model's calibration, so that only the integers differ.

``offbeat``     the integer model, as ``fit`` ships it
``online``      the same, each row under the score that was in force when it came;
                the others' rows are ranked in hindsight, as published methods do
``float``       the same network before it became integers
``pca``         windowed PCA
``untrained``   the network before training: its linear path alone, for what
                the LSTM adds starts at zero
``zero``        always expects the mean
``forest``      isolation forest of scikit-learn on the flattened windows
``always``      an alarm that never ends
``random``      a coin for each row

For NASA's recordings two more, ``offbeat-orion`` and ``pca-orion``: the same
scores under Orion's threshold, which looks at the whole test signal.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from sklearn.ensemble import IsolationForest

from offbeat_edge.detector import scored_columns
from offbeat_edge.model import Fits, Judged, Model
from offbeat_train import network
from offbeat_train.benchmark.forest import Forest
from offbeat_train.calibration import WEEK_MS, block_maxima, calibrate, return_level
from offbeat_train.export.ranges import forward
from offbeat_train.fit import SAMPLE, SAMPLE_CELLS
from offbeat_train.split import everything

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from offbeat_edge.manifest import Manifest
    from offbeat_edge.model import Reconstructor
    from offbeat_train.defaults import Linear
    from offbeat_train.fit import Fitted
    from offbeat_train.split import Windows

    Floats = NDArray[np.float64]

NAMES = ("offbeat", "online", "float", "pca", "untrained", "zero", "forest", "always", "random")
AFTERWARDS = {"offbeat-orion": "offbeat", "pca-orion": "pca"}  # whose scores they are


def models(fitted: Fitted, manifest: Manifest, shipped: Model) -> dict[str, Model]:
    """Give every contender that judges windows, ready for an engine."""
    last, judged = fitted.trained.plain, scored_columns(fitted.prepared.sensors)
    path = partial(_Path, rank=fitted.spec.rank, judged=judged)
    paths = [path(plain.path) for plain in fitted.plain]
    pcas = [plain.pca for plain in fitted.plain]
    floats = _Float(fitted)
    return {
        "offbeat": shipped,
        "float": _model(manifest, floats),
        "pca": _calibrated(fitted, manifest, pcas, last.pca, plain=True),
        "untrained": _calibrated(fitted, manifest, paths, path(last.path)),
        "zero": _calibrated(fitted, manifest, [_Zero() for _ in paths], _Zero()),
        "forest": _forest(fitted, manifest),
    }


class _Zero:
    """Reconstructs the mean of every sensor."""

    def reconstruct(self, windows: Floats) -> Floats:
        return np.zeros_like(windows)


class _Float:
    """The trained network in float32, in numpy: tracing a graph takes longer than all of it."""

    def __init__(self, fitted: Fitted) -> None:
        model = network.build(fitted.spec, fitted.options.seed)
        model.set_weights(fitted.trained.weights)
        self._spec, self._weights = fitted.spec, network.weights_of(model, fitted.spec)
        self._judged = scored_columns(fitted.prepared.sensors)

    def reconstruct(self, windows: Floats) -> Floats:
        if not len(windows):
            return np.zeros_like(windows)
        found = forward(self._weights, self._spec, windows.astype(np.float32))
        recon = (found.linear + found.correction).astype(np.float64)
        return (recon + self._beyond(windows)).reshape(windows.shape)

    def _beyond(self, windows: Floats) -> Floats:
        """Answer to what was cut off, (N, T x F), with the linear path."""
        over = network.cut(windows, self._judged) - np.clip(windows, -network.CLIP, network.CLIP)
        over = over.reshape(len(windows), -1)
        if self._weights.linear is None or not over.any():
            return np.zeros_like(over)
        inward, outward = self._weights.linear
        return np.asarray(over @ inward.kernel @ outward.kernel, np.float64)


class _Path:
    """The linear path of the network, in float64."""

    def __init__(self, path: Linear, rank: int, judged: NDArray[np.intp]) -> None:
        self._judged = judged
        self._mean = path.mean
        self._inward = path.components[:, :rank]
        self._outward = (path.components * path.gains)[:, :rank].T

    def reconstruct(self, windows: Floats) -> Floats:
        flat = network.cut(windows, self._judged).reshape(len(windows), -1)
        back = (flat - self._mean) @ self._inward @ self._outward + self._mean
        return np.asarray(back.reshape(windows.shape), dtype=np.float64)


def _grown(windows: Windows, fitted: Fitted) -> Forest:
    """Fit a forest to what the network was trained on."""
    sample = windows.spread(min(SAMPLE, 1 + SAMPLE_CELLS // fitted.spec.size))
    flat = sample.reshape(len(sample), -1)
    return Forest(IsolationForest(random_state=fitted.options.seed).fit(flat))


class _Forest(Model):
    """An isolation forest in the place of network and detector."""

    def __init__(
        self, *, manifest: Manifest, forest: Forest, scale: float, threshold: float
    ) -> None:
        super().__init__(manifest=manifest, digest="", config_digest="", interpreter=None)
        self._forest, self._scale, self._threshold = forest, scale, threshold

    def judge(self, windows: Floats, fits: Fits | None = None) -> Judged:  # noqa: ARG002
        scaled = (windows - self._center) / self._spread
        score = _isolation(self._forest, scaled) / self._scale / self._threshold
        even = np.full((len(windows), len(self.names)), 1.0 / len(self.names))
        return Judged(score, even, None, windows[:, -1].copy())


def _model(manifest: Manifest, reconstructor: Reconstructor) -> Model:
    return Model(manifest=manifest, digest="", config_digest="", interpreter=reconstructor)


def _calibrated(
    fitted: Fitted,
    manifest: Manifest,
    held: Sequence[Reconstructor],
    final: Reconstructor,
    *,
    plain: bool = False,
) -> Model:
    """Weigh and set the threshold as ``fit`` does, on the same held-out windows.

    ``plain`` leaves out the shapes.
    """
    recon = [
        one.reconstruct(split.held_out[:]) for one, split in zip(held, fitted.splits, strict=True)
    ]
    holdout = fitted.holdout._replace(recon=np.concatenate(recon))
    found = calibrate(
        holdout, fitted.prepared.sensors, rows=manifest.detector.rows,
        book=None if plain else fitted.trained.book,
    )  # fmt: skip
    own = msgspec.structs.replace(
        manifest, detector=found.detector, threshold=found.threshold, shape=found.shape,
        fallback=found.fallback,
    )  # fmt: skip
    return _model(own, final)


def _forest(fitted: Fitted, manifest: Manifest) -> Model:
    grown = [_grown(split.train, fitted) for split in fitted.splits]
    final = grown[0] if len(grown) == 1 else _grown(everything(fitted.prepared), fitted)
    raw = np.concatenate([
        _isolation(one, split.held_out[:]) for one, split in zip(grown, fitted.splits, strict=True)
    ])  # fmt: skip
    scale = float(raw.min())  # the tail has a floor at 1, made for residuals
    block_ms = fitted.spec.window * fitted.prepared.plan.period_ms
    every = WEEK_MS / (fitted.calibration.expected_per_week * block_ms)
    threshold = return_level(block_maxima(raw / scale, fitted.holdout), every=every)
    return _Forest(manifest=manifest, forest=final, scale=scale, threshold=threshold)


def _isolation(forest: Forest, windows: Floats) -> Floats:
    """Anomaly score of scaled windows (N, T, F), about 0.3 to 1."""
    flat = np.clip(windows, -network.CLIP, network.CLIP).reshape(len(windows), -1)
    return forest.scores(flat)
