"""Samples of many assets, and controls → scores, alert events and states.

The pure heart of the daemon and of ``replay``: no MQTT, clock, thread or
disk.  The same samples and controls give the same events however they are
batched.  A control takes effect at once, between two closed steps.
A batch walks through in three strides: every sample is aligned; all windows
that are due are judged in one invocation per model; then, asset by asset and
in event time, the verdicts drive the alerts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np

from offbeat_edge import control as controls
from offbeat_edge.alertbook import Teller
from offbeat_edge.control import Feedback, Maintenance, Recalibrate, Release, Rename, Swap
from offbeat_edge.model import fits_of
from offbeat_edge.observed import Observed
from offbeat_edge.outputs import Outputs, Verdict
from offbeat_edge.refusal import dropped
from offbeat_edge.schedule import Schedule
from offbeat_edge.schema import STAGES, Runs
from offbeat_edge.upkeep import MAX_MAINTENANCE_MS, Upkeep
from offbeat_edge.watch import Watch, no_sensor
from offbeat_edge.watchstate import WatchState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from offbeat_edge.alertbook import Explanations
    from offbeat_edge.control import Control, Logged
    from offbeat_edge.model import Model
    from offbeat_edge.schema import AssetState, Sample, Stage
    from offbeat_edge.watch import Due

AT_ONCE = 16  # windows judged together: one invocation; more are no faster, and need memory
SNAPSHOT_SCHEMA = "1.1"
MAX_ASSETS = 100_000  # the most that a configuration may allow
MAX_GONE = 256  # names that assets once had
MAX_HEARD = 1024  # controls remembered, so that one that comes again has no effect


class _Snapshot(msgspec.Struct):
    schema: str
    assets: dict[str, WatchState]
    heard: list[str] = []  # keys of the last controls, oldest first
    upkeep: dict[str, Upkeep] = {}
    gone: dict[str, str] = {}
    runs: dict[str, Runs] = {}  # by the bundle's path in the configuration


class Fleet(Protocol):
    """What is needed of ``supervise.models.Models`` where models come and go."""

    def use(self, swap: Swap) -> None:
        """Let ``route`` give another model from now on."""
        ...

    def state(self) -> dict[str, Runs]:
        """Return what runs where."""
        ...

    def resume(self, state: Mapping[str, Runs]) -> None:
        """Take back what ``state`` gave."""
        ...

    def lapsed(self) -> list[Swap]:
        """Return swaps for models that failed since this was last asked."""
        ...


class Engine:
    """All assets of one gateway.

    Parameters
    ----------
    site, gateway : names that go into every alert.
    route : asset name → its model, or None when nobody watches it.
    contributions : how many sensors an event or score names.
    tell_scores : name sensors in scores, too, as in events; False where nobody reads them.
    explained : to be filled with what an event at each score would name; slow.
    max_assets : assets that samples can make known; those of a snapshot stay.
    fleet : what changes ``route``; None: nothing does.
    """

    def __init__(
        self,
        *,
        site: str,
        gateway: str,
        route: Callable[[str], Model | None],
        contributions: int = 5,
        tell_scores: bool = True,
        explained: Explanations | None = None,
        max_assets: int = MAX_ASSETS,
        fleet: Fleet | None = None,
    ) -> None:
        self.teller = Teller(site, gateway, contributions, tell_scores, explained)
        self.route = route
        self.max_assets = max_assets
        self._fleet = fleet
        self.watches: dict[str, Watch] = {}  # of watched assets only: names are cheap to invent
        self.upkeep: dict[str, Upkeep] = {}  # also of assets not heard of yet
        self.gone: dict[str, str] = {}  # names no more in use → their new ones
        self._heard: dict[str, None] = {}  # in the order they came
        self._schedule = Schedule()  # of replays
        self.counters = {"samples": 0, "rows": 0, "windows": 0, "events": 0}

    def feed(self, samples: Sequence[Sample]) -> Outputs:
        """Take a batch of samples, in order of arrival."""
        out = Outputs([], [], [], [])
        due: list[Due] = []
        replaying = bool(self._schedule)
        for sample in samples:
            if replaying and sample.asset not in self.watches:
                due = self._come_of_age(sample.asset, due, out)
            watch = self.watches.get(sample.asset) or self._meet(sample, out)
            if watch is None:
                continue
            if replaying and sample.asset in self._schedule:
                due = self._take_scheduled(watch, sample, due, out)
            else:
                due += watch.take(sample, out)
        self.counters["samples"] += len(samples)
        self._settle(due, out)
        self.counters["events"] += len(out.events)
        return out

    def idle(self, elapsed_ms: int) -> Outputs:
        """Count time that passed connected, with nothing waiting: silence becomes `stale`."""
        out = Outputs([], [], [], [])
        for watch in self.watches.values():
            watch.idle(elapsed_ms, out)
        self.counters["events"] += len(out.events)
        return out

    def control(self, control: Control) -> Outputs:
        """Let a control take effect; one that was heard, or is of no use, has none."""
        out = Outputs([], [], [], [])
        if self.heard(control) or self.objection(control) is not None:
            return out
        self._heard[controls.key(control)] = None
        if len(self._heard) > MAX_HEARD:
            del self._heard[next(iter(self._heard))]
        if isinstance(control, Swap) and self._fleet is not None:
            self._fleet.use(control)
        for asset in self._concerned(control):
            self._apply(control, asset, out)
        self.counters["events"] += len(out.events)
        return out

    def lapsed(self) -> list[Swap]:
        """Return swaps to plain statistics for models that failed in the last batch."""
        return [] if self._fleet is None else self._fleet.lapsed()

    def objection(self, control: Control) -> str | None:
        """Say why a control would have no effect."""
        if isinstance(control, Swap):
            return None
        asset = control.asset
        if not self.concerns(asset, planned=isinstance(control, Maintenance)):
            return f"expected an asset that is watched here, got {asset!r}"
        if isinstance(control, Maintenance):
            length_ms = control.end_ms - control.start_ms
            if not 0 < length_ms <= MAX_MAINTENANCE_MS:
                return f"expected end_ms after start_ms by a year at most, got {length_ms} ms"
        if isinstance(control, Rename):
            return self._objection_to(control)
        if isinstance(control, Recalibrate) and not self.watches[asset].model.warmup_ms:
            return f"expected an asset whose [[model]] has a warmup_s, got {asset!r}"
        return None

    def concerns(self, asset: str, *, planned: bool = False) -> bool:
        """Whether an asset is watched here; ``planned``: or would be, if it spoke."""
        return asset in self.watches or (planned and self.route(asset) is not None)

    def at(self, control: Control) -> dict[str, int]:
        """Return where a control would take effect now: asset → last closed step, ms."""
        known = [self.watches[a] for a in self._concerned(control) if a in self.watches]
        return {w.asset: w.settled_ms for w in known if w.settled_ms is not None}

    def schedule(self, log: Iterable[Logged]) -> None:
        """Let controls take effect where the log says that they did, as samples come.

        For replays: call `flush` after the last sample.
        """
        self._schedule.add(log)

    def flush(self) -> Outputs:
        """Let scheduled controls take effect that wait for samples which never came."""
        out = Outputs([], [], [], [])
        for asset in self._schedule.assets():
            for control in self._schedule.rest(asset):
                self._apply(control, asset, out)
        self.counters["events"] += len(out.events)
        return out

    def heard(self, control: Control) -> bool:
        """Whether this control came before, among the last `MAX_HEARD`."""
        return controls.key(control) in self._heard

    def snapshot(self) -> bytes:
        """Return all that the future depends on, as msgpack."""
        assets = {name: watch.dump() for name, watch in self.watches.items()}
        return msgspec.msgpack.encode(
            _Snapshot(
                SNAPSHOT_SCHEMA,
                assets,
                list(self._heard),
                {name: plan for name, plan in self.upkeep.items() if plan.windows},
                self.gone,
                {} if self._fleet is None else self._fleet.state(),
            )
        )

    def restore(self, snapshot: bytes) -> None:
        """Take back what `snapshot` gave; other bytes change nothing.

        Raises
        ------
        msgspec.MsgspecError, ValueError : it is damaged, or of other models.
        """
        decoded = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        if self._fleet is not None:
            self._fleet.resume(decoded.runs)
        before = self.watches, self.upkeep, self.gone
        self.watches, self.upkeep, self.gone = {}, decoded.upkeep, decoded.gone
        try:
            for name, state in decoded.assets.items():
                model = self.route(name)
                if model is not None:
                    self._watch(name, model).load(state)
        except ValueError:
            self.watches, self.upkeep, self.gone = before
            raise
        self._heard = dict.fromkeys(decoded.heard)

    def states(self) -> list[AssetState]:
        """Return the present state of every asset."""
        return [w.current for w in self.watches.values() if w.current]

    def observed(self) -> dict[Model, Observed]:
        """Return what each model at work has achieved, over all its assets."""
        totals: dict[Model, Observed] = {}
        for watch in self.watches.values():
            before = totals.get(watch.model, Observed(assets=0))
            totals[watch.model] = before + watch.observed
        return totals

    def adaptation(self) -> dict[Model, dict[Stage, int]]:
        """Return for each model with a warm-up how many assets are at which stage of it."""
        counts: dict[Model, dict[Stage, int]] = {}
        for watch in self.watches.values():
            if watch.adapter is not None:
                of_model = counts.setdefault(watch.model, dict.fromkeys(STAGES, 0))
                of_model[watch.adapter.told.stage] += 1
        return counts

    def _meet(self, sample: Sample, out: Outputs) -> Watch | None:
        """Start to watch an asset never heard of, or say why not and remember nothing."""
        asset, model = sample.asset, self.route(sample.asset)
        if model is None:
            out.drops.append(dropped("no_model", f"no model watches {asset}"))
        elif sample.values.keys().isdisjoint(model.index):
            out.drops.append(no_sensor(sample, model))
        elif len(self.watches) >= self.max_assets:
            detail = f"{asset}: expected at most {self.max_assets} assets"
            out.drops.append(dropped("too_many_assets", detail))
        else:
            return self._watch(asset, model)
        return None

    def _watch(self, asset: str, model: Model) -> Watch:
        plan = self.upkeep.setdefault(asset, Upkeep())
        watch = self.watches[asset] = Watch(
            teller=self.teller, asset=asset, model=model, upkeep=plan
        )
        self.gone.pop(asset, None)
        return watch

    # -- controls

    def _concerned(self, control: Control) -> list[str]:
        return list(self.watches) if isinstance(control, Swap) else [control.asset]

    def _apply(self, control: Control, asset: str, out: Outputs) -> None:
        """Let a control take effect on one asset."""
        watch = self.watches.get(asset)
        if isinstance(control, Maintenance):
            self._plan(control, out)
        elif isinstance(control, Feedback) and watch is not None:
            watch.hear(control, out)
        elif isinstance(control, Swap) and watch is not None:
            self._swap(watch, out)
        elif isinstance(control, Recalibrate) and watch is not None:
            watch.recalibrate(out)
        elif isinstance(control, Rename) and watch is not None:
            self._rename(watch, control.to, out)
        elif isinstance(control, Release) and watch is not None:
            watch.retire("moved", out)
            self._forget(watch.asset, "")

    def _plan(self, control: Maintenance, out: Outputs) -> None:
        watch = self.watches.get(control.asset)
        if watch is not None:
            watch.plan(control, out)
            return
        plan = self.upkeep.setdefault(control.asset, Upkeep())
        plan.take(control)
        self._make_room()

    def _make_room(self) -> None:
        """Bound the plans of assets that were never heard of."""
        waiting = [name for name in self.upkeep if name not in self.watches]
        if len(waiting) > self.max_assets:
            del self.upkeep[min(waiting, key=lambda name: self.upkeep[name].ends_ms)]

    def _rename(self, watch: Watch, to: str, out: Outputs) -> None:
        """Go on under another name; what is open ends under the old one."""
        model = self.route(to)
        if model is None or to in self.watches:
            return
        watch.retire("renamed", out)
        self.upkeep[to] = self.upkeep.pop(watch.asset)
        heir = self._watch(to, model)
        heir.inherit(watch.dump(), out)
        self._forget(watch.asset, to)

    def _forget(self, asset: str, to: str) -> None:
        """Watch an asset no more; its state at the broker is to be cleared."""
        del self.watches[asset]
        self.gone[asset] = to
        if len(self.gone) > MAX_GONE:
            del self.gone[next(iter(self.gone))]

    def _swap(self, watch: Watch, out: Outputs) -> None:
        """Go on under the model that watches the asset now."""
        model = self.route(watch.asset)
        if model is not None and model is not watch.model:
            self.watches[watch.asset] = watch.under(model, out)

    def _objection_to(self, control: Rename) -> str | None:
        if control.to in self.watches:
            return f"expected a name that no asset has, got {control.to!r}"
        if self.route(control.to) is None:
            return f"expected a name that a [[model]] matches, got {control.to!r}"
        return None

    # -- controls of a replay

    def _take_scheduled(
        self, watch: Watch, sample: Sample, due: list[Due], out: Outputs
    ) -> list[Due]:
        """Take a sample of an asset whose controls wait for their place between two rows."""
        for row in watch.align(sample, out):
            time_ms = row.step * watch.aligner.period_ms
            ripe = self._schedule.ripe(sample.asset, time_ms)
            due = self._apply_scheduled(ripe, sample.asset, due, out)
            due.append(watch.due(row))
        return due

    def _come_of_age(self, name: str, due: list[Due], out: Outputs) -> list[Due]:
        """Before an asset is met: let those be renamed that are to be this one."""
        for asset in self._schedule.becoming(name):
            due = self._apply_scheduled(self._schedule.rest(asset), asset, due, out)
        return due

    def _apply_scheduled(
        self, ripe: list[Control], asset: str, due: list[Due], out: Outputs
    ) -> list[Due]:
        """Settle what is due, then let controls take effect; return what is due after that."""
        if not ripe:
            return due
        self._settle(due, out)
        for control in ripe:
            self._apply(control, asset, out)
        return []

    # -- windows

    def _settle(self, due: list[Due], out: Outputs) -> None:
        self.counters["rows"] += len(due)
        verdicts = self._judge(due)
        for n, item in enumerate(due):
            if item.watch.settle(item, verdicts[n], out):
                self._judge_anew(item.watch, due, verdicts, n + 1)

    def _judge_anew(
        self, watch: Watch, due: list[Due], verdicts: list[Verdict | None], first: int
    ) -> None:
        """Judge the rest of an asset's windows by what was just learned of it.

        A batch must give what its samples give one by one.  (A model that
        fails at just this moment is walked as if it had failed before the batch.)
        """
        rest = [n for n in range(first, len(due)) if due[n].watch is watch]
        for n, verdict in zip(rest, self._judge(due[n] for n in rest), strict=True):
            verdicts[n] = verdict

    def _judge(self, due: Iterable[Due]) -> list[Verdict | None]:
        """Judge all the windows that are due, those of one model together."""
        items = list(due)
        verdicts: list[Verdict | None] = [None] * len(items)
        by_model: dict[int, list[int]] = {}
        for i, item in enumerate(items):
            if item.window is not None:
                by_model.setdefault(id(item.watch.model), []).append(i)
        for indices in by_model.values():
            self.counters["windows"] += len(indices)
            self._judge_by_one(items, indices, verdicts)
        return verdicts

    def _judge_by_one(
        self, items: list[Due], indices: list[int], verdicts: list[Verdict | None]
    ) -> None:
        """Judge windows of one model; if it fails on the way, all of them without it.

        So is the journal walked: as if it had failed before the batch.
        """
        model = items[indices[0]].watch.model
        before = model.lapsed
        for first in range(0, len(indices), AT_ONCE):
            self._judge_some(items, indices[first : first + AT_ONCE], verdicts)
        if model.lapsed != before:
            self._judge_by_one(items, indices, verdicts)

    def _judge_some(
        self, items: list[Due], indices: list[int], verdicts: list[Verdict | None]
    ) -> None:
        watches = [items[i].watch for i in indices]
        windows = np.stack([w for i in indices if (w := items[i].window) is not None])
        model = watches[0].model
        judged = model.judge(windows, fits_of(watch.adapter for watch in watches))
        for i, verdict in zip(indices, Verdict.each(judged), strict=True):
            verdicts[i] = verdict
