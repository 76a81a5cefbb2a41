"""Who may say and read what at the broker: roles, the ACL, Mosquitto's configuration.

Rules: pure text from names and topics; nothing is granted that is not in
``GRANTS``; a name that could reach into another's topics cannot be made.
Only the ACL changes when people come and go, the configuration does not.

>>> print(acl({"gw1": Access("gateway", topics=("plant/#",))}), end="")
# Written by offbeat provision: who may publish (write) and receive (read) what.
<BLANKLINE>
user gw1
topic read offbeat/gw1/#
topic read offbeat/fleet/#
topic write offbeat/gw1/status
topic write offbeat/gw1/health
topic write offbeat/gw1/errors
topic write offbeat/gw1/shards
topic write offbeat/gw1/probe
topic write offbeat/gw1/asset/#
topic write offbeat/gw1/result/#
topic write offbeat/gw1/rollout/#
topic read homeassistant/status
topic read homeassistant/device/offbeat-gw1/#
topic write homeassistant/device/offbeat-gw1/+/config
topic read plant/#
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Role = Literal[
    "gateway", "source", "trainer", "person", "console", "page", "bridge", "notifier", "sparkplug"
]  # fmt: skip
Rights = Literal["", "viewer", "operator"]

ROOT = "offbeat"
NAME = re.compile(r"[a-z0-9_-][a-z0-9_.-]{0,63}")  # also a folder's name, so no leading dot
RESERVED = ("fleet", "server")  # a gateway "fleet" would own offbeat/fleet
# Begin the names under which a trainer's recorder and a notifier speak of themselves.
SPEAKERS = ("record-", "notify-")
SPARKPLUG = "spBv1.0"  # first level of its topics
MAX_FILTER_CHARS = 1024
MAX_PACKET_BYTES = 1 << 20  # of anything a client sends; the daemon takes 256 KiB unless told
MAX_QUEUED = 10_000_000  # messages: no bound, the bytes are
MAX_QUEUED_BYTES = 64 << 20  # for one client that is away
MAX_CONNECTIONS = 1000  # below the usual limit of 1024 descriptors
MAX_INFLIGHT = 1000  # for MQTT 3.1.1; MQTT 5 clients say it themselves

_VIEWER = ("read #", "read $SYS/#")
_OPERATOR = (
    *_VIEWER,
    "write offbeat/+/cmd/#",
    "write offbeat/fleet/feedback/#",
    "write offbeat/fleet/maintenance/#",
)
# What a role may do; {name} is the identity, {gateway} each that a bridge brings.
# A gateway does not write its own cmd: a thief of its key could leave a retained
# command to its successor.
GRANTS: dict[tuple[Role, Rights], tuple[str, ...]] = {
    ("gateway", ""): (
        "read offbeat/{name}/#",
        "read offbeat/fleet/#",
        "write offbeat/{name}/status",
        "write offbeat/{name}/health",
        "write offbeat/{name}/errors",
        "write offbeat/{name}/shards",
        "write offbeat/{name}/probe",
        "write offbeat/{name}/asset/#",
        "write offbeat/{name}/result/#",
        "write offbeat/{name}/rollout/#",
        "read homeassistant/status",
        "read homeassistant/device/offbeat-{name}/#",
        "write homeassistant/device/offbeat-{name}/+/config",
    ),
    ("source", ""): (),
    ("bridge", ""): (
        "read offbeat/fleet/#",
        "read offbeat/{gateway}/cmd/#",
        "write offbeat/{gateway}/status",
        "write offbeat/{gateway}/health",
        "write offbeat/{gateway}/errors",
        "write offbeat/{gateway}/shards",
        "write offbeat/{gateway}/asset/#",
        "write offbeat/{gateway}/result/#",
        "write offbeat/{gateway}/rollout/#",
    ),
    ("page", ""): (),  # a web server's certificate: no broker takes it from a client
    ("trainer", ""): (
        "read #",
        "write offbeat/fleet/#",
        "write offbeat/record-{name}/status",
        "write offbeat/record-{name}/health",
    ),
    ("notifier", ""): ("read offbeat/+/asset/+/alert", "write offbeat/notify-{name}/status"),
    ("sparkplug", ""): (
        "read offbeat/+/status",
        "read offbeat/+/asset/#",
        "read spBv1.0/+/NCMD/{name}",
        *(f"write spBv1.0/+/{kind}/{{name}}" for kind in ("NBIRTH", "NDATA", "NDEATH")),
        *(f"write spBv1.0/+/{kind}/{{name}}/+" for kind in ("DBIRTH", "DDATA", "DDEATH")),
    ),
    ("person", "viewer"): _VIEWER,
    ("person", "operator"): _OPERATOR,
    ("console", "viewer"): _VIEWER,
    ("console", "operator"): _OPERATOR,
}
DEFAULT_RIGHTS: dict[Role, Rights] = {"person": "viewer", "console": "viewer"}
TOPIC_ACCESS: dict[Role, str] = {"gateway": "read", "source": "write", "bridge": "write"}


class Access(NamedTuple):
    """What one identity is and may do."""

    role: Role
    rights: Rights = ""
    topics: tuple[str, ...] = ()  # a gateway reads these sensor topics, the others write them
    gateways: tuple[str, ...] = ()  # that a bridge brings


def check_name(name: str) -> str | None:
    """Say what is wrong with an identity's name.

    >>> check_name("fleet")
    "expected a name of one's own, got 'fleet', which is reserved"
    """
    if not NAME.fullmatch(name):
        return f"expected a name of a-z 0-9 _ . - (64 at most, no leading dot), got {name!r}"
    if name in RESERVED or name.startswith(SPEAKERS):
        return f"expected a name of one's own, got {name!r}, which is reserved"
    return None


def check_filter(text: str) -> str | None:
    """Say what is wrong with a filter of sensor topics.

    The first level is literal, so that no filter can reach ``offbeat/``.

    >>> check_filter("plant/+/speed") is None, check_filter("#") is None
    (True, False)
    """
    levels = text.split("/")
    if not 0 < len(text) <= MAX_FILTER_CHARS or text != text.strip() or not text.isprintable():
        return f"expected 1 to {MAX_FILTER_CHARS} printable characters, got {text!r}"
    if not levels[0] or levels[0] == ROOT or re.search(r"[+#$]", levels[0]):
        return f"expected a literal first level other than {ROOT!r}, got {text!r}"
    if any(len(level) > 1 and re.search(r"[+#]", level) for level in levels) or "#" in levels[:-1]:
        return f"expected '+' as a whole level and '#' as the last, got {text!r}"
    return None


def acl(everyone: Mapping[str, Access]) -> str:
    """Return Mosquitto's ACL file; who is not in it may do nothing."""
    head = "# Written by offbeat provision: who may publish (write) and receive (read) what.\n"
    return head + "".join(_block(name, everyone[name]) for name in sorted(everyone))


