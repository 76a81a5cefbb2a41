"""The births, data and deaths of edge nodes → samples; and when to ask for a rebirth.

Rules: pure; whatever the bytes, nothing is raised.  A device is an asset, a
metric a sensor.  Data says only what changed, so a sample holds all that is
known of its device: what was said last stands until it changes, is null, or
its device dies.  Aliases and sequence numbers are an edge node's own; after a
gap, or for an alias or device never born, a rebirth is asked for, at most
every `ASK_MS`.  Messages come at QoS 0 by specification, so nothing is
promised for them beyond that.

>>> host = Host()
>>> host.asks()
[]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from offbeat_edge.payload.message import MAX_SENSOR_CHARS
from offbeat_edge.refusal import Refused, shown
from offbeat_edge.schema import Sample
from offbeat_edge.sparkplug import proto
from offbeat_edge.sparkplug.metric import BOOLEAN, number, numeric
from offbeat_edge.timestamps import to_ms

if TYPE_CHECKING:
    from offbeat_edge.payload.message import Message

NAMESPACE = "spBv1.0"
REBIRTH = "Node Control/Rebirth"
BD_SEQ = "bdSeq"
ASK_MS = 30_000  # between requests to one edge node
SEQS = 256  # sequence numbers before they wrap
MAX_NODES = 1_000
MAX_METRICS = 200_000  # of all of them; a device counts as one more
CONTROLS = ("Node Control/", "Device Control/", "Properties/")  # metrics that are no sensors


@dataclass
class Device:
    """A device of an edge node, or (without a name) the node itself."""

    types: dict[str, int] = field(default_factory=dict)  # metric → datatype
    values: dict[str, float] = field(default_factory=dict)  # as they stand


@dataclass
class Node:
    """An edge node that was born."""

    seq: int
    bd_seq: int | None
    aliases: dict[int, tuple[str | None, str]] = field(default_factory=dict)
    devices: dict[str | None, Device] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How much there is to remember of it."""
        return sum(1 + len(device.types) for device in self.devices.values())


class News(NamedTuple):
    """A message of an edge node, its payload read."""

    message: Message
    kind: str  # NBIRTH, DDATA, …
    who: tuple[str, str]  # group and edge node
    device: str | None
    tree: Any

    @property
    def at_ms(self) -> int:
        """When it came."""
        return self.message.received_ms


Told = dict[int, dict[str, float | None]]  # event time, or -1 → metric → value


class Host:
    """Follows all edge nodes."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], Node] = {}
        self._asked: dict[tuple[str, str], int] = {}
        self._asks: list[str] = []
        self._owners: dict[str, tuple[object, ...]] = {}  # asset → who has its name

    def asks(self) -> list[str]:
        """Return, once, the topics on which to ask for a rebirth."""
        asks, self._asks = self._asks, []
        return asks

    def take(self, message: Message, payload: bytes, unnamed: Refused | None) -> None:
        """Read one message; samples and refusals collect in it.

        Parameters
        ----------
        unnamed : why its topic names no asset, if so.
        """
        try:
            self._take(_news(message, payload), unnamed)
        except Refused as refused:
            message.refuse(refused.reason, refused.detail)

    def _take(self, news: News, unnamed: Refused | None) -> None:
        if news.kind == "NDEATH":
            self._node_dies(news)
        elif news.kind == "NBIRTH":
            self._node_is_born(news)
        elif news.kind in ("DBIRTH", "DDEATH", "DDATA", "NDATA"):
            self._follow(news)
        else:
            raise Refused("unknown_topic", f"expected a kind of message, got {shown(news.kind)}")
        if news.kind in ("NBIRTH", "DBIRTH", "NDATA", "DDATA"):
            self._read(news, self._nodes[news.who], unnamed)

    # -- births and deaths

    def _node_is_born(self, news: News) -> None:
        if news.who not in self._nodes and len(self._nodes) >= MAX_NODES:
            raise Refused("not_sparkplug", f"expected at most {MAX_NODES} edge nodes")
        node = Node(seq=news.tree.seq % SEQS, bd_seq=_bd_seq(news.tree))
        self._nodes[news.who] = node
        self._register(node, news)

    def _node_dies(self, news: News) -> None:
        """Forget a node; the death of an earlier session of it comes late and means nothing."""
        node = self._nodes.get(news.who)
        if node is not None and node.bd_seq == _bd_seq(news.tree):
            del self._nodes[news.who]

    def _follow(self, news: News) -> None:
        """Keep up with an edge node's sequence and devices."""
        node = self._nodes.get(news.who)
        if node is None:
            raise self._unborn(news, "/".join(news.who))
        expected, node.seq = (node.seq + 1) % SEQS, news.tree.seq % SEQS
        if node.seq != expected:
            self._ask(news)
            lost = f"expected seq {expected}, got {node.seq}: messages were lost"
            news.message.refuse("seq_gap", lost)
        if news.kind == "DBIRTH":
            self._register(node, news)
        elif news.kind == "DDEATH":
            node.devices.pop(news.device, None)
        elif news.device not in node.devices:
            raise self._unborn(news, shown(news.device))

    def _register(self, node: Node, news: News) -> None:
        """Take in what a birth says there will be."""
        if sum(node.size for node in self._nodes.values()) + len(news.tree.metrics) > MAX_METRICS:
            raise Refused("not_sparkplug", f"expected at most {MAX_METRICS} metrics of all nodes")
        device = node.devices[news.device] = Device()
        node.aliases = {a: to for a, to in node.aliases.items() if to[0] != news.device}
        for metric in news.tree.metrics:
            name = _text(metric.name)
            if 0 < len(name) <= MAX_SENSOR_CHARS:
                device.types[name] = metric.datatype
                if metric.HasField("alias"):
                    node.aliases[metric.alias] = news.device, name

    def _unborn(self, news: News, what: str) -> Refused:
        self._ask(news)
        return Refused("no_birth", f"expected the birth of {what} before its {news.kind}")

    def _ask(self, news: News) -> None:
        last = self._asked.get(news.who)
        if last is not None and 0 <= news.at_ms - last < ASK_MS:
            return
        if len(self._asked) >= MAX_NODES:
            self._asked.clear()
        self._asked[news.who] = news.at_ms
        self._asks.append(f"{NAMESPACE}/{news.who[0]}/NCMD/{news.who[1]}")

    # -- data

    def _read(self, news: News, node: Node, unnamed: Refused | None) -> None:
        """Take the values of a birth or of data."""
        live, past = self._values(news, node)
        if not live and not past:
            return
        if unnamed is not None:
            raise unnamed
        asset, owner = str(news.message.asset), (*news.who, news.device)
        if self._owners.setdefault(asset, owner) != owner:
            raise Refused("asset_collision", f"expected one device for {asset!r}, got another")
        _add(news.message, asset, node.devices[news.device], live, past)

    def _values(self, news: News, node: Node) -> tuple[Told, Told]:
        """Return what holds from its time on, and what is history told afterwards."""
        live: Told = {}
        past: Told = {}
        for metric in news.tree.metrics:
            name = self._name(news, node, metric)
            if name is None or name == BD_SEQ or name.startswith(CONTROLS):
                continue
            datatype = metric.datatype or node.devices[news.device].types[name]
            at = _time(news, metric, name)
            if at is not None and numeric(datatype):
                where = past if metric.is_historical else live
                where.setdefault(at, {})[name] = number(metric, datatype)
        return live, past

    def _name(self, news: News, node: Node, metric: Any) -> str | None:  # noqa: ANN401
        """Return a metric's name, by its alias if need be; None, and a request, for a stranger."""
        name = _text(metric.name)
        if not name and metric.HasField("alias"):
            owner, known = node.aliases.get(metric.alias, (None, ""))
            name = known if owner == news.device else ""
        if name in node.devices[news.device].types:
            return name
        if len(name) <= MAX_SENSOR_CHARS:
            self._ask(news)
        told = shown(name) if name else f"alias {metric.alias}"
        news.message.refuse("no_birth", f"expected a metric of the birth, got {told}")
        return None


