"""From a topic and bytes to samples: the first room, and the widest door.

Rules: pure; never raises, whatever the bytes; the work is linear in their
number; every message that gives no sample says why, with a code of
``refusal.REASONS`` (a null, or a topic of our own, is no failure).  Samples
of one message come in the order of their times.

>>> from offbeat_edge.config import Source
>>> decoder = Decoder((Source(topic="plant/{asset}"),), max_payload_bytes=65536)
>>> samples, rejects = decoder.decode(
...     "plant/p1", b'{"ts": 1700000000, "speed": 1480.5, "unit": "rpm"}', 0, retained=False
... )
>>> samples
[Sample(asset='p1', time_ms=1700000000000, values={'speed': 1480.5}, own_time=True)]
>>> decoder.decode("plant/p1", b"hello", 0, retained=False)[1][0].reason
'not_json'
"""

from __future__ import annotations

import re
from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from offbeat_edge.errors import ConfigError
from offbeat_edge.payload.influx import Line, lines
from offbeat_edge.payload.message import (
    MAX_SENSOR_CHARS,
    MAX_TOPIC_SHOWN,
    NOT_FINITE,
    Message,
    Plan,
)
from offbeat_edge.payload.presets import spelled
from offbeat_edge.payload.records import TIME_NAMES, take, take_line
from offbeat_edge.payload.telegraf import points
from offbeat_edge.refusal import Refused, shown
from offbeat_edge.schema import Reject, Sample
from offbeat_edge.timestamps import MAX_MS, MIN_MS
from offbeat_edge.topics import MAX_TOPIC_CHARS, ROOT, Template, asset_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from offbeat_edge.config import Source
    from offbeat_edge.payload.message import Sensors
    from offbeat_edge.sparkplug.host import Host

SPARKPLUG_STATE = ["spBv1.0", "STATE"]  # of hosts; an edge node's filter matches it
MAX_ROUTES = 65_536  # topics whose route is remembered

