"""The console's configuration: one TOML file, or nothing at all.

Rules: strict and told in whole, as the daemon's is; ``[mqtt]`` and
``[[source]]`` are the daemon's own tables.  Without a file everything has a
default: a broker and a page on this machine.

>>> load(None, {"HOME": "/home/ann"}).console.state_dir
'/home/ann/.local/state/offbeat-console'
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, field
from msgspec.structs import replace

from offbeat_edge import config as configs
from offbeat_edge.errors import ConfigError
from offbeat_edge.strict import Reader, overlay

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT = 8088
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Console(msgspec.Struct, frozen=True, kw_only=True):
    """``[console]``: the page, and what is kept."""

    host: configs.Text = "127.0.0.1"  # beyond loopback only with users
    port: Annotated[int, Meta(ge=1, le=65535, description="an integer from 1 to 65535")] = (
        DEFAULT_PORT
    )
    title: configs.Text = "offbeat"
    state_dir: str = ""  # resolved when loaded
    store_mb: Annotated[float, Meta(ge=16, le=1e6, description="a number from 16 to 1000000")] = (
        512.0
    )
    cert_file: str = ""  # with key_file: the page is served by HTTPS
    key_file: str = ""
    behind_tls: bool = False  # a reverse proxy in front of us ends TLS


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file; paths are absolute and defaults resolved."""

    console: Console = Console()
    mqtt: configs.Mqtt = configs.Mqtt()
    sources: tuple[configs.Source, ...] = field(name="source", default=())
    log: configs.Log = configs.Log()

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach the page."""
        return self.console.host not in LOOPBACK

    @property
    def https(self) -> bool:
        """Whether a browser's way to the page is encrypted."""
        return bool(self.console.cert_file) or self.console.behind_tls


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the file, if there is one, with the environment over it."""
    reader = Reader(path.name if path else "defaults")
    table = configs.read_table(path) if path else {}
    reader.problems += overlay(Settings, table, environ)
    settings = reader.table(Settings, table, "") or Settings()
    _check(settings, reader)
    if reader.problems:
        raise ConfigError(reader.problems)
    return _resolve(settings, path.absolute().parent if path else Path.cwd(), environ)


def _check(settings: Settings, reader: Reader) -> None:
    page = settings.console
    if bool(page.cert_file) != bool(page.key_file):
        reader.problem("console", "expected cert_file and key_file together, got one of them")
    configs.check_mqtt(settings.mqtt, reader)
    configs.check_sources(settings.sources, reader)


def _resolve(settings: Settings, folder: Path, environ: Mapping[str, str]) -> Settings:
    page = settings.console
    files = {key: configs.under(folder, getattr(page, key)) for key in ("cert_file", "key_file")}
    state = configs.under(folder, page.state_dir) or configs.state_dir("offbeat-console", environ)
    return replace(
        settings,
        console=replace(page, state_dir=state, **files),
        mqtt=configs.resolve_mqtt(settings.mqtt, folder, client_id="offbeat-console"),
    )