def _block(name: str, access: Access) -> str:
    return "\n".join(("", f"user {name}", *(f"topic {rule}" for rule in _rules(name, access)), ""))


def _rules(name: str, access: Access) -> list[str]:
    """Return ``read TOPIC`` and ``write TOPIC``, each once."""
    grants = GRANTS[access.role, access.rights]
    everyone = access.gateways or ("",)
    rules = [rule.format(name=name, gateway=one) for one in everyone for rule in grants]
    if access.role in TOPIC_ACCESS:
        rules += [f"{TOPIC_ACCESS[access.role]} {topic}" for topic in access.topics]
    if access.role == "gateway":
        rules += sorted({rule for topic in access.topics if (rule := _rebirth(topic))})
    return list(dict.fromkeys(rules))


def _rebirth(topic: str) -> str | None:
    """Return the right to ask edge nodes of a Sparkplug group for their births.

    >>> _rebirth("spBv1.0/plant1/#"), _rebirth("plant/#")
    ('write spBv1.0/plant1/NCMD/+', None)
    """
    levels = topic.split("/")
    if levels[0] != SPARKPLUG or len(levels) < 2:
        return None
    group = "+" if levels[1] == "#" else levels[1]
    return f"write {SPARKPLUG}/{group}/NCMD/+"


