"""The daemon's life: startup, main loop, shutdown.

Rules: one thread; a sample goes through the rooms once: ``poll`` → decode →
engine → commit → acknowledge → publish.  A message is acknowledged only
after the commit that holds its effect; an alert leaves only through the
outbox.  A commit is due at the first of an alert, one second, half the receive
window, or a dry socket with so many acknowledgements owed that the broker may
be waiting for them.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from offbeat_edge.clocksync import synchronized
from offbeat_edge.commands import Done, Request, Taken, Verb
from offbeat_edge.health import Health, SpoolGauge, Tally, identity, mqtt_health
from offbeat_edge.schema import Reject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from offbeat_edge.clock import StampClock
    from offbeat_edge.commands import Commands
    from offbeat_edge.durable import Durable
    from offbeat_edge.health import ModelHealth
    from offbeat_edge.homeassistant import Discovery
    from offbeat_edge.link import Link, Message
    from offbeat_edge.log import Log
    from offbeat_edge.metrics import Exporter
    from offbeat_edge.notify import Notifier
    from offbeat_edge.outbox import Outbox
    from offbeat_edge.outputs import Outputs
    from offbeat_edge.payload.decoder import Decoder
    from offbeat_edge.schema import Sample
    from offbeat_edge.shards.siblings import Siblings
    from offbeat_edge.store import OutboxSize
    from offbeat_edge.supervise.models import Models
    from offbeat_edge.supervise.probe import Probe
    from offbeat_edge.supervise.watchdog import Watchdog
    from offbeat_edge.voice import Rejects, Scores, States, Topics

COMMIT_S = 1.0  # nothing waits longer for its commit
DRY_S = 0.020  # a socket quiet for this long may be a broker that waits for us
POLL_S = 0.25  # the longest sleep of an idle loop
QUIET = ("surplus",)  # counted, not said: a sensor faster than the grid is no news
IDLE_MS = 250  # of connected silence, counted at a time
SESSION_LOST_S = 3600.0  # for so long health speaks of a session the broker lost
METRICS_S = 5.0  # between two looks at ourselves, for Prometheus
CHORES_S = 1.0  # between two rounds of chores
MAX_TURN_S = 1.0  # a longer turn was no listening: the process was stopped or overloaded


class Parts(NamedTuple):
    """Everything the loop moves, made by ``assembly``."""

    durable: Durable
    link: Link
    decoder: Decoder
    commands: Commands
    outbox: Outbox
    states: States
    scores: Scores | None
    rejects: Rejects
    topics: Topics
    log: Log
    notifier: Notifier
    stamps: StampClock
    probe: Probe
    watchdog: Watchdog
    models: Models
    discovery: Discovery | None = None  # by Home Assistant
    metrics: Exporter | None = None  # for Prometheus
    chores: Sequence[Callable[[], None]] = ()  # what else to look after, now and then
    delivery: Delivery | None = None
    siblings: Siblings | None = None  # where the broker shares the assets out


class Delivery(Protocol):
    """What is needed of ``delivery.foreman``, where signed bundles are configured."""

    @property
    def problems(self) -> list[str]:
        """Reasons to worry."""
        ...

    def take(self, topic: str, payload: bytes) -> bool:
        """Keep a message if it is delivery's; tell whether it was."""
        ...

    def hear(self, samples: Sequence[Sample], out: Outputs) -> None:
        """Count what samples led to."""
        ...

    def turn(self) -> None:
        """Do what is due."""
        ...

    def close(self) -> None:
        """Come to an end."""
        ...


class Settings(NamedTuple):
    """What the loop needs of the configuration."""

    gateway: str
    site: str
    receive_maximum: int
    health_interval_s: float
    spool_bytes: int


