"""Follows verified orders on this gateway: swaps, shadows, probation, reports.

Rules: no TUF here, nothing on the way of a sample but counting; a bundle
that cannot be opened is rejected and what runs goes on.  State is kept in
one file, at once when something was decided and else once a ``SAVE_S``.

::

    courier.orders ─▶ conduct (per model) ─▶ models.activate / shadow
    outputs ────────▶ counters ─▶ probation ─▶ back to the last good bundle
                          └─────▶ report, retained
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from offbeat_edge import files
from offbeat_edge.delivery.conduct import Conduct
from offbeat_edge.delivery.figures import figures
from offbeat_edge.delivery.report import RolloutReport
from offbeat_edge.delivery.shadow import Shadow
from offbeat_edge.delivery.stopwatch import Stopwatch, stopwatch_of
from offbeat_edge.errors import BundleError
from offbeat_edge.schema import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from offbeat_edge.delivery.courier import Courier
    from offbeat_edge.delivery.figures import Count, Figures
    from offbeat_edge.delivery.task import Order
    from offbeat_edge.log import Log
    from offbeat_edge.model import Model
    from offbeat_edge.outputs import Outputs
    from offbeat_edge.schema import Sample

JUDGE_S = 1.0  # between looks at the probation
ACTIVATE_S = 300.0  # from an order to its bundle at work
SAVE_S = 60.0  # between saves of counters alone
REPORT_S = 60.0  # between reports in which only counters moved


class Models(Protocol):
    """What is needed of the models at work."""

    held: set[str]  # digests that must stay on the shelf

    def loaded(self) -> list[Model]:
        """Return the models at work."""
        ...

    def of(self, asset: str) -> str | None:
        """Return the name of the model that watches an asset."""
        ...

    def running(self, name: str) -> Model | None:
        """Return what runs under a model's name."""
        ...

    def open(self, name: str, path: str, digest: str) -> Model:
        """Make a bundle ready as this model; raises BundleError."""
        ...

    def activate(self, name: str, path: str, digest: str) -> None:
        """Order a bundle; it runs as soon as it was examined.  Raises BundleError."""
        ...


class Place(NamedTuple):
    """Who we are and where things are kept."""

    gateway: str
    site: str
    shelf: Path  # folder of bundles that ran
    state: Path  # file
    max_assets: int


class Tools(NamedTuple):
    """What the foreman uses."""

    models: Models
    publish: Callable[[str, bytes], bool]  # model, report → whether it went out
    log: Log
    memory_mb: Callable[[], float]


class _Kept(msgspec.Struct):
    schema: str
    models: dict[str, Conduct]


