"""History in, a proven model out: the whole of ``offbeat fit`` but its face.

Rules: everything a device will do (resampling, scaling, the integer model,
scores) is done here with the device's own code; the threshold comes from
rows the scoring network never saw; a model that lost its accuracy to
integers is refused.  Randomness comes from ``seed`` alone.

>>> fitted = fit(history, FitOptions(name="pump"), on=Silent(), now=now)  # doctest: +SKIP
>>> write(Path("pump.offbeat"), fitted)  # doctest: +SKIP
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import keras
import numpy as np

from offbeat_edge.detector import scored_columns
from offbeat_edge.interpreter import Interpreter
from offbeat_train import compare, parity, shapes
from offbeat_train.baseline import WindowedPca
from offbeat_train.calibration import WEEK_MS, Calibration, Holdout
from offbeat_train.defaults import (
    ALERT_BUDGET,
    LATENT,
    UNITS,
    Spectrum,
    choose_patch,
    choose_rank,
    choose_shares,
    has_beat,
    judged_rows,
    linear_path,
    without_spikes,
)
from offbeat_train.export import export
from offbeat_train.health import Health, examine
from offbeat_train.network import CLIP, NetworkSpec, build, set_linear
from offbeat_train.shared_graph import SharedGraph
from offbeat_train.split import Split, Windows, divide, everything
from offbeat_train.training import EPOCHS, train
from offbeat_train.words import amount, few, length, often

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_train.defaults import Linear, Shares
    from offbeat_train.history import History
    from offbeat_train.prepare import Prepared
    from offbeat_train.shapes import Book
    from offbeat_train.training import History as Losses

    Floats = NDArray[np.float64]
    Floats32 = NDArray[np.float32]

RANK_WINDOWS = 5_000  # looked at to choose the rank of the linear path
SAMPLE = 20_000  # windows from which the linear path and the scales are taken, at most ...
SAMPLE_CELLS = 10_000_000  # ... and numbers in them
NOTHING_LEARNED = 0.9  # of the error of always saying "the mean"
MOST = 0.5  # of the splits must know the held-out shapes
HOUR_MS = 3_600_000
FEW_ROWS = 1000  # complete rows; with fewer a model is told to be taken with care


class Progress(Protocol):
    """Told what is going on."""

    def stage(self, text: str) -> None:
        """Begin something that takes a while."""

    def epoch(self, epoch: int, epochs: int, loss: float, validation: float) -> None:
        """End an epoch (from 0) of at most ``epochs``."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """A trained network to go on from: its sizes, its weights in Keras' order, its inputs."""

    spec: NetworkSpec
    weights: list[Floats32]
    sensors: tuple[str, ...]

    def lacks(self, prepared: Prepared) -> str | None:
        """Say why the network does not suit these rows; None when it does."""
        sensors = tuple(sensor.name for sensor in prepared.sensors)
        if sensors != self.sensors:
            return f"expected the sensors {', '.join(self.sensors)}, got {', '.join(sensors)}"
        if self.spec.window != prepared.plan.window:
            return f"expected a window of {self.spec.window}, got {prepared.plan.window}"
        return None


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What can be set; None means "choose from the data", or "from random weights"."""

    name: str
    period_ms: int | None = None
    window: int | None = None
    stride: int | None = None
    units: tuple[int, ...] | None = None
    epochs: int | None = None
    budget_per_week: float = ALERT_BUDGET
    seed: int = 0
    start: Start | None = None
    scatter_ms: int | None = None  # parts are blocks so long from all over; None: in order of time


class Plain(NamedTuple):
    """What is linear, of one network's training windows: its own path, and PCA to compare."""

    path: Linear
    pca: WindowedPca

    @classmethod
    def of(cls, sample: Floats, shares: Shares) -> Plain:
        """Learn from ``sample`` (N, T, F), scaled."""
        path = linear_path(Spectrum.of(without_spikes(sample)), shares)
        return cls(path, WindowedPca.fit(sample))


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One network, as integers, and how it came about.

    ``proof`` holds held-out windows (N, T, F) and what the float network
    makes of them; ``weights`` are the float network's, as Keras orders them.
    """

    tflite: bytes
    weights: list[Floats32]
    interpreter: Interpreter
    losses: Losses
    plain: Plain
    proof: tuple[Floats, Floats]
    book: Book | None


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Everything the bundle and the report are made from."""

    options: FitOptions
    history: History
    health: Health
    prepared: Prepared
    spec: NetworkSpec
    trained: Trained
    splits: list[Split]
    plain: list[Plain]  # one a split
    holdout: Holdout
    calibration: Calibration
    parity: parity.Parity
    comparison: compare.Comparison
    seconds: float
    learned: float  # share of the validation error before training that training took away
    cold: str | None = None  # why it did not start from ``options.start``; None: it did
    warnings: tuple[str, ...] = field(default=())


