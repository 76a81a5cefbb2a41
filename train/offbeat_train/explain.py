"""An alert of the lake, run again: the same rows through the device's own engine.

Rules: the engine is fed the asset's rows from before the alert to its end,
with the bundle the event names, adapted to the asset and measured by the
threshold that the event tells, whatever led to them; figures are compared to
the digit, nothing is rounded.  Equality is promised within one combination of
runtime, version, architecture and delegate, so the combination that ran here
is told.

>>> explained = explain(events, lake, bundles, config=None)  # doctest: +SKIP
>>> explained.equal  # doctest: +SKIP
True
"""

from __future__ import annotations

from copy import copy
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from offbeat_edge import fleet
from offbeat_edge.adaptation import shift_of
from offbeat_edge.engine import Engine
from offbeat_edge.interpreter import Interpreter
from offbeat_edge.model import Fits, open_model
from offbeat_edge.replay import play, samples
from offbeat_edge.schema import iso
from offbeat_train.errors import DataError, LakeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from offbeat_edge.alertbook import Explanations
    from offbeat_edge.bundle import Bundle
    from offbeat_edge.config import Config
    from offbeat_edge.manifest import Manifest
    from offbeat_edge.model import Model
    from offbeat_edge.schema import (
        Adaptation,
        AlertEvent,
        Contribution,
        Runtime,
        Sample,
        ScoreRecord,
    )
    from offbeat_train.lake import Lake

    Find = Callable[[AlertEvent], Bundle]

LEAD_WINDOWS = 4  # windows of rows before an alert, so that all state has settled
LEAD_HABITS = 2  # times the steps after which a sensor is stuck, or missing
LEAD_MIN_MS = 600_000  # ten minutes at least
TAIL_WINDOWS = 1  # windows of rows behind it, for the picture


class Compared(NamedTuple):
    """One event as it was published, and as it came out here; None: it did not."""

    event: AlertEvent
    score: float | None
    peak: float | None
    contributions: tuple[Contribution, ...] | None
    same_event: bool  # the engine told the very same event, id and all

    @property
    def judged(self) -> bool:
        """Whether a window led to it: neither people nor a swap have ended it."""
        return self.event.reason is None

    @property
    def equal(self) -> bool:
        """Whether score and contributions are the same to the digit, if a window led to them."""
        same = self.contributions == self.event.contributions and self.score == self.event.score
        return same or not self.judged


class Explained(NamedTuple):
    """An alert, run again."""

    alert: str
    events: tuple[Compared, ...]
    scores: tuple[ScoreRecord, ...]  # of all windows around it, with every sensor named
    manifest: Manifest
    runtime: Runtime | None  # what ran here; None: the statistical fallback did
    same_config: bool | None  # None: no configuration was given

    @property
    def equal(self) -> bool:
        """Whether every event came out the same to the digit."""
        return bool(self.events) and all(event.equal for event in self.events)


def find(lake: Lake, name: str) -> list[AlertEvent]:
    """Return the events of an alert, or the one event, that ``name`` is the id of.

    Raises
    ------
    LakeError : the lake has none, or it is of a kind no model makes.
    """
    events = [event for event in lake.alerts() if name in (event.alert, event.id)]
    if not events:
        raise LakeError(f"expected the id of an alert or an event in this lake, got {name!r}")
    if events[0].kind == "stale":
        raise LakeError(f"{name}: a silence of {events[0].asset} has no window to run again")
    if events[0].reason is not None:  # asked for by its own id: an alert begins with a window
        raise LakeError(f"{name}: ended by {events[0].reason}, no window led to it")
    return sorted(events, key=lambda event: event.seq)


def explain(
    events: Sequence[AlertEvent], lake: Lake, bundle_of: Find, *, config: Config | None
) -> Explained:
    """Run an alert's rows again and compare.

    Parameters
    ----------
    events : of one alert, in order.
    bundle_of : the bundle an event names; raises BundleError.
    config : the gateway's, for its lateness and alert rule; None: the bundle's own.

    Raises
    ------
    DataError : the lake has no rows of that time.
    """
    bundle, model, same_config = _open(events[0], bundle_of, config)
    compared: list[Compared] = []
    scores: list[ScoreRecord] = []
    for (digest, _), group in groupby((e for e in events if e.model is not None), key=_judged_by):
        of_one = list(group)
        if digest != bundle.digest:  # another model took over while it was open
            bundle, model, same_config = _open(of_one[0], bundle_of, config)
        model.fits = _fits(of_one[0], bundle.manifest)
        found = judged = _run(of_one, lake, model)
        if any(_measured_otherwise(event, found.scores) for event in of_one):
            judged = _run(of_one, lake, _unfollowing(model))
        compared += [_compare(event, found.told, judged) for event in of_one]
        scores += found.scores
    kept = [event.id for event in events]
    compared.sort(key=lambda item: kept.index(item.event.id))
    ran = model.interpreter
    return Explained(
        alert=events[0].alert,
        events=tuple(compared),
        scores=tuple(scores),
        manifest=bundle.manifest,
        runtime=ran.runtime if isinstance(ran, Interpreter) else None,
        same_config=same_config,
    )


