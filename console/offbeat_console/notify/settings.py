"""The notifier's configuration: one TOML file, as strict as the daemon's.

>>> load(Path("notify.toml"), {}).notify.per_hour  # doctest: +SKIP
30
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from offbeat_edge import config as configs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PREFIX = "notify-"  # before the id, in topics and client ids: no gateway can be called so


class Notify(msgspec.Struct, frozen=True, kw_only=True):
    """``[notify]``: who is told what, and how often."""

    urls_file: configs.Text  # Apprise URLs, one a line
    id: configs.Name = "notify"
    state_dir: str = ""  # resolved when loaded
    min_severity: Literal["warning", "critical"] = "warning"
    assets: tuple[configs.Text, ...] = ("*",)  # glob patterns
    ends: bool = True  # also tell that an alert is over
    per_hour: Annotated[int, Meta(ge=1, le=3600, description="an integer from 1 to 3600")] = 30


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file; paths are absolute and defaults resolved."""

    notify: Notify
    mqtt: configs.Mqtt = configs.Mqtt()
    log: configs.Log = configs.Log()


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read the file with the environment over it; ConfigError holds all problems."""
    settings = configs.load_as(
        path, Settings, environ, lambda found, reader: configs.check_mqtt(found.mqtt, reader)
    )
    folder, notify = path.absolute().parent, settings.notify
    name = f"offbeat-{PREFIX}{notify.id}"
    state = configs.under(folder, notify.state_dir) or configs.state_dir(name, environ)
    urls = configs.under(folder, notify.urls_file)
    return replace(
        settings,
        notify=replace(notify, state_dir=state, urls_file=urls),
        mqtt=configs.resolve_mqtt(settings.mqtt, folder, client_id=name),
    )
