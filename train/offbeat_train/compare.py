"""Is the network worth its weight?  Against windowed PCA, under injected faults.

Rules: both see the same held-out windows, are calibrated by the same rule
and meet the same faults (offset, drift, noise, frozen, swapped) in one
sensor at a time; what counts is the share of faulty windows that score
above 1.0.  Where PCA does as well, the verdict says so.

>>> compare(pairs, holdout, calibration, sensors, seed=0).verdict  # doctest: +SKIP
'windowed PCA catches as many injected faults (61 % against 60 %)'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_edge.scorer import Scorer
from offbeat_train.blocks import in_blocks
from offbeat_train.calibration import calibrate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from offbeat_edge.interpreter import Interpreter
    from offbeat_edge.schema import SensorSpec
    from offbeat_train.baseline import WindowedPca
    from offbeat_train.calibration import Calibration, Holdout
    from offbeat_train.split import Split

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]
    Fault = Callable[[Floats, int, float, np.random.Generator], Floats]

WINDOWS = 400  # perturbed for each fault and magnitude, over all splits
NAMED = 60  # of those caught, looked at for who is named: it costs a score dozens of times over
LARGE = 4.0  # of the sensor's scale
BLIND = 0.5  # of large injected faults; with fewer caught, nobody should rely on a model
MAGNITUDES = (1.0, 2.0, LARGE)
MARGIN = 0.02  # of caught windows; a smaller lead is no lead


class Pair(NamedTuple):
    """What was fitted on one split: the network's integer form and PCA."""

    interpreter: Interpreter
    pca: WindowedPca
    split: Split


