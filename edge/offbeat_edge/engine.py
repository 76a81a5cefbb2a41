"""Samples of many assets, and controls → scores, alert events and states.

The pure heart of the daemon and of ``replay``: no MQTT, clock, thread or
disk.  The same samples and controls give the same events however they are
batched.  A control takes effect at once, between two closed steps.
A batch walks through in three strides: every sample is aligned; all windows
that are due are judged in one invocation per model; then, asset by asset and
in event time, the verdicts drive the alerts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from offbeat_edge import control as controls
from offbeat_edge.alertbook import Teller
from offbeat_edge.control import Swap
from offbeat_edge.refusal import dropped
from offbeat_edge.watch import Outputs, Verdict, Watch, WatchState, no_sensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from offbeat_edge.control import Control
    from offbeat_edge.model import Model
    from offbeat_edge.schema import AssetState, Sample
    from offbeat_edge.watch import Due

SNAPSHOT_SCHEMA = "1.1"
MAX_ASSETS = 100_000  # the most that a configuration may allow
MAX_HEARD = 1024  # controls remembered, so that one that comes again has no effect


class _Snapshot(msgspec.Struct):
    schema: str
    assets: dict[str, WatchState]
    heard: list[str] = []  # keys of the last controls, oldest first


class Engine:
    """All assets of one gateway.

    Parameters
    ----------
    site, gateway : names that go into every alert.
    route : asset name → its model, or None when nobody watches it.
    contributions : how many sensors an event or score names.
    max_assets : assets that samples can make known; those of a snapshot stay.
    """

    def __init__(
        self,
        *,
        site: str,
        gateway: str,
        route: Callable[[str], Model | None],
        contributions: int = 5,
        max_assets: int = MAX_ASSETS,
    ) -> None:
        self.teller = Teller(site, gateway, contributions)
        self.route = route
        self.max_assets = max_assets
        self.watches: dict[str, Watch] = {}  # of watched assets only: names are cheap to invent
        self._heard: dict[str, None] = {}  # in the order they came
        self.counters = {"samples": 0, "rows": 0, "windows": 0, "events": 0}

    def feed(self, samples: Sequence[Sample]) -> Outputs:
        """Take a batch of samples, in order of arrival."""
        out = Outputs([], [], [], [])
        due: list[Due] = []
        for sample in samples:
            watch = self.watches.get(sample.asset) or self._meet(sample, out)
            if watch is not None:
                due += watch.take(sample, out)
        self.counters["samples"] += len(samples)
        self.counters["rows"] += len(due)
        for item, verdict in zip(due, self._judge(due), strict=True):
            item.watch.settle(item, verdict, out)
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
        """Let a control take effect; one that was heard before has none."""
        out = Outputs([], [], [], [])
        if self.heard(control):
            return out
        self._heard[controls.key(control)] = None
        if len(self._heard) > MAX_HEARD:
            del self._heard[next(iter(self._heard))]
        self.counters["events"] += len(out.events)
        return out

    def at(self, control: Control) -> dict[str, int]:
        """Return where a control would take effect now: asset → last closed step, ms."""
        concerned = self.watches if isinstance(control, Swap) else [control.asset]
        known = [self.watches[name] for name in concerned if name in self.watches]
        return {w.asset: w.settled_ms for w in known if w.settled_ms is not None}

    def heard(self, control: Control) -> bool:
        """Whether this control came before, among the last `MAX_HEARD`."""
        return controls.key(control) in self._heard

    def snapshot(self) -> bytes:
        """Return all that the future depends on, as msgpack."""
        assets = {name: watch.dump() for name, watch in self.watches.items()}
        return msgspec.msgpack.encode(_Snapshot(SNAPSHOT_SCHEMA, assets, list(self._heard)))

    def restore(self, snapshot: bytes) -> None:
        """Take back what `snapshot` gave; raises msgspec.DecodeError on other bytes."""
        decoded = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        self._heard = dict.fromkeys(decoded.heard)
        for name, state in decoded.assets.items():
            model = self.route(name)
            if model is not None:
                self._watch(name, model).load(state)

    def states(self) -> list[AssetState]:
        """Return the present state of every asset."""
        return [w.current for w in self.watches.values() if w.current]

    def _meet(self, sample: Sample, out: Outputs) -> Watch | None:
        """Start to watch an asset never heard of, or say why not and remember nothing."""
        asset, model = sample.asset, self.route(sample.asset)
        if model is None:
            out.drops.append(dropped("no_model", f"no model watches {asset}"))
        elif sample.values.keys().isdisjoint(model.index):
            out.drops.append(no_sensor(asset, model))
        elif len(self.watches) >= self.max_assets:
            detail = f"{asset}: expected at most {self.max_assets} assets"
            out.drops.append(dropped("too_many_assets", detail))
        else:
            return self._watch(asset, model)
        return None

    def _watch(self, asset: str, model: Model) -> Watch:
        watch = self.watches[asset] = Watch(teller=self.teller, asset=asset, model=model)
        return watch

    def _judge(self, due: Iterable[Due]) -> list[Verdict | None]:
        """One invocation per model for all the windows that are due."""
        items = list(due)
        verdicts: list[Verdict | None] = [None] * len(items)
        by_model: dict[int, list[int]] = {}
        for i, item in enumerate(items):
            if item.window is not None:
                by_model.setdefault(id(item.watch.model), []).append(i)
        for indices in by_model.values():
            model = items[indices[0]].watch.model
            windows = np.stack([w for i in indices if (w := items[i].window) is not None])
            judged = model.judge(windows)
            self.counters["windows"] += len(indices)
            for n, i in enumerate(indices):
                verdicts[i] = Verdict.of(judged, n)
        return verdicts
