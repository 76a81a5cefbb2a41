"""A gateway as a Sparkplug edge node: what it says → births, data and deaths.

Rules: pure; an asset is a device, born when a state or an alert of it is first
heard and dead when its state is cleared; data holds what changed; every
message but a node's death counts on in `seq`.  What is not known yet (the
severity of an alert that was open before we came) is null.

>>> node = EdgeNode(group="plant1", node="scada", gateway="gw1")
>>> [topic for topic, _ in node.births(bd_seq=0, now_ms=0)]
['spBv1.0/plant1/NBIRTH/scada']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from offbeat_edge.refusal import Refused
from offbeat_edge.schema import AlertEvent, AssetState, ScoreRecord
from offbeat_edge.sparkplug import proto
from offbeat_edge.sparkplug.host import BD_SEQ, NAMESPACE, REBIRTH, SEQS
from offbeat_edge.sparkplug.metric import BOOLEAN, DOUBLE, INT64, STRING

if TYPE_CHECKING:
    from collections.abc import Mapping

    Out = list[tuple[str, bytes]]  # topics and payloads, QoS 0, not retained

Value = str | float | bool | None
# A device's metrics and their datatypes.
METRICS: dict[str, int] = {
    "State": STRING,
    "Score": DOUBLE,
    "Alert/Active": BOOLEAN,
    "Alert/Id": STRING,
    "Alert/Kind": STRING,
    "Alert/Severity": STRING,
    "Alert/Message": STRING,
    "Alert/Top Sensor": STRING,
}
QUIET: dict[str, Value] = {
    **dict.fromkeys(name for name in METRICS if name.startswith("Alert/")), "Alert/Active": False,
}  # fmt: skip
STATUS = "Gateway/Status"  # of the node
_FIELDS = {STRING: "string_value", DOUBLE: "double_value", BOOLEAN: "boolean_value",
           INT64: "long_value"}  # fmt: skip
_STATE = msgspec.json.Decoder(AssetState)
_SCORE = msgspec.json.Decoder(ScoreRecord)
_ALERT = msgspec.json.Decoder(AlertEvent)


class EdgeNode:
    """One gateway's edge node.

    Parameters
    ----------
    group, node : its Sparkplug names.
    gateway : whom it speaks for.
    """

    def __init__(self, *, group: str, node: str, gateway: str) -> None:
        self._group = group
        self._node = node
        self._root = f"offbeat/{gateway}"
        self._seq = 0
        self._status: str | None = None
        self._devices: dict[str, dict[str, Value]] = {}
        self._bd_seq: int | None = None  # None: not born

    @property
    def filters(self) -> list[tuple[str, int]]:
        """What to subscribe to, with QoS."""
        return [
            (self.command_topic, 1), (f"{self._root}/status", 1),
            (f"{self._root}/asset/+/state", 1), (f"{self._root}/asset/+/alert", 1),
            (f"{self._root}/asset/+/score", 0),
        ]  # fmt: skip

    @property
    def command_topic(self) -> str:
        """Where a host asks us for births."""
        return f"{NAMESPACE}/{self._group}/NCMD/{self._node}"

    def death(self, bd_seq: int) -> tuple[str, bytes]:
        """Return the last will of a session: topic and payload."""
        payload = proto.new_payload()
        _put(payload, BD_SEQ, INT64, bd_seq)
        return f"{NAMESPACE}/{self._group}/NDEATH/{self._node}", payload.SerializeToString()

    def births(self, *, bd_seq: int, now_ms: int) -> Out:
        """Be born, with all that is known."""
        self._seq, self._bd_seq = 0, bd_seq
        payload = self._payload(now_ms)
        _put(payload, BD_SEQ, INT64, bd_seq)
        _put(payload, REBIRTH, BOOLEAN, False)
        _put(payload, STATUS, STRING, self._status)
        born = [self._message("NBIRTH", None, payload)]
        return born + [self._born(asset, now_ms) for asset in sorted(self._devices)]

    def hear(self, topic: str, payload: bytes, *, now_ms: int) -> Out:
        """Say what a message of the gateway, or a host's command, leads to; never raises."""
        if topic == self.command_topic:
            return self._command(payload, now_ms)
        levels = topic.removeprefix(f"{self._root}/").split("/")
        try:
            if levels == ["status"]:
                return self._gateway(payload[:32].decode(), now_ms)
            if len(levels) == 3 and levels[0] == "asset":
                return self._asset(levels[1], levels[2], payload, now_ms)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return []
        return []

    def _command(self, payload: bytes, now_ms: int) -> Out:
        try:
            metrics = proto.parse(payload).metrics
        except Refused:
            return []
        asked = any(m.name == REBIRTH.encode() and m.boolean_value for m in metrics)
        if not asked or self._bd_seq is None:
            return []
        return self.births(bd_seq=self._bd_seq, now_ms=now_ms)

    def _gateway(self, status: str, now_ms: int) -> Out:
        if status == self._status:
            return []
        self._status = status
        payload = self._payload(now_ms)
        _put(payload, STATUS, STRING, status)
        return self._if_born(self._message("NDATA", None, payload))

    def _asset(self, asset: str, what: str, payload: bytes, now_ms: int) -> Out:
        if what == "state" and not payload:
            return self._dies(asset, now_ms)
        if what == "state":
            state = _STATE.decode(payload)
            return self._change(asset, _of_state(state), state.since_ms, now_ms)
        if what == "score" and asset in self._devices:
            score = _SCORE.decode(payload)
            return self._change(asset, {"Score": score.score}, score.time_ms, now_ms)
        if what == "alert":
            event = _ALERT.decode(payload)
            other = self._devices.get(asset, QUIET)["Alert/Id"] != event.alert
            told = {} if event.type == "end" and other else _of_alert(event)
            return self._change(asset, told, event.time_ms, now_ms)
        return []

    def _dies(self, asset: str, now_ms: int) -> Out:
        if self._devices.pop(asset, None) is None:
            return []
        return self._if_born(self._message("DDEATH", asset, self._payload(now_ms)))

    def _change(self, asset: str, told: Mapping[str, Value], at_ms: int, now_ms: int) -> Out:
        """Say what changed of an asset, with its event time."""
        known = self._devices.get(asset)
        if known is None:
            self._devices[asset] = {**dict.fromkeys(METRICS), **told}
            return [] if self._bd_seq is None else [self._born(asset, now_ms)]
        changed = {name: value for name, value in told.items() if known[name] != value}
        known |= changed
        if not changed or self._bd_seq is None:
            return []
        payload = self._payload(now_ms)
        for name, value in changed.items():
            _put(payload, name, METRICS[name], value, at_ms)
        return [self._message("DDATA", asset, payload)]

    def _born(self, asset: str, now_ms: int) -> tuple[str, bytes]:
        payload = self._payload(now_ms)
        for name, value in self._devices[asset].items():
            _put(payload, name, METRICS[name], value)
        return self._message("DBIRTH", asset, payload)

    def _payload(self, now_ms: int) -> Any:  # noqa: ANN401 - made at run time
        payload = proto.new_payload()
        payload.timestamp = now_ms
        return payload

    def _message(self, kind: str, device: str | None, payload: Any) -> tuple[str, bytes]:  # noqa: ANN401
        """Number a message and address it."""
        payload.seq = self._seq
        if self._bd_seq is not None:
            self._seq = (self._seq + 1) % SEQS
        topic = f"{NAMESPACE}/{self._group}/{kind}/{self._node}"
        return (f"{topic}/{device}" if device else topic), payload.SerializeToString()

    def _if_born(self, message: tuple[str, bytes]) -> Out:
        return [] if self._bd_seq is None else [message]


def _of_state(state: AssetState) -> dict[str, Value]:
    alert: dict[str, Value] = {"Alert/Active": True, "Alert/Id": state.alert}
    told: dict[str, Value] = {"State": state.state, "Score": state.score}
    return told | (QUIET if state.alert is None else alert)


def _of_alert(event: AlertEvent) -> dict[str, Value]:
    if event.type == "end":
        return dict(QUIET)
    top = event.contributions[0].sensor if event.contributions else None
    return {
        "Alert/Active": True, "Alert/Id": event.alert, "Alert/Kind": event.kind,
        "Alert/Severity": event.severity, "Alert/Message": event.message, "Alert/Top Sensor": top,
    }  # fmt: skip


def _put(payload: Any, name: str, datatype: int, value: Value, at_ms: int | None = None) -> None:  # noqa: ANN401
    """Add a metric."""
    metric = payload.metrics.add(name=name.encode(), datatype=datatype)
    metric.timestamp = payload.timestamp if at_ms is None else at_ms
    if value is None:
        metric.is_null = True
    else:
        setattr(metric, _FIELDS[datatype], value.encode() if isinstance(value, str) else value)
