"""Which model watches which asset, under which settings.

The daemon and ``replay`` both come through here, so that what a
configuration means is decided once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offbeat_edge import bundle as bundles
from offbeat_edge.model import open_model, unguarded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from offbeat_edge.bundle import Bundle, Verifier
    from offbeat_edge.config import Config, Source
    from offbeat_edge.config import Model as Entry
    from offbeat_edge.manifest import Manifest
    from offbeat_edge.model import Guard, Model
    from offbeat_edge.signature import Keys

DIGEST_PREFIX = "sha256:"


def lateness_ms(config: Config, entry: Entry, manifest: Manifest) -> int:
    """Return how far out of order samples may come, in ms of event time.

    Configured, or: none where one message holds all of an asset's sensors,
    the slowest learned cadence where they come in parts, which may overtake
    one another.
    """
    if entry.lateness_ms is not None:
        return entry.lateness_ms
    sensors = {sensor.name for sensor in manifest.sensors}
    apart = any(_in_parts(source, sensors) for source in config.sources)
    return max(s.cadence_ms for s in manifest.sensors) if apart else 0


def _in_parts(source: Source, sensors: set[str]) -> bool:
    """Tell whether a message of this source gives only some of a model's sensors.

    What an object will hold nobody knows before it comes: it counts as whole.
    """
    named = sensors & source.values.keys()
    if source.values and not named:
        return False  # feeds other models
    partial = bool(source.values) and named != sensors
    return "{sensor}" in source.topic or source.format == "influx" or partial


def trusted(config: Config) -> Keys | None:
    """Return the keys that must have signed every bundle, if any; raises TrustError."""
    if not config.trust.keys:
        return None
    from offbeat_edge import signature  # noqa: PLC0415 - not all have one, and a cost

    return signature.Keys(config.trust.keys)


def load_entry(entry: Entry, keys: Verifier | None = None) -> Bundle:
    """Read and verify the bundle a ``[[model]]`` names; raises BundleError."""
    digest = entry.digest.removeprefix(DIGEST_PREFIX) or None
    return bundles.load(entry.bundle, digest=digest, keys=keys)


def open_entry(
    config: Config,
    entry: Entry,
    bundle: Bundle,
    *,
    refused: str | None = None,
    guard: Guard = unguarded,
) -> Model:
    """Make a bundle ready under its settings; ``refused``: without its model, and why."""
    return open_model(
        bundle,
        config_digest=config.model_digest(entry),
        rule=entry.alert.over(bundle.manifest.alert),
        lateness_ms=lateness_ms(config, entry, bundle.manifest),
        warmup_ms=entry.warmup_ms,
        refused=refused,
        guard=guard,
    )


def router(pairs: Sequence[tuple[Entry, Model | None]]) -> Callable[[str], Model | None]:
    """Return asset name → model of the first entry whose patterns match; None: nobody watches."""

    def route(asset: str) -> Model | None:
        return next((model for entry, model in pairs if entry.watches(asset)), None)

    return route
