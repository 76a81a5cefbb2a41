"""A bundle at work: windows in the sensors' units → scores and what was expected.

Joins scaling, interpreter and detector for one bundle.  When the model
cannot run, the bundle's statistical fallback scores instead and ``degraded``
says why; nobody waits for a repair to keep watching.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from offbeat_edge.detector import RESIDUAL_LIMIT, Fallback, fold, scored_columns
from offbeat_edge.errors import ModelError, RuntimeUnavailable
from offbeat_edge.golden import Golden
from offbeat_edge.interpreter import Interpreter
from offbeat_edge.schema import ModelRef
from offbeat_edge.scorer import Scorer, apart
from offbeat_edge.sensorcheck import SensorRules
from offbeat_edge.window import scale

if TYPE_CHECKING:
    from offbeat_edge.adaptation import Adapter
    from offbeat_edge.bundle import Bundle
    from offbeat_edge.manifest import Manifest
    from offbeat_edge.schema import AlertRule
    from offbeat_edge.window import Floats

STALE_MIN_MS = 10_000  # a fast sensor's jitter, or a network's hiccup, is no silence


class Reconstructor(Protocol):
    """What a model needs of `interpreter.Interpreter`."""

    def reconstruct(self, windows: Floats) -> Floats:
        """(N, T, F) scaled → (N, T, F) scaled."""
        ...


class Judged(NamedTuple):
    """A batch of N windows, judged."""

    score: Floats  # (N,) 1.0 is the threshold
    shares: Floats  # (N, F), rows sum to 1
    expected: Floats | None  # (N, F) at the window's last step, in units
    actual: Floats  # (N, F) likewise
    away: Floats | None = None  # (N, S) mean distance from what was expected, scaled units


class Explained(NamedTuple):
    """Where a score comes from; what is expected of a sensor, the others say."""

    shares: list[float]  # (F,), sum 1
    expected: list[float]  # (F,) in units, at the judged step at which each is furthest from it
    actual: list[float]  # (F,) likewise, what came there
    expected_last: list[float]  # (F,) in units, at the window's last step


class Fits(NamedTuple):
    """What was learned of the assets that N windows are from."""

    shift: Floats  # (N, F) scaled units, of the sensors' levels
    factor: Floats  # (N,) of the threshold


def fits_of(adapters: Iterable[Adapter | None]) -> Fits | None:
    """Return what was learned of some assets of one model; None: nothing ever is."""
    known = [adapter for adapter in adapters if adapter is not None]
    if not known:
        return None
    return Fits(np.array([a.shift for a in known]), np.array([a.factor for a in known]))


class Model:
    """One bundle, ready to judge windows.

    Parameters
    ----------
    manifest : the bundle's manifest.
    digest : SHA-256 of the manifest, hex.
    config_digest : SHA-256 of the settings in force for it, hex.
    interpreter : runs ``model.tflite``; None when it did not load.
    rule : the alert rule in force; the bundle's own when None.
    lateness_ms : how far samples may be out of order.
    degraded : why there is no interpreter.
    golden : windows with known answers, for proofs of work.
    warmup_ms : how long an asset's own levels are learned; 0: never.
    """

    def __init__(
        self,
        *,
        manifest: Manifest,
        digest: str,
        config_digest: str,
        interpreter: Reconstructor | None,
        rule: AlertRule | None = None,
        lateness_ms: int = 0,
        degraded: str | None = None,
        golden: Golden | None = None,
        warmup_ms: int = 0,
    ) -> None:
        self.warmup_ms = warmup_ms
        self.fits: Fits | None = None  # of the one asset it judges, where that is known beforehand
        self.manifest = manifest
        self.digest = digest
        self.rule = rule or manifest.alert
        self.lateness_ms = lateness_ms
        self.degraded = degraded
        self.lapsed: str | None = None  # why it failed at work; its statistics score since
        self.golden = golden
        self.ref = ModelRef(
            name=manifest.model.name,
            version=manifest.model.version,
            bundle=digest,
            config=config_digest,
        )
        self.names = tuple(s.name for s in manifest.sensors)
        self.index = {name: i for i, name in enumerate(self.names)}
        self.absent = [frozenset(s.absent) for s in manifest.sensors]
        spec = manifest.model
        hold = spec.hold_ms // spec.period_ms
        self.checks = SensorRules(manifest.sensors, window=spec.window, hold=hold)
        self.interpreter = interpreter
        self._center = np.array([s.center for s in manifest.sensors])
        self._spread = np.array([s.scale for s in manifest.sensors])
        self._scored = scored_columns(manifest.sensors)
        self._scorer = Scorer(manifest, manifest.sensors)
        self._fallback = Fallback(manifest.fallback, manifest.sensors)

    @cached_property
    def stale_after_ms(self) -> int:
        """Silence of an asset beyond this is worth an alert."""
        slowest: int = max(s.cadence_ms for s in self.manifest.sensors)
        spec = self.manifest.model
        return max(3 * slowest, spec.hold_ms, 3 * spec.period_ms, STALE_MIN_MS)

    def judge(self, windows: Floats, fits: Fits | None = None) -> Judged:
        """Score ``windows``, (N, T, F) float64 in the sensors' units.

        With ``fits`` each is shifted to the levels of training first; plain
        statistics, which know no expectation, do without.
        """
        fits = fits or self.fits
        actual = windows[:, -1].copy()
        center = self._center_of(fits)
        scaled = scale(windows, center, self._spread)
        recon = self._reconstruct(scaled)
        if recon is None:
            scores = self._fallback.score(scale(windows, self._center, self._spread))
            return Judged(scores.score, scores.shares, None, actual)
        scores = self._scorer.score(scaled, recon)
        if fits is None:
            expected = recon[:, -1] * self._spread + center
            return Judged(scores.score, scores.shares, expected, actual)
        expected = recon[:, -1] * self._spread + center[:, 0]
        score = scores.score / fits.factor
        return Judged(score, scores.shares, expected, actual, self._away(scaled, recon))

    def explain(self, window: Floats, fits: Fits | None = None) -> Explained | None:
        """Say where the score of one ``window`` (T, F) comes from, better than `judge`.

        None without the model.  Dearer than a score; see `blame`.  One that
        fails here fails at the next score too, and is given up there: rows of
        this batch are settled already, and a journal is walked batch by batch.
        """
        if self.interpreter is None:
            return None
        center = self._center_of(fits or self.fits)
        scaled = scale(window[None], center, self._spread)
        reconstruct = self.interpreter.reconstruct
        try:
            found = self._scorer.blame(scaled[0], reconstruct(scaled)[0], reconstruct)
        except ModelError:
            return None
        expected = found.expected * self._spread + center.reshape(-1)
        first = len(window) - self.manifest.detector.rows
        away = np.abs(scaled[0] - found.expected)[first:]
        furthest = first + away.argmax(axis=0), np.arange(window.shape[1])
        return Explained(
            shares=found.shares.tolist(),
            expected=expected[furthest].tolist(),
            actual=window[furthest].tolist(),
            expected_last=expected[-1].tolist(),
        )

    def without(self, window: Floats, faulty: Iterable[str], fits: Fits | None = None) -> float:
        """Score one ``window`` (T, F) as if the sensors that are ``faulty`` said what others do.

        Dearer than a score; see `blame`.  Plain statistics leave out what is theirs.
        """
        fits = fits or self.fits
        columns = np.array([self.index[name] for name in faulty], dtype=np.intp)
        if self.interpreter is not None:
            scaled = scale(window[None], self._center_of(fits), self._spread)[0]
            try:
                left = self._scorer.without(scaled, columns, self.interpreter.reconstruct)
            except ModelError:
                pass  # as in `explain`
            else:
                return left if fits is None else left / float(fits.factor[0])
        plain = scale(window[None], self._center, self._spread)
        return apart(self._fallback.score(plain), columns)

    def _center_of(self, fits: Fits | None) -> Floats:
        """Return the levels that windows are scaled by."""
        if fits is None:
            return self._center
        shifted: Floats = (self._center + fits.shift * self._spread)[:, None]
        return shifted

    def _away(self, scaled: Floats, recon: Floats) -> Floats:
        """Return how far the judged rows are from what is usual, on average: (N, S)."""
        spec = self.manifest.detector
        residual = (scaled - recon)[:, -spec.rows :, self._scored]
        residual = np.clip(residual, -RESIDUAL_LIMIT, RESIDUAL_LIMIT)
        away: Floats = fold(residual, axis=1) / residual.shape[1] - np.array(spec.center)
        return away

    def _reconstruct(self, scaled: Floats) -> Floats | None:
        if self.interpreter is None:
            return None
        try:
            recon = self.interpreter.reconstruct(scaled)
        except ModelError as error:
            self.degraded = self.lapsed = f"model failed: {error}"
            self.interpreter = None
            return None
        self.degraded = None
        return recon


Guard = Callable[[Callable[[], Reconstructor]], Reconstructor]


def unguarded(make: Callable[[], Reconstructor]) -> Reconstructor:
    """Make an interpreter as it is."""
    return make()


def open_model(
    bundle: Bundle,
    *,
    config_digest: str,
    rule: AlertRule | None = None,
    lateness_ms: int = 0,
    warmup_ms: int = 0,
    refused: str | None = None,
    guard: Guard = unguarded,
) -> Model:
    """Make a verified bundle ready; one whose model does not load is degraded, not dead.

    ``refused`` says why the model must not even be loaded; ``guard`` makes the
    interpreter with what it is given.
    """
    interpreter, degraded = None, refused
    if refused is None:
        try:
            interpreter = guard(lambda: Interpreter(bundle.model))
        except (ModelError, RuntimeUnavailable) as error:
            degraded = str(error)
    return Model(
        manifest=bundle.manifest,
        digest=bundle.digest,
        config_digest=config_digest,
        interpreter=interpreter,
        rule=rule,
        lateness_ms=lateness_ms,
        degraded=degraded,
        golden=_extremes(bundle.golden),
        warmup_ms=warmup_ms,
    )


def _extremes(golden: Golden) -> Golden:
    """Keep the calmest and the most anomalous golden window."""
    ends = [int(golden.scores.argmin()), int(golden.scores.argmax())]
    return Golden(*(part[ends] for part in golden))