class Foreman:
    """Everything that signed orders lead to.

    Parameters
    ----------
    courier : brings orders.
    place, tools : as above.
    monotonic : seconds. wall_ms : the wall clock, ms.
    """

    def __init__(
        self,
        *,
        courier: Courier,
        place: Place,
        tools: Tools,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.courier = courier
        self.conducts: dict[str, Conduct] = {}
        self._place = place
        self._tools = tools
        self._now = monotonic
        self._wall_ms = wall_ms
        self._shadows: dict[str, Shadow] = {}
        self._names: dict[str, str | None] = {}  # asset → model, since the last turn
        self._ordered_at: dict[str, float] = {}  # model → monotonic
        self._unsaid: set[str] = set()
        self._kept = _read(place.state)
        self._judge_at = self._save_at = self._report_at = monotonic()

    @property
    def problems(self) -> list[str]:
        """Reasons to worry, for health."""
        found = [f"delivery: {self.courier.error}"] if self.courier.error else []
        found += [f"delivery of {name}: {why}" for name, why in self.courier.problems.items()]
        found += [
            f"delivery of {name}: {conduct.state}: {conduct.reason}"
            for name, conduct in self.conducts.items()
            if conduct.state in ("rolled_back", "refused")
        ]
        return found

    def take(self, topic: str, payload: bytes) -> bool:
        """Keep a message if it is delivery's; tell whether it was."""
        return self.courier.take(topic, payload)

    def hear(self, samples: Sequence[Sample], out: Outputs) -> None:
        """Count what a batch of samples led to, and show it to challengers."""
        for score in out.scores:
            name = self._name_of(score.asset)
            model = self._tools.models.running(name) if name else None
            conduct = self.conducts.get(name or "")
            if conduct is not None and model is not None and self._works(conduct, model):
                spec = model.manifest.model
                step_ms = spec.period_ms * spec.stride
                conduct.window(score.unfollowed, score.time_ms, step_ms)
        for event in out.events:
            name = self._name_of(event.asset)
            if name in self.conducts and (event.kind, event.type) == ("anomaly", "new"):
                conduct = self.conducts[name]
                conduct.count.alerts += self._works(conduct, self._tools.models.running(name))
        for shadow in self._shadows.values():
            shadow.take(samples, out)

    def turn(self) -> None:
        """Do what is due."""
        self._names.clear()
        self._meet()
        self._tools.models.held = {conduct.last_good for conduct in self.conducts.values()}
        self.courier.turn()
        if self.courier.fresh:
            self.courier.fresh = False
            self._follow(self.courier.orders or [])
        now = self._now()
        if now >= self._judge_at:
            self._judge_at = now + JUDGE_S
            self._judge()
            self._report(now)
        if now >= self._save_at:
            self._save()

    def close(self) -> None:
        """Save, and end the child."""
        self._save()
        self.courier.close()

    def _name_of(self, asset: str) -> str | None:
        """Return the model that watches an asset, found by its patterns once a turn."""
        if asset not in self._names:
            self._names[asset] = self._tools.models.of(asset)
        return self._names[asset]

    # -- orders

    def _follow(self, orders: list[Order]) -> None:
        for name, conduct in self.conducts.items():
            before = _standing(conduct)
            self._follow_one(name, conduct, [order for order in orders if order.model == name])
            if before != _standing(conduct):
                self._unsaid.add(name)
                self._save()

    def _follow_one(self, name: str, conduct: Conduct, orders: list[Order]) -> None:
        steps = conduct.follow(orders)
        if steps.activate is not None:
            self._activate(name, conduct, steps.activate)
        if steps.shadow is None:
            self._shadows.pop(name, None)
        elif self._shadow_of(name) != steps.shadow.bundle:
            self._start_shadow(name, conduct, steps.shadow)

    def _activate(self, name: str, conduct: Conduct, order: Order) -> None:
        self._shadows.pop(name, None)  # it compared with what ran before
        try:
            self._tools.models.activate(name, order.path, order.bundle)
        except BundleError as error:
            conduct.send_back(str(error))
            self._tools.log.error(  # noqa: TRY400 - not the logging module
                "bundle_refused", model=name, why=str(error)
            )
            return
        self._ordered_at[name] = self._now()
        self._tools.log.info("bundle_ordered", model=name, digest=order.bundle, mode=order.mode)

    def _start_shadow(self, name: str, conduct: Conduct, order: Order) -> None:
        champion = self._tools.models.running(name)
        if champion is None:
            return
        try:
            challenger = self._tools.models.open(name, order.path, order.bundle)
        except BundleError as error:
            conduct.reject(order.bundle, str(error))
            conduct.shadow, conduct.state = "", "refused"
            return
        self._time(challenger)
        self._time(champion)
        self._shadows[name] = Shadow(
            challenger=challenger,
            champion=champion,
            watches=lambda asset: self._name_of(asset) == name,
            site=self._place.site,
            gateway=self._place.gateway,
            max_assets=self._place.max_assets,
            compared=conduct.compared,
        )
        self._tools.log.info("shadow_started", model=name, digest=order.bundle)

    def _shadow_of(self, name: str) -> str | None:
        shadow = self._shadows.get(name)
        return None if shadow is None else shadow.challenger.digest

    # -- probation

    def _judge(self) -> None:
        for name, conduct in self.conducts.items():
            if conduct.state != "probation":
                continue
            why = self._verdict(name, conduct)
            if why is not None:
                self._go_back(name, conduct, why)
            if conduct.state != "probation":
                self._unsaid.add(name)
                self._save()

    def _verdict(self, name: str, conduct: Conduct) -> str | None:
        """Say why what was ordered must be sent back."""
        model = self._tools.models.running(name)
        if model is None or not self._works(conduct, model):
            waited = self._now() - self._ordered_at.setdefault(name, self._now())
            return f"not at work after {ACTIVATE_S:.0f} s" if waited >= ACTIVATE_S else None
        self._time(model)
        return conduct.judge(latency_ms=_latency(model), error=model.degraded)

    @staticmethod
    def _works(conduct: Conduct, model: Model | None) -> bool:
        """Tell whether what was ordered is what runs."""
        return model is not None and model.digest == conduct.runs

    def _go_back(self, name: str, conduct: Conduct, why: str) -> None:
        bad = conduct.runs
        good = conduct.send_back(why)
        self._shadows.pop(name, None)
        self._tools.log.error("bundle_rolled_back", model=name, digest=bad, to=good, why=why)
        try:
            path = str(self._place.shelf / f"{good}.offbeat")
            self._tools.models.activate(name, path, good)
        except BundleError as error:  # what runs stays: bad is better than blind
            conduct.reason += f"; and the last good one is gone: {error}"
            conduct.activated(bad, None)

    # -- reports and state

    def _report(self, now: float) -> None:
        names = set(self.conducts) if now >= self._report_at else set(self._unsaid)
        for name in sorted(names):
            report = self._reported(name, self.conducts[name])
            if report is None or self._tools.publish(name, msgspec.json.encode(report)):
                self._unsaid.discard(name)
                self._report_at = now + REPORT_S

    def _reported(self, name: str, conduct: Conduct) -> RolloutReport | None:
        model = self._tools.models.running(name)
        if model is None or not conduct.version:
            return None  # nobody delivers this model
        shadow, now_ms = self._shadows.get(name), self._wall_ms()
        compared = conduct.compared if shadow else None
        return RolloutReport(
            gateway=self._place.gateway,
            model=name,
            time=iso(now_ms),
            time_ms=now_ms,
            document=conduct.version,
            state=conduct.state,
            mode=conduct.mode,
            reason=conduct.reason,
            rejected=list(conduct.rejected),
            running=_figures(model, conduct.count),
            champion=_figures(model, compared.champion) if compared else None,
            challenger=_figures(shadow.challenger, compared.challenger)
            if shadow and compared
            else None,
            compared=compared.both if compared else 0,
            agreement=_share(compared.agreement) if compared else None,
            calm_agreement=_share(compared.calm_agreement) if compared else None,
            loud_agreement=_share(compared.loud_agreement) if compared else None,
            memory_mb=self._tools.memory_mb(),
        )

    def _meet(self) -> None:
        """Take up models that came to work, where they were left."""
        for model in self._tools.models.loaded():
            name = model.ref.name
            if name in self.conducts:
                continue
            start = Conduct(runs=model.digest, last_good=model.digest)
            conduct = self.conducts[name] = self._kept.pop(name, start)
            if conduct.runs != model.digest and conduct.state != "probation":
                conduct.activated(model.digest, None)  # somebody changed it meanwhile
                conduct.state = "configured"
            self._unsaid.add(name)
            self._time(model)

    def _save(self) -> None:
        self._save_at = self._now() + SAVE_S
        try:
            self._place.state.parent.mkdir(parents=True, exist_ok=True)
            kept = _Kept("1.0", self._kept | self.conducts)
            files.replace(self._place.state, msgspec.json.encode(kept))
        except OSError as error:
            self._tools.log.warning("rollout_not_saved", why=str(error))

    @staticmethod
    def _time(model: Model | None) -> None:
        """Measure a model's windows from now on."""
        if model is None or model.interpreter is None:
            return
        if stopwatch_of(model.interpreter) is None:
            model.interpreter = Stopwatch(model.interpreter)


def _read(path: Path) -> dict[str, Conduct]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept).models
    except (OSError, msgspec.MsgspecError):
        return {}


def _standing(conduct: Conduct) -> tuple[object, ...]:
    """What is said at once when it changes."""
    return conduct.version, conduct.runs, conduct.shadow, conduct.state, conduct.reason


def _share(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _latency(model: Model | None) -> float | None:
    watch = None if model is None else stopwatch_of(model.interpreter)
    return None if watch is None else watch.latency_ms


def _figures(model: Model, count: Count) -> Figures:
    return figures(
        count,
        bundle=model.digest,
        version=model.ref.version,
        latency_ms=_latency(model),
        error=model.degraded,
    )