_BOM = b"\xef\xbb\xbf"
_DECIMAL = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_ODD = re.compile(rb"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
# Strings are matched whole (an open one to the end), so that the words inside them stay what
# they are and no part is read twice.
_ODD_TOKEN = re.compile(rb'("(?:[^"\\]|\\.)*+"?+)|-?\b(?:NaN|Infinity)\b', re.DOTALL)
_TIME = itemgetter(1)


class Route(NamedTuple):
    """What a topic means; a refusal instead when it means nothing."""

    plan: Plan | None
    asset: str | None = None
    sensor: str | None = None
    refused: Refused | None = None
    plain: bool = False  # worth a try by ``_plain``


class Decoder:
    """Decodes the messages of all sources.

    Parameters
    ----------
    sources : the configuration's sources, in order.
    max_payload_bytes : larger payloads are refused unread.
    sensors : the sensor names of an asset's model, if the caller knows them:
        a text or list in such a field is then refused, not passed over.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        *,
        max_payload_bytes: int,
        sensors: Sensors | None = None,
    ) -> None:
        self._plans = [(Template.parse(source.topic), Plan(source)) for source in sources]
        self._dots = not any(template.many for template, _ in self._plans)
        self._max_bytes = max_payload_bytes
        self._sensors = sensors
        self._json = msgspec.json.Decoder().decode
        self._routes: dict[str, Route] = {}
        self._sparkplug = _host(plan for _, plan in self._plans)

    def decode(
        self,
        topic: str,
        payload: bytes,
        received_ms: int,
        retained: bool,  # noqa: FBT001 - as MQTT has it
    ) -> tuple[list[Sample], list[Reject]]:
        """Read one message.

        Parameters
        ----------
        topic, payload, retained : as they came.
        received_ms : the stamp of samples without a time of their own.
        """
        route = self._routes.get(topic) or self._remember(topic)
        if route.plan is None:
            return [], _rejects(route.refused, topic)
        if len(payload) > self._max_bytes:
            detail = f"expected at most {self._max_bytes} bytes, got {len(payload)}"
            return [], _rejects(Refused("too_large", detail), topic)
        if self._sparkplug is not None and route.plan.format == "sparkplug":
            message = self._message(route.plan, route, topic, received_ms, retained=retained)
            self._sparkplug.take(message, payload, route.refused)
            message.samples.sort(key=_TIME)
            return message.samples, message.rejects
        tree: object = None
        error: Exception | None = None
        if route.plan.format != "influx":
            try:
                tree = self._json(payload)
            except (ValueError, RecursionError) as caught:
                error = caught
        if route.plain:
            sample = _plain(route.asset, tree)
            if sample is not None:
                return [sample], []
        message = self._message(route.plan, route, topic, received_ms, retained=retained)
        if route.plan.format == "influx":
            _take_lines(message, payload)
        elif error is not None:
            self._take_odd(message, payload, error)
        else:
            take(message, tree)
        message.samples.sort(key=_TIME)
        return message.samples, message.rejects

    def asks(self) -> list[str]:
        """Return, once, the topics on which Sparkplug's edge nodes should be asked for births."""
        return [] if self._sparkplug is None else self._sparkplug.asks()

    def _message(
        self, plan: Plan, route: Route, topic: str, received_ms: int, *, retained: bool
    ) -> Message:
        return Message(
            plan, topic, route.asset, route.sensor, received_ms, retained, self._sensors, [], []
        )

    def place(self, topic: str) -> tuple[str, str, int] | None:
        """Return a topic's asset, the filter of all its topics like this one, and their QoS.

        None where no source with ``{asset}`` in its template has the topic.
        """
        route = self._route(topic)
        if route.plan is None or route.asset is None:
            return None
        levels = topic.split("/")
        for template, plan in self._plans:
            match = template.match(levels)
            if match is not None and match.path is not None:
                return route.asset, template.of_asset(match.path), plan.qos
        return None

    def _remember(self, topic: str) -> Route:
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        route = self._route(topic)
        if len(topic) <= MAX_TOPIC_CHARS:
            self._routes[topic] = route
        return route

    def _route(self, topic: str) -> Route:
        """Find the source of a topic, and check the names in it."""
        levels = topic.split("/")
        if levels[0] == ROOT or levels[:2] == SPARKPLUG_STATE:
            return Route(None)  # our own words come back when a template is wide
        for template, plan in self._plans:
            match = template.match(levels)
            if match is None:
                continue
            try:
                asset = None if match.path is None else self._asset(plan, match.path)
                _check_sensor(match.sensor)
            except Refused as refused:
                # a birth is of use to the devices below, whatever its node is called
                known = plan if plan.format == "sparkplug" else None
                return Route(known, refused=refused)
            if plan.format == "sparkplug" and levels[2] in ("NCMD", "DCMD"):
                return Route(None)  # what others, and we, ask of edge nodes
            plain = plan.plain and match.sensor is None
            return Route(plan, asset, match.sensor, plain=plain)
        return Route(None, refused=Refused("unknown_topic", "expected a topic of a source"))

    def _asset(self, plan: Plan, path: str) -> str:
        if path in plan.assets:
            return plan.assets[path]
        name = asset_name(spelled(plan.preset, path), dots=self._dots)
        if name is None:
            rule = "a-z 0-9 _ . -" if self._dots else "a-z 0-9 _ - (a . would stand for a /)"
            raise Refused("asset_name", f"expected a name of {rule}, got {shown(path)}")
        if name in plan.assets.values():
            raise Refused(
                "asset_collision", f"expected one topic for {name!r}, got {shown(path)} too"
            )
        return name

    def _take_odd(self, message: Message, payload: bytes, error: Exception) -> None:
        """Take what is not quite JSON; what cannot be taken is refused by what it is."""
        bare = payload.strip()
        try:
            if not bare:
                message.refuse("empty", "expected a value, got an empty payload")
            elif bare.startswith(_BOM):
                take(message, self._decode(bare[len(_BOM) :]))
            elif message.sensor is not None and _DECIMAL.fullmatch(bare):
                take(message, _finite(float(bare)))
            elif message.sensor is not None and _ODD.fullmatch(bare):
                take(message, NOT_FINITE)
            elif b"NaN" in bare or b"Infinity" in bare:
                take(message, self._decode(_ODD_TOKEN.sub(_replace, bare)))
            elif message.plan.format == "auto" and message.sensor is None and _like_lines(bare):
                _take_lines(message, payload)
            else:
                refused = _refused(payload, error)
                message.refuse(refused.reason, refused.detail)
        except Refused as refused:
            message.refuse(refused.reason, refused.detail)

    def _decode(self, payload: bytes) -> object:
        try:
            return self._json(payload)
        except (ValueError, RecursionError) as error:
            raise _refused(payload, error) from error


def _host(plans: Iterable[Plan]) -> Host | None:
    """Return who follows Sparkplug's edge nodes, where a source has any."""
    if not any(plan.format == "sparkplug" for plan in plans):
        return None
    try:
        from offbeat_edge.sparkplug.host import Host  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        need = f"source.format: Sparkplug needs {error.name}: pip install 'offbeat[sparkplug]'"
        raise ConfigError([need]) from error
    return Host()


def _plain(asset: str | None, tree: object) -> Sample | None:
    """Take what most messages are, an object of floats with ``ts`` in milliseconds.

    ``take`` would give the same, in three times the time.
    """
    if asset is None or type(tree) is not dict:
        return None
    stamp = tree.get(TIME_NAMES[0])
    if type(stamp) is not int or not MIN_MS <= stamp <= MAX_MS:
        return None
    values = {key: value for key, value in tree.items() if type(value) is float}
    if len(values) + 1 != len(tree) or not values or max(map(len, values)) > MAX_SENSOR_CHARS:
        return None
    return Sample(asset, stamp, values)


def _rejects(refused: Refused | None, topic: str) -> list[Reject]:
    return [Reject(refused.reason, refused.detail, topic[:MAX_TOPIC_SHOWN])] if refused else []


def _check_sensor(sensor: str | None) -> None:
    if sensor is not None and not 0 < len(sensor) <= MAX_SENSOR_CHARS:
        raise Refused(
            "sensor_name", f"expected 1 to {MAX_SENSOR_CHARS} characters, got {len(sensor)}"
        )


def _refused(payload: bytes, error: Exception) -> Refused:
    """Say why the JSON decoder gave up."""
    if isinstance(error, RecursionError):
        return Refused("too_deep", "expected JSON, got values nested too deep")
    try:
        payload.decode()
    except UnicodeDecodeError as wrong:
        return Refused("encoding", f"expected UTF-8, got byte {payload[wrong.start]:#04x}")
    if "out of range" in str(error) or "digits" in str(error):
        return Refused("not_finite", "expected numbers within float64, got a larger one")
    return Refused("not_json", f"expected JSON, got {shown(payload[:60].decode(errors='replace'))}")


def _finite(value: float) -> float | str:
    return value if abs(value) <= 1.7976931348623157e308 else NOT_FINITE


def _replace(found: re.Match[bytes]) -> bytes:
    return found[1] or b'"\\u0000not finite"'


def _like_lines(payload: bytes) -> bool:
    return payload[:1] not in b'{["' and b"=" in payload and b" " in payload


def _take_lines(message: Message, payload: bytes) -> None:
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        message.refuse("encoding", f"expected UTF-8, got byte {payload[error.start]:#04x}")
        return
    count = 0
    for count, line in enumerate(_points(text), 1):
        if isinstance(line, Line):
            take_line(message, line)
        else:
            message.refuse(line.reason, f"line {count}: {line.detail}")
    if not count:
        message.refuse("empty", "expected a line, got none")
    elif not message.samples and not message.rejects:
        message.refuse("no_values", f"expected a wanted number, got none in {count} lines")


def _points(text: str) -> Iterator[Line | Refused]:
    """Read line protocol, or the JSON that Telegraf makes of the same points."""
    if text.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            return points(msgspec.json.decode(text))
    return lines(text)