def mosquitto_conf(*, port: int) -> str:
    """Return the configuration; its paths are relative to its own folder."""
    return _CONF.format(
        port=port,
        packet=MAX_PACKET_BYTES,
        messages=MAX_QUEUED,
        queued=MAX_QUEUED_BYTES,
        connections=MAX_CONNECTIONS,
        inflight=MAX_INFLIGHT,
    )


def mqtt_toml(*, gateway: str, host: str, port: int) -> str:
    """Return the [mqtt] table of a gateway's configuration."""
    return _TOML.format(gateway=gateway, host=host, port=port)


def bridge_conf(*, name: str, host: str, port: int, access: Access) -> str:
    """Return what a plant's Mosquitto needs to bring its gateways to this broker."""
    rules = [rule.split(" ", 1) for rule in _rules(name, access)]
    ways = "".join(f"topic {topic} {_WAYS[verb]} 1\n" for verb, topic in rules)
    return _BRIDGE.format(name=name, host=host, port=port, ways=ways)


_WAYS = {"write": "out", "read": "in"}
_BRIDGE = """\
# Append to the plant's own mosquitto.conf, with ca.pem, cert.pem and key.pem in the folder bridge/
# beside it.  What cannot be sent waits there, within max_queued_bytes, and survives a restart.
connection {name}
address {host}:{port}
remote_clientid {name}
bridge_protocol_version mqttv50
bridge_cafile bridge/ca.pem
bridge_certfile bridge/cert.pem
bridge_keyfile bridge/key.pem
bridge_tls_version tlsv1.2
cleansession false
notifications false
try_private true
keepalive_interval 30
restart_timeout 1 30
{ways}"""

_CONF = """\
# Written once by offbeat provision; yours to edit.  Start it with ./start, or
# with its folder as the working directory: paths are relative.

# One listener, mutual TLS.  The certificate's name is the user's name and the
# client id, so no one can take over another's session.
listener {port}
cafile authority.pem
certfile server/cert.pem
keyfile server/key.pem
crlfile revoked.pem
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
use_username_as_clientid true
max_connections {connections}
allow_anonymous false
acl_file acl

# Queues outlive a restart, and all but the last two seconds of them a crash.
# "autosave_on_changes true" would write the whole file for every message.
persistence true
persistence_location state/
autosave_interval 1
max_inflight_messages {inflight}
# By default Mosquitto drops what it acknowledged beyond 1000 messages.  Not 0,
# "no limit": 2.0 then throws out a client for one refused publish.
max_queued_messages {messages}
max_queued_bytes {queued}
persistent_client_expiration 14d

max_packet_size {packet}

# Refused publishes are debug lines; ./start turns them on and leaves out the rest.
log_dest stderr
log_timestamp_format %Y-%m-%dT%H:%M:%S
log_type error
log_type warning
log_type notice
log_type information
log_type subscribe
connection_messages true
"""

# The pattern is anchored: a hostile topic cannot hide its own refusal.
START = """\
#!/bin/bash
# Start the broker and log refusals: Mosquitto tells of refused publishes among
# its debug lines only, so all are on and the everyday ones are left out.
cd "$(dirname "$0")" || exit 1
umask 077
exec mosquitto -v -c mosquitto.conf "$@" \\
  2> >(exec grep --line-buffered -vE '^[^ ]+: (Sending|Received) P')
"""

_TOML = """\
# For the gateway's offbeat.toml, with these files beside it (paths are relative to it).
# [gateway]
# id = "{gateway}"
[mqtt]
host = "{host}"
port = {port}
client_id = "{gateway}"  # the broker takes the certificate's name, whatever stands here
ca_file = "ca.pem"
cert_file = "cert.pem"
key_file = "key.pem"
"""
