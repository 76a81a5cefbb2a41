"""The daemon's configuration: one TOML file, frozen Structs, all problems at once.

Rules: only this format is strict (an unknown key is an error); every key can
be overridden by the environment (``strict.overlay``); secrets are references
to files; relative paths start at the file's own folder.  Reading opens
nothing but the file itself: ``check_command`` looks at what it points to.
A sufficient file::

    [gateway]
    id = "gw1"
    [[source]]
    topic = "plant/{asset}"
    [[model]]
    bundle = "pump.offbeat"
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, field
from msgspec.structs import force_setattr, replace

from offbeat_edge.errors import ConfigError
from offbeat_edge.payload import presets
from offbeat_edge.payload.json_path import parse_path
from offbeat_edge.strict import Reader, overlay
from offbeat_edge.topics import Template, asset_name, overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from offbeat_edge.schema import AlertRule

S = TypeVar("S", bound=msgspec.Struct)

MAX_FILE_BYTES = 1 << 20  # 1 MiB of configuration
SPARKPLUG_TOPIC = re.compile(r"spBv1\.0/[^/{}]+/\+/\{asset\.\.\.\}")
MAX_S = 366 * 86_400  # seconds; the longest duration a key takes

Name = Annotated[
    str, Meta(pattern=r"\A[a-z0-9_.-]{1,64}\Z", description="a name of a-z 0-9 _ . - (64 at most)")
]
Text = Annotated[str, Meta(min_length=1, max_length=1024, description="a string that is not empty")]
Port = Annotated[int, Meta(ge=0, le=65535, description="an integer from 1 to 65535")]
Count = Annotated[int, Meta(ge=1, le=65535, description="an integer from 1 to 65535")]
Seconds = Annotated[
    float, Meta(ge=0, le=MAX_S, description=f"a number of seconds from 0 to {MAX_S}")
]
Ratio = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
Digest = Annotated[
    str, Meta(pattern=r"\A(sha256:[0-9a-f]{64})?\Z", description="'sha256:' and 64 hex digits")
]
Preset = Literal["zigbee2mqtt", "tasmota", "telegraf", "sparkplug"]
Format = Literal["auto", "json", "number", "influx", "sparkplug"]
TimeUnit = Literal["auto", "s", "ms", "us", "ns"]


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """``[gateway]``: who we are."""

    id: Name
    site: Name = "default"
    state_dir: str = ""  # resolved when loaded


class Mqtt(msgspec.Struct, frozen=True, kw_only=True):
    """``[mqtt]``: the broker and how to reach it."""

    host: Text = "localhost"
    port: Port = 0  # resolved when loaded: 1883, or 8883 with TLS
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    client_id: Annotated[str, Meta(max_length=128, description="up to 128 characters")] = ""
    username: str = ""
    password_file: str = ""
    keepalive_s: Annotated[int, Meta(ge=5, le=3600, description="an integer from 5 to 3600")] = 30
    tls: bool = False  # resolved when loaded: any file below turns it on
    ca_file: str = ""  # empty with TLS: the system's authorities
    cert_file: str = ""
    key_file: str = ""
    receive_maximum: Count = 1000  # unacknowledged messages, MQTT 5
    share: Annotated[
        str,
        Meta(pattern=r"\A[A-Za-z0-9_.-]{0,64}\Z", description="up to 64 of A-Z a-z 0-9 _ . -"),
    ] = ""  # group of $share, with --shards, at a broker that hashes by topic


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """``[[source]]``: a family of topics and how to read what comes there."""

    preset: Preset | None = None  # fills in what is left out below
    topic: Text = ""
    format: Format = "auto"
    time: str = ""  # path of the time; empty: found by its usual names
    time_unit: TimeUnit = "auto"  # of a number: by its magnitude
    values: dict[str, str] = {}  # sensor → path; empty: every number
    prefix: str = ""  # path of the object (or list) that holds the values
    asset: str = ""  # path or tag of the asset's name, when the topic has none
    assets: dict[str, str] = {}  # path in the topic → another name for it
    qos: Annotated[int, Meta(ge=0, le=1, description="0 or 1")] = 1

    def __post_init__(self) -> None:
        """Fill in what the preset says."""
        keys = ("topic", "format", "time", "asset")
        given = {key: value for key in keys if (value := getattr(self, key)) not in ("", "auto")}
        for key, value in presets.fill(self.preset, given).items():
            force_setattr(self, key, value)


class AlertOverride(msgspec.Struct, frozen=True, kw_only=True):
    """``[model.alert]``: what differs from the bundle's alert rule."""

    min_duration_s: Seconds | None = None
    clear_ratio: Ratio | None = None
    clear_s: Seconds | None = None
    cooldown_s: Seconds | None = None

    def over(self, rule: AlertRule) -> AlertRule:
        """Return the bundle's rule with these settings over it."""
        given = {
            "min_duration_ms": _ms(self.min_duration_s),
            "clear_ratio": self.clear_ratio,
            "clear_ms": _ms(self.clear_s),
            "cooldown_ms": _ms(self.cooldown_s),
        }
        return replace(rule, **{key: value for key, value in given.items() if value is not None})


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """``[[model]]``: a bundle and the assets it watches."""

    bundle: Text
    assets: tuple[Text, ...] = ("*",)  # glob patterns; the first model that matches has it
    digest: Digest = ""
    lateness_s: Seconds | None = None  # none: the bundle decides
    warmup_s: Seconds = 0.0  # in which an asset's own levels are learned; 0: never
    alert: AlertOverride = AlertOverride()

    @property
    def lateness_ms(self) -> int | None:
        """Allowed lateness in milliseconds of event time; None: the bundle decides."""
        return _ms(self.lateness_s)

    @property
    def warmup_ms(self) -> int:
        """Length of the warm-up in milliseconds of event time; 0: none."""
        return _ms(self.warmup_s) or 0

    def watches(self, asset: str) -> bool:
        """Whether one of the patterns matches this asset's name."""
        return any(fnmatchcase(asset, pattern) for pattern in self.assets)


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """``[trust]``: who vouches for bundles."""

    keys: tuple[Text, ...] = ()  # PEM files of public keys; one must have signed every bundle


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """``[delivery]``: signed bundles from afar."""

    root: str = ""  # the root of trust; empty: no delivery
    source: Annotated[
        str,
        Meta(
            pattern=r"\A(mqtt|https?://[!-~]{1,1000})\Z",
            description="'mqtt' or an https:// folder",
        ),
    ] = "mqtt"
    poll_s: Annotated[
        float, Meta(ge=10, le=MAX_S, description=f"a number of seconds from 10 to {MAX_S}")
    ] = 300.0  # of an https:// folder


