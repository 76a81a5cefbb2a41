"""What a configuration points to: files, bundles, and whether it is safe.

Rules: reads, never writes, never connects; a problem stops the daemon, a
warning is for people.  ``config`` has said what is wrong inside the file.
"""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import ssl
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge.errors import BundleError, TrustError
from offbeat_edge.fleet import load_entry, trusted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offbeat_edge.bundle import Bundle
    from offbeat_edge.config import Config, Mqtt

OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SECRETS = ("password_file", "key_file")
_PUBLIC = ("ca_file", "cert_file")


def problems(config: Config) -> Iterator[str]:
    """Say what stops the daemon: files that are absent or not what they should be."""
    unreadable = list(_unreadable(config.mqtt))
    yield from unreadable
    if not unreadable:
        yield from _bad_tls(config.mqtt)
    state = Path(config.gateway.state_dir)
    if state.exists() and not state.is_dir():
        yield f"gateway.state_dir: expected a folder, got the file {state}"
    try:
        trusted(config)
    except TrustError as error:
        yield f"trust.keys: {error}"
    yield from _no_delivery(config)
    yield from _no_sparkplug(config)
    for index, _, found in _bundles(config):
        if isinstance(found, BundleError):
            yield f"model[{index}].bundle: {found}"


def warnings(config: Config) -> Iterator[str]:
    """Say what works and is unsafe, or is probably not meant."""
    yield from _clear_text(config.mqtt)
    yield from _open_secrets(config.mqtt)
    yield from _shadowed(config)
    yield from _unfed(config)
    for index, model in enumerate(config.models):
        if not model.digest and not config.trust.keys:
            yield (
                f"model[{index}].digest: not set, and no trust.keys:"
                " any bundle in that place is trusted"
            )
    yield from _replaceable(config)
    for index, source in enumerate(config.sources):
        if source.qos == 0:
            yield f"source[{index}].qos: at 0 messages may be lost, and alerts with them"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, as far as its name says.

    >>> is_loopback("127.0.0.1"), is_loopback("broker.plant")
    (True, False)
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _unreadable(mqtt: Mqtt) -> Iterator[str]:
    for key in (*_SECRETS, *_PUBLIC):
        path = getattr(mqtt, key)
        if not path:
            continue
        try:
            with Path(path).open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            yield f"mqtt.{key}: expected a readable file, got: {path}: {error.strerror}"
        else:
            if empty:
                yield f"mqtt.{key}: expected something in {path}, got an empty file"


def _no_delivery(config: Config) -> Iterator[str]:
    """Say why signed bundles could not be fetched, where they are configured."""
    if not config.delivery.root:
        return
    if importlib.util.find_spec("tuf") is None:
        yield "delivery: expected python-tuf: pip install 'offbeat[delivery]'"
    try:
        Path(config.delivery.root).read_bytes()
    except OSError as error:
        yield f"delivery.root: expected a readable file, got: {error.filename}: {error.strerror}"


def _no_sparkplug(config: Config) -> Iterator[str]:
    """Say why Sparkplug could not be read, where a source has it."""
    if any(source.format == "sparkplug" for source in config.sources):
        try:
            importlib.import_module("google.protobuf")
        except ModuleNotFoundError:
            yield "source.format: expected protobuf: pip install 'offbeat[sparkplug]'"


def _bad_tls(mqtt: Mqtt) -> Iterator[str]:
    """Try the certificates as the link will."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if mqtt.ca_file:
        try:
            context.load_verify_locations(mqtt.ca_file)
        except (ssl.SSLError, OSError) as error:
            yield f"mqtt.ca_file: expected PEM certificates, got: {mqtt.ca_file}: {error}"
    if mqtt.cert_file and mqtt.key_file:
        try:
            # Without a password given, an encrypted key would ask on the terminal.
            context.load_cert_chain(mqtt.cert_file, mqtt.key_file, password="")
        except (ssl.SSLError, OSError, ValueError) as error:
            yield f"mqtt.cert_file: expected a certificate and its open key, got: {error}"


def _bundles(config: Config) -> Iterator[tuple[int, str, Bundle | BundleError]]:
    try:
        keys = trusted(config)
    except TrustError:
        return  # said among the problems
    for index, model in enumerate(config.models):
        try:
            yield index, model.bundle, load_entry(model, keys)
        except BundleError as error:
            yield index, model.bundle, error


def _clear_text(mqtt: Mqtt) -> Iterator[str]:
    if is_loopback(mqtt.host):
        return
    if not mqtt.tls:
        yield f"mqtt.host: no TLS to {mqtt.host}, anyone on the way reads and writes (set ca_file)"
        if mqtt.password_file:
            yield f"mqtt.password_file: the password goes to {mqtt.host} in clear"
    if not mqtt.username and not mqtt.cert_file:
        yield f"mqtt.username: anonymous at {mqtt.host}, no broker should trust that"


def _open_secrets(mqtt: Mqtt) -> Iterator[str]:
    for key in _SECRETS:
        path = Path(getattr(mqtt, key) or "/nonexistent")
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # said among the problems
        if mode & OTHERS:
            yield f"mqtt.{key}: {path} is open to others (mode {mode & 0o777:03o}, expected 600)"


def _replaceable(config: Config) -> Iterator[str]:
    """Find keys that decide over trust and that anybody may put another in place of."""
    for index, key in enumerate(config.trust.keys):
        try:
            mode = Path(key).stat().st_mode
        except OSError:
            continue  # said among the problems
        if mode & stat.S_IWOTH:
            yield f"trust.keys[{index}]: anybody may write {key} (mode {mode & 0o777:03o})"


def _shadowed(config: Config) -> Iterator[str]:
    """Find patterns that an earlier model takes whole."""
    taken: dict[str, int] = {}
    for index, model in enumerate(config.models):
        for pattern in model.assets:
            earlier = taken.get("*", taken.get(pattern, index))
            if earlier != index:
                yield f"model[{index}].assets: {pattern!r} never reached, model[{earlier}] is first"
        for pattern in model.assets:
            taken.setdefault(pattern, index)


def _unfed(config: Config) -> Iterator[str]:
    """Find inputs that no source can give, where every source names its sensors."""
    if not all(source.values for source in config.sources):
        return
    given = {name for source in config.sources for name in source.values}
    for index, path, found in _bundles(config):
        if isinstance(found, BundleError):
            continue
        lacking = [s.name for s in found.manifest.sensors if s.name not in given]
        if lacking:
            names = ", ".join(map(repr, lacking[:5]))
            yield f"model[{index}].bundle: {path} watches {names}, which no source's values name"
