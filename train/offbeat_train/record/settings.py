"""A recorder's configuration: the daemon's file, of which it reads who it is and what to follow.

Rules: the same keys, as strictly read; ``[[model]]`` may be absent and its
bundles need not exist; the client id and the topics are the recorder's own,
so a gateway's very file will do without disturbing the gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec.structs import replace

from offbeat_edge import config as configs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from offbeat_edge.config import Config
    from offbeat_edge.strict import Reader

PREFIX = "record-"  # before the id, in topics and client ids: no gateway can be called so


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read the file with the environment over it; ConfigError holds all problems."""
    config = configs.load_as(path, configs.Config, environ, _check)
    gateway, folder = config.gateway, path.absolute().parent
    name = f"offbeat/{PREFIX}{gateway.id}"
    state = configs.under(folder, gateway.state_dir) or configs.state_dir(name, environ)
    mqtt = replace(config.mqtt, client_id=f"offbeat-{PREFIX}{gateway.id}")
    return replace(
        config,
        gateway=replace(gateway, state_dir=state),
        mqtt=configs.resolve_mqtt(mqtt, folder, client_id=mqtt.client_id),
    )


def _check(config: Config, reader: Reader) -> None:
    configs.check_mqtt(config.mqtt, reader)
    configs.check_sources(config.sources, reader)


def shown(uri: str) -> str:
    """Return a lake's address without keys, secrets and options.

    >>> shown("s3://key:secret@bucket/lake?region=eu-west-1"), shown("/srv/lake")
    ('s3://bucket/lake', '/srv/lake')
    """
    parts = urlsplit(uri)
    return uri if not parts.netloc else f"{parts.scheme}://{parts.hostname}{parts.path}"