class Publish(msgspec.Struct, frozen=True, kw_only=True):
    """``[publish]``: what is said beside alerts."""

    score: bool = False
    explain_top: Annotated[int, Meta(ge=0, le=100, description="an integer from 0 to 100")] = 3
    health_interval_s: Annotated[
        float, Meta(ge=1, le=86_400, description="a number of seconds from 1 to 86400")
    ] = 60.0


class HomeAssistant(msgspec.Struct, frozen=True, kw_only=True):
    """``[homeassistant]``: whether it finds our assets by itself."""

    discovery: bool = False
    prefix: Name = "homeassistant"


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """``[metrics]``: what Prometheus may read."""

    host: Text = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="an integer from 1 to 65535, or 0: nothing")
    ] = 0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """``[limits]``: bounds on what others can make us use."""

    max_payload_bytes: Annotated[
        int, Meta(ge=64, le=4 << 20, description=f"an integer from 64 to {4 << 20}")
    ] = 256 << 10
    max_assets: Annotated[
        int, Meta(ge=1, le=100_000, description="an integer from 1 to 100000")
    ] = 1000
    spool_mb: Annotated[float, Meta(ge=1, le=1e6, description="a number from 1 to 1000000")] = 64.0
    errors_per_minute: Annotated[
        int, Meta(ge=0, le=6000, description="an integer from 0 to 6000")
    ] = 60


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """``[log]``: what is written to standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "pretty"] = "auto"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file; paths are absolute and defaults resolved."""

    gateway: Gateway
    mqtt: Mqtt = Mqtt()
    sources: tuple[Source, ...] = field(name="source", default=())
    models: tuple[Model, ...] = field(name="model", default=())
    trust: Trust = Trust()
    delivery: Delivery = Delivery()
    publish: Publish = Publish()
    homeassistant: HomeAssistant = HomeAssistant()
    metrics: Metrics = Metrics()
    limits: Limits = Limits()
    log: Log = Log()

    def model_for(self, asset: str) -> Model | None:
        """Return the first model whose patterns match ``asset``."""
        return next((model for model in self.models if model.watches(asset)), None)

    def model_digest(self, model: Model) -> str:
        """Return the SHA-256 (hex) of the settings that alerts of ``model`` depend on.

        The bundle is not among them: it has a digest of its own, and may lie
        elsewhere on another device.  Nor are the patterns: they say which
        assets, not how.
        """
        sources = [msgspec.to_builtins(source) for source in self.sources]
        for source in sources:
            del source["preset"]  # which has said its part in the other keys
        settings: dict[str, object] = {
            "site": self.gateway.site,
            "sources": sources,
            "lateness_ms": model.lateness_ms,
            "alert": model.alert,
            "explain_top": self.publish.explain_top,
        }
        if model.warmup_ms:  # a key by itself, so that digests of before there was one hold
            settings["warmup_ms"] = model.warmup_ms
        return hashlib.sha256(msgspec.json.encode(settings, order="sorted")).hexdigest()


