"""Which broker, and who we are there: arguments of commands that people type.

Rules: a file with an ``[mqtt]`` table (a gateway's configuration, or what
``offbeat provision`` wrote), arguments over it; a password only from a file.
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from offbeat_edge import dial
from offbeat_edge.announce.courier import Courier
from offbeat_edge.config import Mqtt, check_mqtt, read_table, resolve_mqtt
from offbeat_edge.errors import ConfigError
from offbeat_edge.strict import Reader

if TYPE_CHECKING:
    import argparse

GIVEN = ("host", "port", "username", "password_file", "ca_file", "cert_file", "key_file")
MAX_PAYLOAD_BYTES = 1 << 20  # of what comes back


def add_broker_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument("--config", type=Path, help="a TOML file with an [mqtt] table")
    parser.add_argument("--host", help="the broker; default: localhost")
    parser.add_argument("--port", type=int, help="default: 1883, with TLS 8883")
    parser.add_argument("--username", help="needs --password-file")
    parser.add_argument("--password-file", help="a file that holds the password")
    parser.add_argument("--ca-file", help="authorities we trust (PEM); turns TLS on")
    parser.add_argument("--cert-file", help="our own certificate (PEM)")
    parser.add_argument("--key-file", help="its key (PEM)")


def mqtt_of(args: argparse.Namespace) -> Mqtt:
    """Return which broker is meant and how it is reached; ConfigError says all that is wrong."""
    reader = Reader(args.config.name if args.config else "arguments")
    table = read_table(args.config).get("mqtt", {}) if args.config else {}
    mqtt = reader.table(Mqtt, table, "mqtt") or Mqtt()
    folder = args.config.absolute().parent if args.config else Path.cwd()
    mqtt = resolve_mqtt(mqtt, folder, client_id="offbeat")
    given = {key: getattr(args, key) for key in GIVEN if getattr(args, key) is not None}
    if given.keys() & {"ca_file", "cert_file"} and "port" not in given and not table.get("port"):
        given["port"] = 0  # that of TLS
    mqtt = resolve_mqtt(replace(mqtt, **given), Path.cwd(), client_id="offbeat")
    check_mqtt(mqtt, reader)
    if reader.problems:
        raise ConfigError(reader.problems)
    return mqtt


def courier_of(args: argparse.Namespace) -> Courier:
    """Return who brings messages there; ConfigError says all that is wrong."""
    mqtt = mqtt_of(args)
    return Courier(
        broker=dial.broker(mqtt, max_payload_bytes=MAX_PAYLOAD_BYTES),
        protocol=mqtt.protocol,
        tls=dial.tls(mqtt),
    )


def user() -> str:
    """Return who types, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
