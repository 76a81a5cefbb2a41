"""Home Assistant finds our assets: MQTT device discovery.

Rules: one retained object an asset on
``<prefix>/device/offbeat-<gateway>/<asset>/config``; the entities read the
topics that exist anyway.  All are said again when Home Assistant is born;
an asset that is no longer watched is taken back with an empty payload.
Format: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
(device discovery, Home Assistant 2024.12 and later).

>>> object_id("pump3"), object_id("hall1.pump3")
('pump3', 'hall1-pump3-8563e8')
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from offbeat_edge import __version__
from offbeat_edge.schema import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from offbeat_edge.link import Link, Message
    from offbeat_edge.voice import Topics

SUPPORT = "https://github.com/offbeat/offbeat"
BORN = b"online"
PROBLEMS = "['anomaly', 'sensor_fault', 'stale']"
_TOP = "(value_json.contributions | first).sensor if value_json.contributions else none"
ATTRIBUTES = (
    "{{ {'alert': value_json.alert, 'event': value_json.type, 'kind': value_json.kind, "
    "'severity': value_json.severity, 'start': value_json.start, 'end': value_json.end, "
    "'peak': value_json.peak, 'top_sensor': " + _TOP + ", "
    "'contributions': value_json.contributions} | tojson }}"
)


def object_id(asset: str) -> str:
    """Return an asset's name as Home Assistant takes it: it knows no dots.

    A hash keeps ``a.b`` and ``a-b`` apart.
    """
    if "." not in asset:
        return asset
    return f"{asset.replace('.', '-')}-{hashlib.sha256(asset.encode()).hexdigest()[:6]}"


def device(asset: str, *, gateway: str, topics: Topics, scores: bool) -> dict[str, Any]:
    """Return an asset's discovery object.

    Parameters
    ----------
    scores : whether the score stream is published; otherwise the score of
        the last change of state is shown.
    """
    unique = f"offbeat_{gateway}_{object_id(asset)}"
    state = topics.state(asset)
    return {
        "device": {
            "identifiers": [unique],
            "name": asset,
            "manufacturer": "offbeat",
            "model": "watched asset",
        },
        "origin": {"name": "offbeat", "sw_version": __version__, "support_url": SUPPORT},
        "availability": [
            {
                "topic": topics.status,
                "value_template": "{{ 'online' if value == 'online' else 'offline' }}",
            }
        ],
        "qos": 1,
        "components": {
            "problem": {
                "platform": "binary_sensor",
                "unique_id": f"{unique}_problem",
                "name": "Problem",
                "device_class": "problem",
                "state_topic": state,
                "value_template": f"{{{{ 'ON' if value_json.state in {PROBLEMS} else 'OFF' }}}}",
                "json_attributes_topic": topics.alert(asset),
                "json_attributes_template": ATTRIBUTES,
            },
            "state": {
                "platform": "sensor",
                "unique_id": f"{unique}_state",
                "name": "State",
                "device_class": "enum",
                "options": list(get_args(State)),
                "state_topic": state,
                "value_template": "{{ value_json.state }}",
                "entity_category": "diagnostic",
            },
            "score": {
                "platform": "sensor",
                "unique_id": f"{unique}_score",
                "name": "Score",
                "state_class": "measurement",
                "suggested_display_precision": 2,
                "state_topic": topics.score(asset) if scores else state,
                "value_template": "{{ value_json.score }}",
            },
        },
    }


def filters(prefix: str, gateway: str) -> dict[str, int]:
    """Return what to subscribe to, with QoS: its birth, and what we told in another life."""
    return {_birth(prefix): 0, f"{_root(prefix, gateway)}+/config": 0}


def _birth(prefix: str) -> str:
    return f"{prefix}/status"


def _root(prefix: str, gateway: str) -> str:
    return f"{prefix}/device/offbeat-{gateway}/"


class Discovery:
    """What Home Assistant was told, and what it still has to be told.

    Parameters
    ----------
    prefix : Home Assistant's discovery prefix.
    gateway : our name; without dots, which Home Assistant does not take.
    scores : see `device`.
    """

    def __init__(
        self, *, link: Link, topics: Topics, prefix: str, gateway: str, scores: bool
    ) -> None:
        self._link = link
        self._topics = topics
        self._birth = _birth(prefix)
        self._root = _root(prefix, gateway)
        self._gateway = gateway
        self._scores = scores
        self._told: set[str] = set()  # assets
        self._retained: set[str] = set()  # object ids that the broker holds

    def sift(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Take what is for us; return the rest."""
        rest = []
        for message in messages:
            if message.topic == self._birth:
                self._told -= self._told if message.payload == BORN else set()
            elif message.topic.startswith(self._root):
                self._note(message)
            else:
                rest.append(message)
        return rest

    def turn(self, assets: Iterable[str]) -> None:
        """Tell of new assets and take back those that are gone, as far as the broker takes it."""
        present = {object_id(asset): asset for asset in assets}
        for gone in sorted(self._retained - present.keys()):
            if self._publish(gone, b""):
                self._retained.discard(gone)
        self._told &= set(present.values())
        for name, asset in present.items():
            if asset not in self._told and self._publish(name, self._encoded(asset)):
                self._retained.add(name)
                self._told.add(asset)

    def _note(self, message: Message) -> None:
        name = message.topic.removeprefix(self._root).partition("/")[0]
        if message.payload:
            self._retained.add(name)
        else:
            self._retained.discard(name)

    def _encoded(self, asset: str) -> bytes:
        found = device(asset, gateway=self._gateway, topics=self._topics, scores=self._scores)
        return msgspec.json.encode(found)

    def _publish(self, name: str, payload: bytes) -> bool:
        if not self._link.room:
            return False
        topic = f"{self._root}{name}/config"
        return self._link.publish(topic, payload, qos=1, retain=True) is not None