def load(path: str | Path, environ: Mapping[str, str]) -> Config:
    """Read the file with the environment over it; ConfigError holds all problems."""
    config, problems = read(path, environ)
    if config is None or problems:
        raise ConfigError(problems)
    return config


def read(path: str | Path, environ: Mapping[str, str]) -> tuple[Config | None, list[str]]:
    """Read as much as can be read, and say all that is wrong.

    With problems the configuration is good for looking further, not for
    running: a wrong key has its default in it.
    """
    path = Path(path)
    try:
        table = read_table(path)
    except ConfigError as error:
        return None, error.problems
    reader = Reader(path.name)
    reader.problems += overlay(Config, table, environ)
    config = reader.table(Config, table, "")
    if config is None:  # without a name for us the rest can be looked at all the same
        config = Reader(path.name).table(Config, {**table, "gateway": {"id": "unnamed"}}, "")
    if config is None:
        return None, reader.problems
    _check(config, reader)
    return _resolve(config, path.absolute().parent, environ), reader.problems


def load_as(
    path: Path, kind: type[S], environ: Mapping[str, str], check: Callable[[S, Reader], None]
) -> S:
    """Read a file of some kind with the environment over it; ConfigError holds all problems."""
    table = read_table(path)
    reader = Reader(path.name)
    reader.problems += overlay(kind, table, environ)
    settings = reader.table(kind, table, "")
    if settings is not None:
        check(settings, reader)
    if settings is None or reader.problems:
        raise ConfigError(reader.problems)
    return settings


def read_table(path: Path) -> dict[str, Any]:
    """Read a TOML file of bounded size; ConfigError when it is none."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{path}: expected a readable file, got: {error.strerror}"]) from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError([f"{path}: expected at most {MAX_FILE_BYTES} bytes"])
    try:
        return tomllib.loads(raw.decode())
    except RecursionError as error:
        raise ConfigError([f"{path}: expected TOML, got values nested too deep"]) from error
    except ValueError as error:
        raise ConfigError([f"{path}: expected TOML, got: {error}"]) from error


def _check(config: Config, reader: Reader) -> None:
    """Check what one key's type cannot say."""
    for name, tables in (("source", config.sources), ("model", config.models)):
        # A table that could not be read has its problem already.
        if not tables and not any(f": {name}" in problem for problem in reader.problems):
            reader.problem(name, f"expected one [[{name}]] at least, got none")
    for index, model in enumerate(config.models):
        if not model.assets:
            reader.problem(f"model[{index}].assets", "expected one pattern at least, got none")
    if config.homeassistant.discovery and "." in config.gateway.id:
        got = f"expected a gateway.id without '.' for Home Assistant, got {config.gateway.id!r}"
        reader.problem("homeassistant.discovery", got)
    check_mqtt(config.mqtt, reader)
    check_sources(config.sources, reader)
    if config.mqtt.share:
        _check_share(config.sources, reader)


def _check_share(sources: tuple[Source, ...], reader: Reader) -> None:
    """Refuse what a broker's hash of topics would spread over several shards."""
    if len(sources) > 1:
        problem = f"expected one [[source]], so that an asset has one topic, got {len(sources)}"
        reader.problem("mqtt.share", problem)
    for source in sources:
        with contextlib.suppress(ValueError):  # has its problem already
            if "+" in Template.parse(source.topic).of_asset("asset"):
                problem = f"expected one topic for each asset, got {source.topic!r}: an asset's"
                reader.problem("mqtt.share", f"{problem} topics would come to several shards")


def check_mqtt(mqtt: Mqtt, reader: Reader) -> None:
    """Check what the keys of ``[mqtt]`` say together."""
    if bool(mqtt.cert_file) != bool(mqtt.key_file):
        reader.problem("mqtt", "expected cert_file and key_file together, got one of them")
    if mqtt.password_file and not mqtt.username:
        reader.problem("mqtt.username", "expected a name beside password_file, got nothing")
    if mqtt.share and mqtt.protocol == "3.1.1":
        reader.problem("mqtt.share", "expected MQTT 5, which has shared subscriptions, got 3.1.1")