def fit(
    history: History, options: FitOptions, *, on: Progress, health: Health | None = None
) -> Fitted:
    """Learn a model from a history.

    Raises
    ------
    DataError : too little data, or none that changes.
    AccuracyError : the integer model lost the float model's accuracy.
    """
    begun = time.monotonic()
    health = health or examine(history)
    on.stage("aligning to the time grid")
    prepared, divided = divide(history, health, period_ms=options.period_ms,
                               window=options.window, stride=options.stride,
                               scatter_ms=options.scatter_ms)  # fmt: skip
    cold = "nothing to start from" if options.start is None else options.start.lacks(prepared)
    start = options.start if cold is None else None
    scored = scored_columns(prepared.sensors)
    # What a sensor draws comes again where it has a beat, and there alone.
    beat = has_beat(prepared.rows[:, scored], prepared.plan.window)
    shares = choose_shares(len(prepared.sensors), beat=beat)
    spec = start.spec if start else choose_network(prepared, divided[0], options, shares)
    keras.utils.set_random_seed(options.seed)
    school = _School(
        spec=spec, seed=options.seed, on=on, start=start, scored=scored, beat=beat, shares=shares
    )
    held, trained, last = _train_all(divided, prepared, school, options, on)
    holdout = _join(held, divided, prepared, [one.book for one in trained])
    del held  # as large as what was joined of it
    on.stage("calibrating")
    calibration, proven, coarse = parity.proven(
        holdout, [(one.proof, one.interpreter) for one in trained], prepared.sensors,
        budget_per_week=options.budget_per_week,
        rows=judged_rows(prepared.plan.window, shares), book=last.book,
    )  # fmt: skip
    on.stage("comparing with windowed PCA under injected faults")
    comparison = compare.compare(
        [compare.Pair(one.interpreter, one.plain.pca, split)
         for one, split in zip(trained, divided, strict=True)],
        holdout, calibration, prepared.sensors, seed=options.seed,
    )  # fmt: skip
    return Fitted(
        options=options, history=history, health=health, prepared=prepared, spec=spec,
        trained=last, splits=divided, plain=[one.plain for one in trained], holdout=holdout,
        calibration=calibration, parity=proven, comparison=comparison,
        seconds=time.monotonic() - begun, cold=cold,
        learned=_learned([one.losses for one in trained]),
        warnings=(
            *prepared.warnings, *_unseen(history), *coarse,
            *_doubts(prepared, holdout, calibration, comparison),
        ),
    )  # fmt: skip