def _news(message: Message, payload: bytes) -> News:
    if message.retained:
        raise Refused("retained", "expected a message of this session, got a retained one")
    _, group, kind, node, *rest = message.topic.split("/")
    return News(message, kind, (group, node), "/".join(rest) or None, proto.parse(payload))


def _time(news: News, metric: Any, name: str) -> int | None:  # noqa: ANN401 - made at run time
    """Return a metric's event time, -1 when none is told, None when it is wrong."""
    stamp = metric.timestamp or news.tree.timestamp
    try:
        return to_ms(stamp, "ms") if stamp else -1
    except Refused as refused:
        news.message.refuse(refused.reason, f"{shown(name)}: {refused.detail}")
        return None


def _add(message: Message, asset: str, device: Device, live: Told, past: Told) -> None:
    for at in sorted(past):
        told = {name: value for name, value in past[at].items() if value is not None}
        _sample(message, asset, at, told)
    for at in sorted(live):
        gone = [name for name, value in live[at].items() if value is None]
        device.values |= {n: value for n, value in live[at].items() if value is not None}
        for name in gone:
            device.values.pop(name, None)
        _sample(message, asset, at, device.values)


def _sample(message: Message, asset: str, at: int, values: dict[str, float]) -> None:
    """Add a sample of what the asset's model wants; of all, where nobody knows that."""
    names = message.plan.fields
    named = {names[n]: v for n, v in values.items() if n in names} if names else dict(values)
    wanted = message.sensors(asset) if message.sensors is not None else ()
    kept = {name: value for name, value in named.items() if name in wanted} if wanted else named
    if kept:
        own = at >= 0
        message.samples.append(Sample(asset, at if own else message.received_ms, kept, own))


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Refused("encoding", f"expected UTF-8, got byte {raw[error.start]:#04x}") from error


def _bd_seq(tree: Any) -> int | None:  # noqa: ANN401 - made at run time
    """Return which session of its node a birth or a death belongs to."""
    found = (m for m in tree.metrics if m.name == BD_SEQ.encode())
    value = next((number(metric, metric.datatype) for metric in found), None)
    return None if value is None else int(value)


def rebirth(now_ms: int) -> bytes:
    """Return the command that asks an edge node for its births."""
    payload = proto.new_payload()
    payload.timestamp = now_ms
    payload.metrics.add(
        name=REBIRTH.encode(), timestamp=now_ms, datatype=BOOLEAN, boolean_value=True
    )
    data: bytes = payload.SerializeToString()
    return data
