"""From configuration tables to what a link needs: for the daemon, and for others like it.

Rules: files are read when asked for, each failure a ConfigError that names
its key.

>>> from offbeat_edge.config import Mqtt, Source
>>> filters((Source(topic="plant/{asset}", qos=0), Source(topic="plant/{asset}")))
[('plant/+', 1)]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import subscriptions
from offbeat_edge.config import Mqtt, check_mqtt, read_table, resolve_mqtt
from offbeat_edge.errors import ConfigError
from offbeat_edge.link import Broker, Link, tls_context
from offbeat_edge.log import Log
from offbeat_edge.strict import Reader
from offbeat_edge.topics import Template

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    from offbeat_edge.config import Log as LogTable
    from offbeat_edge.config import Source
    from offbeat_edge.link import Will

PACKET_SLACK_BYTES = 1 << 20  # a payload that is a little too large is refused by us, with a reason
SECRET_BYTES = 4096  # a password file is not longer


def link(
    mqtt: Mqtt,
    *,
    filters: Iterable[tuple[str, int]],
    status_topic: str | None,
    max_payload_bytes: int,
    log: Log,
    state: Path | None = None,
    will: Callable[[], Will] | None = None,
    lasting: bool = True,
) -> Link:
    """Return the link that a configuration asks for; nothing is connected yet.

    Parameters
    ----------
    state : the folder that keeps what the broker's session for us may hold;
        None for a client that is content with a session that ends with it.
    will, lasting : as `Link` takes them.

    Raises
    ------
    ConfigError : the password cannot be read.
    """
    held = None if state is None else state / subscriptions.FILE
    return Link(
        broker=broker(mqtt, max_payload_bytes=max_payload_bytes),
        protocol=mqtt.protocol,
        filters=list(filters),
        status_topic=status_topic,
        log=log,
        tls=tls(mqtt),
        will=will,
        lasting=lasting,
        held=() if held is None else subscriptions.load(held),
        remember=lambda names: None if held is None else subscriptions.save(held, names),
    )


def read_mqtt(path: Path) -> Mqtt:
    """Read the ``[mqtt]`` table of a file, as ``offbeat provision`` writes it.

    Raises
    ------
    ConfigError : all that is wrong with it.
    """
    reader = Reader(path.name)
    mqtt = reader.table(Mqtt, read_table(path).get("mqtt", {}), "mqtt")
    if mqtt is not None:
        check_mqtt(mqtt, reader)
    if mqtt is None or reader.problems:
        raise ConfigError(reader.problems)
    return resolve_mqtt(mqtt, path.absolute().parent, client_id="")


def broker(mqtt: Mqtt, *, max_payload_bytes: int) -> Broker:
    """Return who we are at which broker."""
    return Broker(
        host=mqtt.host,
        port=mqtt.port,
        client_id=mqtt.client_id,
        username=mqtt.username or None,
        password=_secret(mqtt.password_file) if mqtt.password_file else None,
        keepalive_s=mqtt.keepalive_s,
        receive_maximum=mqtt.receive_maximum,
        max_packet_bytes=max_payload_bytes + PACKET_SLACK_BYTES,
    )


def filters(sources: Iterable[Source]) -> list[tuple[str, int]]:
    """Return the subscriptions of all sources, each once with its highest QoS."""
    found: dict[str, int] = {}
    for source in sources:
        name = Template.parse(source.topic).filter
        found[name] = max(source.qos, found.get(name, 0))
    return list(found.items())


def tls(mqtt: Mqtt) -> Callable[[], ssl.SSLContext] | None:
    """Return what makes a TLS context, None for a clear connection."""
    if not mqtt.tls:
        return None
    return lambda: tls_context(
        ca_file=mqtt.ca_file, cert_file=mqtt.cert_file, key_file=mqtt.key_file
    )


def log(table: LogTable) -> Log:
    """Return the log on standard output, pretty on a terminal."""
    pretty = table.format == "pretty"
    if table.format == "auto":
        pretty = sys.stdout.isatty()
    return Log(stream=sys.stdout, level=table.level, pretty=pretty)


def _secret(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(SECRET_BYTES).decode().strip()
    except (OSError, ValueError) as error:
        raise ConfigError(
            [f"mqtt.password_file: expected a readable text, got: {error}"]
        ) from error