def choose_network(
    prepared: Prepared, split: Split, options: FitOptions, shares: Shares
) -> NetworkSpec:
    """Choose the sizes from the data, where they are not given."""
    window = prepared.plan.window
    units = options.units or (UNITS,)
    return NetworkSpec(
        window=window,
        sensors=len(prepared.sensors),
        patch=choose_patch(window),
        encoder=units,
        latent=max(1, units[-1] * LATENT // UNITS),
        decoder=units[::-1],
        rank=choose_rank(without_spikes(split.train.spread(RANK_WINDOWS)), shares),
    )


def _learned(losses: list[Losses]) -> float:
    """Compare validation losses before and after training, over all splits."""
    start = sum(one.start for one in losses)
    return 1.0 - sum(one.least for one in losses) / start if start > 0.0 else 0.0


def _train_all(
    divided: list[Split], prepared: Prepared, school: _School, options: FitOptions, on: Progress
) -> tuple[list[Floats], list[Trained], Trained]:
    """Train a network a split, and one on everything when there are several."""
    most = options.epochs or EPOCHS
    trained, held = [], []
    for split in divided:
        on.stage(f"training ({split.name} held out)")
        one = school.teach(split.train, split.validation, split.held_out, epochs=most)
        trained.append(one)
        held.append(one.interpreter.reconstruct(split.held_out[:]))
    if len(divided) == 1:
        return held, trained, trained[0]
    on.stage("training on everything")
    whole = everything(prepared)
    epochs = 1 + round(float(np.median([one.losses.best for one in trained])))
    return held, trained, school.teach(whole, whole, whole, epochs=epochs)


class _School:
    """Trains networks of one shape, each from the same start."""

    def __init__(
        self,
        *,
        spec: NetworkSpec,
        seed: int,
        on: Progress,
        start: Start | None,
        scored: NDArray[np.intp],
        beat: bool,
        shares: Shares,
    ) -> None:
        self._spec, self._seed, self._on, self._start = spec, seed, on, start
        self._scored, self._beat, self._shares = scored, beat, shares
        self._shared = SharedGraph(build(spec, seed), spec)

    def teach(
        self, windows: Windows, validation: Windows, held_out: Windows, *, epochs: int
    ) -> Trained:
        shared, spec = self._shared, self._spec
        shared.restart()
        if self._start is not None:
            shared.set_weights(self._start.weights)
        sample = windows.spread(min(SAMPLE, 1 + SAMPLE_CELLS // spec.size))
        plain = Plain.of(sample, self._shares)
        set_linear(shared.model, plain.path, spec.rank)
        losses = train(
            shared,
            # Only indexed and counted: the copy of one epoch is all that exists.
            cast("Floats32", windows), cast("Floats32", validation),
            epochs=epochs, seed=self._seed,
            on_epoch=lambda epoch, loss, val: self._on.epoch(epoch, epochs, loss, val),
        )  # fmt: skip
        tflite = export(shared.model, spec, sample.astype(np.float32, copy=False), self._scored)
        proof = np.clip(held_out.spread(parity.WINDOWS), -CLIP, CLIP)
        floats = shared.predict(proof.astype(np.float32))
        return Trained(
            tflite=tflite, weights=shared.get_weights(), interpreter=Interpreter(tflite),
            losses=losses,
            plain=plain, proof=(proof, floats.astype(np.float64)),
            book=shapes.learn(sample, self._scored) if self._beat else None,
        )  # fmt: skip


def _join(
    held: list[Floats], divided: list[Split], prepared: Prepared, books: list[Book | None]
) -> Holdout:
    """Join the splits' held-out windows; runs keep apart what is not contiguous."""
    offset, runs = 0, []
    for split in divided:
        runs.append(split.run + offset)
        offset += int(split.run[-1]) + 1
    return Holdout(
        windows=np.concatenate([split.held_out[:] for split in divided]),
        recon=np.concatenate(held),
        run=np.concatenate(runs),
        stride=divided[0].stride,
        period_ms=prepared.plan.period_ms,
        strange=_strange(divided, books, scored_columns(prepared.sensors)),
    )


def _strange(
    divided: list[Split], books: list[Book | None], scored: NDArray[np.intp]
) -> Floats | None:
    """How far the held-out shapes are from those known, (N, S); None where that says nothing."""
    found, known = [], []
    for book, split in zip(books, divided, strict=True):
        if book is None:
            return None
        windows = split.held_out[:]
        found.append(shapes.strangeness(book, windows, scored))
        known.append(shapes.worth_knowing(book, windows, scored, found[-1]))
    return np.concatenate(found) if np.mean(known) > MOST else None


def _deaf(prepared: Prepared, comparison: compare.Comparison) -> list[str]:
    """Name the sensors of whose own lasting changes little is heard."""
    found = [amount(prepared.sensors[i], compare.LARGE) for i in comparison.deaf_to()]
    if not found:
        return []
    said = "a lasting change of one of these alone is mostly not heard, nor any smaller one"
    return [f"{said}, so watch them in other ways as well: {few(found)}"]


def _unseen(history: History) -> list[str]:
    """Say what a history is too short to hold."""
    rows = [recording.times_ms for recording in history.assets.values() if len(recording.row)]
    span_ms = max((int(times_ms[-1] - times_ms[0]) for times_ms in rows), default=0)
    if not history.has_time or span_ms >= WEEK_MS:
        return []
    spans = f"the history spans {length(span_ms / HOUR_MS)}"
    return [f"{spans}: what comes more rarely, a weekend or a season, is not normal to this model"]


def _doubts(
    prepared: Prepared, holdout: Holdout, calibration: Calibration, comparison: compare.Comparison
) -> list[str]:
    """Say what a buyer should know."""
    found = []
    error = float(np.square(comparison.network_errors).mean())
    plain = float(np.vdot(holdout.windows, holdout.windows)) / holdout.windows.size
    if plain > 0.0 and error > NOTHING_LEARNED * plain:
        share = f"{error / plain:.0%} of the error of always saying the mean"
        found.append(f"the network explains little: on held-out rows it has {share}")
    large = [row.network for row in comparison.caught if row.magnitude >= compare.LARGE]
    if np.mean(large) < compare.BLIND:
        found.append(
            f"this model is nearly blind: of faults of {compare.LARGE:g} standard deviations it "
            f"catches {np.mean(large):.0%}; normal rows differ too much from each other"
        )
    else:
        found += _deaf(prepared, comparison)
    if len(prepared.rows) < FEW_ROWS:
        found.append(f"only {len(prepared.rows)} complete rows: what is normal is little known")
    if calibration.supported_per_week > calibration.budget_per_week:
        found.append(
            f"{length(calibration.held_out_hours)} of held-out rows cannot vouch for "
            f"{calibration.budget_per_week:g} false alarm(s) a week; the threshold stands for "
            f"{often(calibration.expected_per_week)} a week"
        )
    if comparison.pca_as_good:
        found.append(comparison.verdict)
    return found