def _measured_otherwise(event: AlertEvent, scores: Sequence[ScoreRecord]) -> bool:
    """Tell whether the threshold followed other scores on the device than here.

    There its memory may be shorter (the bundle, or the asset, was new), or pass over
    what people said was work.
    """
    if event.kind != "anomaly" or event.reason is not None:
        return False
    times = {score.time_ms: score.threshold for score in scores}
    return times.get(event.time_ms) not in (None, event.threshold)


def _unfollowing(model: Model) -> Model:
    """Return the model with a threshold that stands still."""
    still = copy(model)
    still.manifest = msgspec.structs.replace(model.manifest, follow=None)
    return still


def _judged_by(event: AlertEvent) -> tuple[str, Adaptation | None]:
    return event.model.bundle if event.model else "", event.adaptation


def _fits(event: AlertEvent, manifest: Manifest) -> Fits | None:
    """Return what was learned of the asset when an event was told."""
    if event.adaptation is None:
        return None
    shift = shift_of(event.adaptation, manifest.sensors)
    return Fits(np.array([shift]), np.array([event.adaptation.factor]))


def _open(
    event: AlertEvent, bundle_of: Find, config: Config | None
) -> tuple[Bundle, Model, bool | None]:
    bundle = bundle_of(event)
    entry = None if config is None else config.model_for(event.asset)
    wanted = event.model.config if event.model else ""
    if config is None or entry is None:
        return bundle, open_model(bundle, config_digest=wanted), None
    model = fleet.open_entry(config, entry, bundle)
    model.warmup_ms = 0  # the events say what was learned; nothing is here
    return bundle, model, model.ref.config == wanted


def lead_ms(manifest: Manifest) -> int:
    """Return how far before an alert its state reaches back, with room to spare."""
    spec, rule = manifest.model, manifest.alert
    habits = [steps or 0 for s in manifest.sensors for steps in (s.stuck_steps, s.quiet_steps)]
    followed = 0 if manifest.follow is None else manifest.follow.windows + 1
    steps = (LEAD_WINDOWS + followed) * spec.window + LEAD_HABITS * max(habits, default=0)
    held = spec.hold_ms + rule.min_duration_ms + rule.clear_ms + rule.cooldown_ms
    return max(LEAD_MIN_MS, steps * spec.period_ms + 2 * held)


class _Ran(NamedTuple):
    """An engine's run, with every sensor named."""

    scores: list[ScoreRecord]
    told: dict[str, AlertEvent]  # by id
    explained: Explanations


def _run(events: Sequence[AlertEvent], lake: Lake, model: Model) -> _Ran:
    """Feed the engine with an alert's rows."""
    first, last = events[0], events[-1]
    spec = model.manifest.model
    start = min(first.start_ms, first.time_ms) - lead_ms(model.manifest)
    end = last.time_ms + TAIL_WINDOWS * spec.window * spec.period_ms + model.lateness_ms + 1
    rows = lake.rows(first.asset, start, end)
    if not len(rows.times):
        raise DataError(
            f"expected samples of {first.asset} from {iso(start)} to {iso(end)}, got none", got=0
        )
    stream = samples(first.asset, rows.times, rows.matrix, rows.sensors)
    explained: Explanations = {}
    found, told = run_again(
        stream, model, site=first.site, gateway=first.gateway, explained=explained
    )
    return _Ran(found, told, explained)


def run_again(
    stream: Iterator[Sample],
    model: Model,
    *,
    site: str,
    gateway: str,
    explained: Explanations | None = None,
) -> tuple[list[ScoreRecord], dict[str, AlertEvent]]:
    """Feed a fresh engine; return scores with every sensor named, and events by id.

    ``explained`` is filled with what an event at each score would name; that is slow.
    """
    engine = Engine(
        site=site,
        gateway=gateway,
        route=lambda _: model,
        contributions=len(model.names),
        explained=explained,
    )
    scores: list[ScoreRecord] = []
    told: dict[str, AlertEvent] = {}
    for out in play(engine, stream):
        scores += out.scores
        told |= {event.id: event for event in out.events}
    return scores, told


def _compare(event: AlertEvent, told: dict[str, AlertEvent], judged: _Ran) -> Compared:
    count = len(event.contributions)
    again = told.get(event.id)
    if again is not None and again.threshold == event.threshold:
        same = (again.type, again.time_ms, again.message) == (
            event.type,
            event.time_ms,
            event.message,
        )
        same = same and event.window in (None, again.window)  # older events name none
        return Compared(event, again.score, again.peak, again.contributions[:count], same)
    at = next((s for s in judged.scores if s.time_ms == event.time_ms), None)
    if at is None or event.kind != "anomaly" or event.reason is not None:
        return Compared(event, None, None, None, same_event=False)
    score = at.score if at.threshold == event.threshold else at.score / event.threshold
    named = judged.explained[event.asset, event.time_ms][:count]
    return Compared(event, score, None, named, same_event=False)