class Caught(NamedTuple):
    """Share of perturbed windows above the threshold, 0 to 1."""

    fault: str
    magnitude: float
    network: float
    pca: float
    named: float  # of (some of) its catches, a perturbed sensor came first (swapped: either)
    tried: Ints  # (F,) windows in which each sensor was perturbed
    heard: Ints  # (F,) of these, above the network's threshold


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The figures and what they say."""

    caught: tuple[Caught, ...]
    network: float  # mean share caught
    pca: float
    network_alarms: float  # share of untouched held-out windows above the threshold
    pca_alarms: float
    network_errors: Floats  # (F,) root mean square of the residuals, scaled units
    pca_errors: Floats
    pca_scores: Floats  # (N,) of the untouched held-out windows
    pca_as_good: bool
    verdict: str

    def deaf_to(self) -> list[int]:
        """Sensors of whose large lasting changes few are caught, the least heard first."""
        large = [row for row in self.caught if row.fault in LASTING and row.magnitude >= LARGE]
        tried = np.sum([row.tried for row in large], axis=0)
        share = np.sum([row.heard for row in large], axis=0) / np.maximum(tried, 1)
        found = np.flatnonzero((tried > 0) & (share < BLIND))
        return [int(index) for index in found[np.argsort(share[found], kind="stable")]]


def compare(
    pairs: Sequence[Pair],
    holdout: Holdout,
    calibration: Calibration,
    sensors: tuple[SensorSpec, ...],
    *,
    seed: int,
) -> Comparison:
    """Measure both on the held-out windows, untouched and perturbed."""
    recon = np.concatenate([pair.pca.reconstruct(pair.split.held_out[:]) for pair in pairs])
    plain = holdout._replace(recon=recon)
    of_pca = calibrate(plain, sensors, rows=calibration.detector.rows)
    judges = (
        Scorer(calibration, sensors),
        Scorer(of_pca, sensors),
    )
    rng = np.random.default_rng(seed)
    targets = [index for index, sensor in enumerate(sensors) if sensor.scored]
    caught = tuple(
        _caught(pairs, judges, name, magnitude, targets=targets, rng=rng)
        for name, fault in FAULTS.items()
        for magnitude in (MAGNITUDES if fault in SIZED else (1.0,))
        if len(sensors) > 1 or name != "swapped"
    )
    network = float(np.mean([row.network for row in caught]))
    pca = float(np.mean([row.pca for row in caught]))
    as_good = pca >= network - MARGIN
    return Comparison(
        caught=caught, network=network, pca=pca,
        network_alarms=calibration.alarm_share, pca_alarms=of_pca.alarm_share,
        network_errors=_rms(holdout.windows, holdout.recon),
        pca_errors=_rms(plain.windows, recon),
        pca_scores=in_blocks(lambda *part: judges[1].score(*part).score, plain.windows, recon),
        pca_as_good=as_good, verdict=_verdict(network, pca, as_good=as_good),
    )  # fmt: skip


def _verdict(network: float, pca: float, *, as_good: bool) -> str:
    if as_good:
        return (f"windowed PCA catches as many injected faults ({pca:.0%} against the network's "
                f"{network:.0%}): on this history the network earns little")  # fmt: skip
    return f"the network catches {network:.0%} of injected faults, windowed PCA {pca:.0%}"


def _caught(
    pairs: Sequence[Pair],
    judges: tuple[Scorer, Scorer],
    name: str,
    magnitude: float,
    *,
    targets: list[int],
    rng: np.random.Generator,
) -> Caught:
    network, pca, named, hits = [], [], [], []
    for pair in pairs:
        windows = pair.split.held_out.spread(max(1, WINDOWS // len(pairs)))
        hit = rng.choice(targets, size=len(windows))
        hits.append(hit)
        faulty = np.stack(
            [FAULTS[name](w, int(s), magnitude, rng) for w, s in zip(windows, hit, strict=True)]
        )
        scores = judges[0].score(faulty, pair.interpreter.reconstruct(faulty))
        network.append(scores.score > 1.0)
        found = np.flatnonzero(scores.score > 1.0)[: NAMED // len(pairs)]
        named += [_named(pair, judges[0], faulty[n], windows[n]) for n in found]
        pca.append(judges[1].score(faulty, pair.pca.reconstruct(faulty)).score > 1.0)
    caught, tried, count = np.concatenate(network), np.concatenate(hits), faulty.shape[2]
    return Caught(
        fault=name, magnitude=magnitude, network=float(caught.mean()),
        pca=float(np.concatenate(pca).mean()), named=float(np.mean(named)) if named else 0.0,
        tried=np.bincount(tried, minlength=count),
        heard=np.bincount(tried[caught], minlength=count),
    )  # fmt: skip


def _named(pair: Pair, scorer: Scorer, faulty: Floats, window: Floats) -> bool:
    """Tell whether a sensor that was touched comes first, as an alert would tell it."""
    recon = pair.interpreter.reconstruct(faulty[None])[0]
    first = scorer.blame(faulty, recon, pair.interpreter.reconstruct).shares.argmax()
    return bool((faulty[:, first] != window[:, first]).any())


# -------------------------------------------- faults: (T, F) scaled → (T, F)


def _offset(window: Floats, sensor: int, magnitude: float, rng: np.random.Generator) -> Floats:
    out = window.copy()
    out[:, sensor] += magnitude * rng.choice((-1.0, 1.0))
    return out


def _drift(window: Floats, sensor: int, magnitude: float, rng: np.random.Generator) -> Floats:
    out = window.copy()
    out[:, sensor] += magnitude * rng.choice((-1.0, 1.0)) * np.linspace(0.0, 1.0, len(window))
    return out


def _noise(window: Floats, sensor: int, magnitude: float, rng: np.random.Generator) -> Floats:
    out = window.copy()
    out[:, sensor] += magnitude * rng.normal(size=len(window))
    return out


def _frozen(window: Floats, sensor: int, _magnitude: float, _rng: np.random.Generator) -> Floats:
    out = window.copy()
    out[:, sensor] = out[0, sensor]
    return out


def _swapped(window: Floats, sensor: int, _magnitude: float, rng: np.random.Generator) -> Floats:
    others = [index for index in range(window.shape[1]) if index != sensor]
    other = int(rng.choice(others))
    out = window.copy()
    out[:, [sensor, other]] = out[:, [other, sensor]]
    return out


FAULTS: dict[str, Fault] = {
    "offset": _offset, "drift": _drift, "noise": _noise, "frozen": _frozen, "swapped": _swapped,
}  # fmt: skip
SIZED = (_offset, _drift, _noise)
LASTING = ("offset", "drift")


def _rms(windows: Floats, recon: Floats) -> Floats:
    """Root mean square of the residuals by sensor: (N, T, F) → (F,)."""
    square = in_blocks(lambda *part: np.square(part[0] - part[1]).mean(axis=1), windows, recon)
    return np.asarray(np.sqrt(square.mean(axis=0)), dtype=np.float64)