class Daemon:
    """One gateway.

    Parameters
    ----------
    parts, settings : what it is made of.
    monotonic : seconds. wall_ms : the wall clock, ms.
    """

    def __init__(
        self,
        *,
        parts: Parts,
        settings: Settings,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.stopping = False
        self._parts = parts
        self._settings = settings
        self._now = monotonic
        self._wall_ms = wall_ms
        self._tally = Tally()
        self._gauge = SpoolGauge(limit_bytes=settings.spool_bytes, now_ms=wall_ms())
        self._started = monotonic()
        self._owed: list[Message] = []
        self._owed_most = 1  # on this connection
        self._generation = 0
        self._alerted = False  # an event waits for its commit
        self._heard_at = self._turned_at = self._committed_at = self._started
        self._listening = False  # connected and drained at the last turn
        self._silent_ms = 0.0  # not yet told to the engine
        self._health_at = self._chores_at = self._metrics_at = self._started
        self._snapshots = 0  # that have passed
        parts.commands.add("health", Verb(Request, self._say_health))
        parts.commands.add("reload", Verb(Request, self._reload))

    def run(self) -> int:
        """Live until ``stop``; return the exit code."""
        self._start()
        while not self.stopping:
            messages = self._parts.link.poll(self._patience())
            self._let_silence_pass()
            self._take(self._sift(messages))
            self._let_go()
            if self._commit_due():
                self._commit()
            self._publish()
            self._parts.probe.turn()
            self._change_models()
            self._do_chores()
            self._parts.watchdog.turn()
        self._shut_down()
        return 0

    def stop(self) -> None:
        """Ask the loop to end after the present turn; safe in a signal handler."""
        self.stopping = True

    def reload(self) -> None:
        """Have every bundle looked at again; safe in a signal handler."""
        self._parts.models.reload()

    def _start(self) -> None:
        durable, log = self._parts.durable, self._parts.log
        recovered = durable.recover(self._parts.watchdog.alive)
        self._parts.stamps.not_before(recovered.newest_stamp_ms)
        self._parts.link.session_expected = not recovered.fresh
        self._parts.states.say(durable.states())
        self._parts.states.clear(durable.gone())
        self._change_models()
        log.info("recovered", fresh=recovered.fresh, samples=recovered.samples)
        self._parts.notifier.send("READY=1")

    def _shut_down(self) -> None:
        self._parts.notifier.send("STOPPING=1")
        self._commit(snapshot=True)
        self._publish()
        if self._parts.delivery is not None:
            self._parts.delivery.close()
        self._parts.link.close(b"stopped")
        self._parts.models.close()
        self._parts.durable.close()
        if self._parts.metrics is not None:
            self._parts.metrics.close()
        self._parts.log.info("stopped", **self._tally.counters)

    def _patience(self) -> float:
        """How long the loop may sleep."""
        if self._owed or self._parts.durable.dirty:
            return DRY_S
        return POLL_S

    def _take(self, messages: Sequence[Message]) -> None:
        """Decode a batch and feed the engine, in the order of arrival."""
        if not messages:
            return
        samples: list[Sample] = []
        for message in messages:
            if self._delivered(message):
                continue
            if self._parts.commands.takes(message.topic):
                self._feed(samples)
                samples = []
                self._command(message)
            else:
                samples += self._decode(message)
        self._heard_at = self._now()
        self._owe(messages)
        self._feed(samples)

    def _feed(self, samples: list[Sample]) -> None:
        if samples:
            out = self._parts.durable.take(samples)
            self._tell(out)
            if self._parts.delivery is not None:
                self._parts.delivery.hear(samples, out)

    def _delivered(self, message: Message) -> bool:
        """Hand over what belongs to delivery; tell whether it did."""
        delivery = self._parts.delivery
        return delivery is not None and delivery.take(message.topic, message.payload)

    def _command(self, message: Message) -> None:
        """Do what a command says; its answer leaves after the commit, which is due at once."""
        try:
            taken = self._parts.commands.take(message)
        except Exception as error:  # noqa: BLE001 - whatever was asked for, the daemon lives
            self._parts.log.error(  # noqa: TRY400 - not the logging module
                "command_failed", topic=message.topic, why=repr(error)
            )
            taken = Taken(reject=Reject("internal", repr(error), message.topic))
        self._tally.message(message, [])
        self._tally.counters["commands"] += 1
        self._alerted = True
        if taken.reject is not None:
            self._tally.reject(taken.reject)
            self._parts.rejects.say(taken.reject, message.payload)
        if taken.out is not None:
            self._tell(taken.out)
            self._parts.states.clear(self._parts.durable.gone())

    def _reload(self, _request: Request) -> Done:
        self.reload()
        return Done()

    def _say_health(self, _request: Request) -> Done:
        self._health_at = self._now()
        return Done()

    def _decode(self, message: Message) -> list[Sample]:
        stamp = self._parts.stamps.stamp_ms()
        try:
            samples, rejects = self._parts.decoder.decode(
                message.topic, message.payload, stamp, message.retain
            )
        except Exception as error:  # noqa: BLE001 - whatever the bytes, the daemon lives
            self._parts.log.error(  # noqa: TRY400 - not the logging module
                "decoder_failed", topic=message.topic, why=repr(error)
            )
            samples, rejects = [], [Reject("internal", repr(error), message.topic)]
        self._tally.message(message, samples)
        for reject in rejects:
            self._tally.reject(reject)
            self._parts.rejects.say(reject, message.payload)
        return samples

    def _owe(self, messages: Sequence[Message]) -> None:
        """Remember whom to acknowledge, without the payloads."""
        generation = self._parts.link.generation
        if generation != self._generation:
            self._generation, self._owed_most, self._owed = generation, 1, []
        self._owed += [message._replace(payload=b"") for message in messages if message.qos]
        self._owed_most = max(self._owed_most, len(self._owed))

    def _tell(self, out: Outputs) -> None:
        self._tally.counters["windows"] += len(out.scores)
        self._tally.counters["alerts"] += len(out.events)
        self._alerted = self._alerted or bool(out.events)
        self._parts.states.say(out.states)
        if self._parts.scores is not None:
            self._parts.scores.say(out.scores)
        for reject in out.drops:
            self._tally.reject(reject)
            if reject.reason not in QUIET:
                self._parts.rejects.say(reject, b"")

    def _let_silence_pass(self) -> None:
        """Count time only while connected and drained: backlog is not silence."""
        now = self._now()
        elapsed, self._turned_at = now - self._turned_at, now
        link, probe = self._parts.link, self._parts.probe
        listening = link.ready and link.drained and not probe.lost
        if listening and self._listening and elapsed < MAX_TURN_S:
            self._silent_ms += elapsed * 1000
        self._listening = listening
        if self._silent_ms >= IDLE_MS:
            whole = int(self._silent_ms)
            self._silent_ms -= whole
            self._tell(self._parts.durable.idle(whole))

    def _commit_due(self) -> bool:
        """Whether to commit now: at once for an alert, which leaves only after it.

        The broker's window is at least the most it ever had in flight, so
        only when as much is owed can silence mean that it waits for us.
        """
        now, owed = self._now(), len(self._owed)
        if not (owed or self._parts.durable.dirty or self._parts.outbox.done):
            self._committed_at = now
            return False
        stalled = owed >= self._owed_most and now - self._heard_at >= DRY_S
        full = owed * 2 >= self._settings.receive_maximum
        return self._alerted or stalled or full or now - self._committed_at >= COMMIT_S

    def _commit(self, *, snapshot: bool = False) -> None:
        """Make durable what was taken, then acknowledge it."""
        delivered = set(self._parts.outbox.done)
        self._committed_at = self._now()
        self._alerted = False
        if not self._parts.durable.commit(delivered=delivered, snapshot=snapshot):
            return
        if self._parts.metrics is not None:
            self._parts.metrics.committed(self._parts.durable.commit_s)
        if self._parts.durable.problem is None:
            self._parts.outbox.committed(delivered)
        owed, self._owed = self._owed, []
        self._parts.link.ack(owed)

    def _publish(self) -> None:
        self._parts.outbox.settle()
        self._parts.outbox.drain()
        self._parts.states.drain()
        if self._parts.link.connected and self._now() >= self._health_at:
            self._health_at = self._now() + self._settings.health_interval_s
            payload = msgspec.json.encode(self.health())
            self._parts.link.publish(self._parts.topics.health, payload, qos=1, retain=True)

    def _measure(self) -> None:
        if self._parts.metrics is not None and self._now() >= self._metrics_at:
            self._metrics_at = self._now() + METRICS_S
            states = Counter(str(state.state) for state in self._parts.durable.states())
            self._parts.metrics.update(self.health(), states)

    def _sift(self, messages: list[Message]) -> Sequence[Message]:
        """Let those who look for a word of their own have it; return the rest."""
        rest = self._parts.probe.sift(messages)
        for other in (self._parts.discovery, self._parts.siblings):
            rest = rest if other is None else other.sift(rest)
        return rest

    def _let_go(self) -> None:
        """Forget the assets that another shard has now."""
        siblings = self._parts.siblings
        for release in siblings.moved() if siblings is not None else ():
            self._tell(self._parts.durable.control(release))
            self._parts.states.clear([release.asset])

    def _change_models(self) -> None:
        """Let swaps that are due take effect; forget bundles that no journal names."""
        for swap in self._parts.models.tend():
            self._tell(self._parts.durable.control(swap))
        if self._parts.durable.snapshots != self._snapshots:
            self._snapshots = self._parts.durable.snapshots
            self._parts.models.prune()

    def _do_chores(self) -> None:
        if self._now() >= self._chores_at:
            self._chores_at = self._now() + CHORES_S
            self._measure()
            if self._parts.discovery is not None and self._parts.link.ready:
                self._parts.discovery.turn(s.asset for s in self._parts.durable.states())
            for chore in self._parts.chores:
                chore()
            if self._parts.delivery is not None:
                self._parts.delivery.turn()

    def health(self) -> Health:
        """Return the daemon's condition."""
        now, tally, link = self._wall_ms(), self._tally, self._parts.link
        models = self._parts.models.health(
            self._parts.durable.observed(), self._parts.durable.adaptation()
        )
        degraded = self._degraded(models)
        return Health(
            **identity(self._settings.gateway, self._settings.site, now),  # type: ignore[arg-type]
            uptime_s=round(self._now() - self._started, 1),
            runtime=self._parts.models.runtime(),
            condition="degraded" if degraded else "healthy",
            degraded=degraded,
            models=models,
            mqtt=mqtt_health(link, self._durable_rate(), self._parts.probe.last_ms),
            spool=self._gauge.read(self._waiting(), now),
            counters={
                **tally.counters,
                "commits": self._parts.durable.commits,
                "published": self._parts.outbox.sent,
                "clock_steps": self._parts.stamps.steps,
                "laps": self._parts.watchdog.laps,
            },
            rejects=dict(tally.rejects),
            gaps=list(tally.gaps),
            lag_ms=None if tally.newest_ms is None else now - tally.newest_ms,
            clock_synchronized=synchronized(wall_ms=self._wall_ms),
            clock_ahead_ms=self._parts.stamps.ahead_ms,
            qos0_assets=tally.qos0(),
            stamped_assets=tally.stamped(),
        )

    def _degraded(self, models: list[ModelHealth]) -> list[str]:
        durable, link, outbox = self._parts.durable, self._parts.link, self._parts.outbox
        reasons = [f"model {m.name or m.bundle}: {m.degraded}" for m in models if m.degraded]
        reasons += [f"disk: {durable.problem}"] if durable.problem else []
        reasons += [f"state: {what}" for what in durable.lost]
        reasons += [f"broker: {what}: {why}" for what, why in link.problems.items()]
        reasons += [f"broker: probe: {probe}"] if (probe := self._parts.probe.problem) else []
        reasons += [f"proof: {proof}"] if (proof := self._parts.watchdog.problem) else []
        reasons += self._parts.delivery.problems if self._parts.delivery else []
        reasons += self._parts.siblings.problems if self._parts.siblings else []
        reasons += [f"alert refused: {outbox.refused}"] if outbox.refused else []
        lost_at = link.session_lost_at
        if lost_at is not None and self._now() - lost_at < SESSION_LOST_S:
            reasons.append("broker: it had lost our session, and what waited in it")
        return reasons

    def _waiting(self) -> OutboxSize:
        """What waits for the broker, less what it has and the disk still holds."""
        size = self._parts.durable.outbox_size()
        return size._replace(rows=max(0, size.rows - len(self._parts.outbox.done)))

    def _durable_rate(self) -> float | None:
        """Messages a second that the window and the disk allow."""
        commit_s = self._parts.durable.commit_s
        if not commit_s:
            return None
        window = self._settings.receive_maximum / 2
        if self._parts.link.version != "5":
            return round(self._owed_most / (commit_s + DRY_S), 1)
        return round(window / commit_s, 1)
