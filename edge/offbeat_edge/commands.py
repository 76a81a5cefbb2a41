"""Commands and the fleet's announcements: from MQTT to whoever does them.

Rules: a command comes on ``offbeat/<gateway>/cmd/<verb>``, its answer goes to
``…/result/<verb>`` through the outbox, so it leaves after the commit that
holds the effect and survives a crash.  Feedback and maintenance come for the
whole fleet; those about assets that are not ours are passed over.  Nothing is
taken that was retained, is too large, comes too fast or is not to the letter
of its schema.  Who may command is the broker's business (its access rules).

A verb is a row in a table, and anybody may add one::

    commands.add("reload", Verb(Request, reload))  # reload(request) -> Done
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from offbeat_edge.control import SCHEMA, Feedback, Id, Maintenance, Recalibrate, Rename, Schema
from offbeat_edge.schema import Reject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from offbeat_edge.control import Control
    from offbeat_edge.durable import Durable
    from offbeat_edge.link import Message
    from offbeat_edge.outputs import Outputs
    from offbeat_edge.voice import Topics

ROOT = "offbeat/"
FLEET = "offbeat/fleet"
ANNOUNCEMENTS: dict[str, type[Feedback | Maintenance]] = {
    "feedback": Feedback,
    "maintenance": Maintenance,
}
MAX_BYTES = 16 << 10  # of one command
BURST = 1000  # commands at once, as after a week away ...
PER_S = 10.0  # ... and so many a second in the long run
VERB = re.compile(r"[a-z][a-z0-9-]{0,31}")
MAX_TOPIC_SHOWN = 256  # characters of a topic in a reject


class CommandRefused(Exception):  # noqa: N818 - reads as what it is
    """A command that is not done, and why: for the answer."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What every command has; the answer names the same ``id``."""

    schema: Schema = SCHEMA
    id: Id


class _Named(msgspec.Struct):
    id: Id


class Done(NamedTuple):
    """What a command led to."""

    fields: Mapping[str, object] = {}  # of the answer, beside schema, id, ok and error
    out: Outputs | None = None  # what the engine said


class Verb(NamedTuple):
    """One row of the table: what a request looks like, and who does it.

    ``handle`` takes a ``request`` and raises CommandRefused to say no.
    """

    request: type[msgspec.Struct]
    handle: Callable[[Any], Done]


class Taken(NamedTuple):
    """What became of one message."""

    out: Outputs | None = None
    reject: Reject | None = None


class Commands:
    """Takes the messages that are not samples.

    Parameters
    ----------
    topics : of this gateway.
    durable : where controls take effect and answers wait for their commit.
    monotonic : seconds.
    """

    def __init__(
        self,
        *,
        topics: Topics,
        durable: Durable,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics = topics
        self._durable = durable
        self._now = monotonic
        self._allowance, self._counted_at = float(BURST), monotonic()
        self._verbs = {
            "ping": Verb(Request, lambda _: Done()),
            "feedback": Verb(Feedback, self._control),
            "maintenance": Verb(Maintenance, self._control),
            "rename": Verb(Rename, self._control),
            "recalibrate": Verb(Recalibrate, self._control),
        }

    def add(self, name: str, verb: Verb) -> None:
        """Add a row to the table."""
        self._verbs[name] = verb

    @property
    def verbs(self) -> list[str]:
        """What can be commanded."""
        return sorted(self._verbs)

    def takes(self, topic: str) -> bool:
        """Whether a message is for us: never a sample, whatever is in it."""
        return topic.startswith(ROOT)

    def take(self, message: Message) -> Taken:
        """Do what a message says, or say why not."""
        parent, _, name = message.topic.rpartition("/")
        if parent == f"{self._topics.root}/cmd":
            return self._command(name, message)
        kind = parent.removeprefix(f"{FLEET}/")
        if kind in ANNOUNCEMENTS:
            return self._announcement(ANNOUNCEMENTS[kind], name, message)
        return Taken(reject=_reject(message, "expected a command or an announcement"))

    def _command(self, name: str, message: Message) -> Taken:
        if not VERB.fullmatch(name):
            return Taken(reject=_reject(message, "expected a verb of a-z 0-9 -"))
        try:
            self._check(message)
            verb = self._verb(name)
            done = verb.handle(_read(message, verb.request))
        except CommandRefused as refused:
            self._answer(name, message, error=str(refused))
            return Taken(reject=_reject(message, str(refused)))
        self._answer(name, message, fields=done.fields)
        return Taken(out=done.out)

    def _announcement(
        self, kind: type[Feedback | Maintenance], asset: str, message: Message
    ) -> Taken:
        try:
            if not self._durable.concerns(asset, planned=kind is Maintenance):
                return Taken()
            self._check(message)
            return Taken(out=self._control(_about(asset, _read(message, kind))).out)
        except CommandRefused as refused:
            return Taken(reject=_reject(message, str(refused)))

    def _verb(self, name: str) -> Verb:
        if name not in self._verbs:
            raise CommandRefused(f"expected one of {', '.join(self.verbs)}, got {name!r}")
        return self._verbs[name]

    def _check(self, message: Message) -> None:
        """Refuse what no reading is needed for."""
        now = self._now()
        gained = (now - self._counted_at) * PER_S
        self._allowance, self._counted_at = min(BURST, self._allowance + gained), now
        if message.retain:
            raise CommandRefused("expected a command that is not retained")
        if len(message.payload) > MAX_BYTES:
            raise CommandRefused(f"expected at most {MAX_BYTES} bytes, got {len(message.payload)}")
        if self._allowance < 1:
            raise CommandRefused(f"expected at most {PER_S:.0f} commands a second")
        self._allowance -= 1

    def _control(self, control: Control) -> Done:
        objection = self._durable.objection(control)
        if objection is not None:
            raise CommandRefused(objection)
        return Done(out=self._durable.control(control))

    def _answer(
        self,
        verb: str,
        message: Message,
        *,
        error: str | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> None:
        name = _id_of(message.payload)
        answer = {"schema": SCHEMA, "id": name, "ok": error is None, "error": error}
        payload = msgspec.json.encode({**answer, **(fields or {})})
        self._durable.say(self._topics.result(verb), payload)


def filters(root: str) -> dict[str, int]:
    """Return what a gateway subscribes to beside its sensors: filter → QoS."""
    return {f"{root}/cmd/+": 1, **{f"{FLEET}/{kind}/+": 1 for kind in ANNOUNCEMENTS}}


def _read(message: Message, kind: type[Any]) -> Any:  # noqa: ANN401 - an instance of kind
    try:
        return msgspec.json.decode(message.payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CommandRefused(f"expected {kind.__name__} as JSON, got: {error}") from error


def _about(asset: str, control: Feedback | Maintenance) -> Feedback | Maintenance:
    """Hold an announcement against its topic."""
    if control.asset != asset:
        raise CommandRefused(f"expected the topic's asset {asset!r}, got {control.asset!r}")
    return control


def _id_of(payload: bytes) -> str | None:
    """Return a command's id if there is one, however wrong the rest is."""
    if len(payload) > MAX_BYTES:
        return None
    try:
        return msgspec.json.decode(payload, type=_Named).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _reject(message: Message, why: str) -> Reject:
    return Reject("command", why, message.topic[:MAX_TOPIC_SHOWN])