def check_sources(sources: tuple[Source, ...], reader: Reader) -> None:
    """Check every ``[[source]]``, and that no two match the same topics."""
    templates = [
        _check_source(source, f"source[{index}]", reader) for index, source in enumerate(sources)
    ]
    _check_overlaps(templates, reader)


def _check_source(source: Source, where: str, reader: Reader) -> Template | None:
    """Check one source; None when its template cannot be read."""
    for key, path in {"time": source.time, "prefix": source.prefix, **source.values}.items():
        try:
            parse_path(path)
        except ValueError as error:
            name = key if key in ("time", "prefix") else f"values.{key}"
            reader.problem(f"{where}.{name}", str(error))
    _check_assets(source, where, reader)
    if not source.topic:
        reader.problem(f"{where}.topic", "expected a topic or a preset, got nothing")
        return None
    try:
        template = Template.parse(source.topic)
    except ValueError as error:
        reader.problem(f"{where}.topic", f"{error} in {source.topic!r}")
        return None
    if (template.asset is None) == (not source.asset):
        got = "neither" if template.asset is None else "both"
        reader.problem(where, f"expected either {{asset}} in the topic or the key asset, got {got}")
    if source.format == "number" and template.sensor is None:
        reader.problem(f"{where}.format", "expected {sensor} in the topic beside 'number'")
    if source.format == "sparkplug" and not SPARKPLUG_TOPIC.fullmatch(source.topic):
        expected = "expected spBv1.0/GROUP/+/{asset...} beside 'sparkplug'"
        reader.problem(f"{where}.topic", f"{expected}, got {source.topic!r}")
    if source.format == "influx" and source.prefix:
        reader.problem(f"{where}.prefix", "expected none beside 'influx', which has no paths")
    if template.sensor is not None and (source.format == "influx" or source.values):
        reader.problem(where, "expected no {sensor} in the topic beside 'influx' or values")
    return template


def _check_assets(source: Source, where: str, reader: Reader) -> None:
    taken: dict[str, str] = {}
    for path, name in source.assets.items():
        if asset_name(name, dots=True) != name:
            reader.problem(f"{where}.assets", f"expected a name of a-z 0-9 _ . -, got {name!r}")
        if name in taken:
            reader.problem(f"{where}.assets", f"{taken[name]!r} and {path!r} are both {name!r}")
        taken[name] = path


def _check_overlaps(templates: list[Template | None], reader: Reader) -> None:
    for later, second in enumerate(templates):
        for earlier, first in enumerate(templates[:later]):
            if first and second and overlap(first, second):
                reader.problem(
                    f"source[{later}].topic",
                    f"{second.text!r} and source[{earlier}]'s {first.text!r} match the same topics",
                )


def _resolve(config: Config, folder: Path, environ: Mapping[str, str]) -> Config:
    """Make paths absolute and fill in the defaults that depend on other keys."""
    gateway = config.gateway
    state = under(folder, gateway.state_dir) or state_dir(f"offbeat/{gateway.id}", environ)
    return replace(
        config,
        gateway=replace(gateway, state_dir=state),
        mqtt=resolve_mqtt(config.mqtt, folder, client_id=f"offbeat-{gateway.id}"),
        models=tuple(replace(m, bundle=under(folder, m.bundle)) for m in config.models),
        delivery=replace(config.delivery, root=under(folder, config.delivery.root)),
        trust=replace(config.trust, keys=tuple(under(folder, key) for key in config.trust.keys)),
    )


def resolve_mqtt(mqtt: Mqtt, folder: Path, *, client_id: str) -> Mqtt:
    """Fill in TLS, port and ``client_id``; make paths absolute."""
    tls = mqtt.tls or bool(mqtt.ca_file or mqtt.cert_file)
    files = ("password_file", "ca_file", "cert_file", "key_file")
    return replace(
        mqtt,
        tls=tls,
        port=mqtt.port or (8883 if tls else 1883),
        client_id=mqtt.client_id or client_id,
        **{key: under(folder, getattr(mqtt, key)) for key in files},
    )


def under(folder: Path, path: str) -> str:
    """Make a path absolute; an empty one stays empty."""
    if not path:
        return ""
    try:
        return str(folder / Path(path).expanduser())
    except RuntimeError:  # the home of a user whom nobody knows: missing under that name
        return str(folder / path)


def state_dir(name: str, environ: Mapping[str, str]) -> str:
    """Return systemd's folder, else the user's own for ``name``."""
    if environ.get("STATE_DIRECTORY"):
        return environ["STATE_DIRECTORY"].split(":")[0]
    base = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME', '/var/lib')}/.local/state"
    return str(Path(base) / name)


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
