"""How a rollout goes: which gateways first, and what must hold before the next ones.

::

    [canary]
    gateways = ["gw1", "hall2-*"]
    [[ring]]
    gateways = ["hall*"]
    [gates]
    min_windows = 2000
    alerts_per_day = 0.5

Rules: strict, as the daemon's configuration is: an unknown key is an error.
After the rings named here there is always a last one: everybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, field

from offbeat_edge import config as configs
from offbeat_edge.delivery.assignment import Probation
from offbeat_edge.errors import ConfigError
from offbeat_edge.strict import Reader

if TYPE_CHECKING:
    from pathlib import Path

Glob = Annotated[str, Meta(min_length=1, max_length=128, description="a gateway, or a pattern")]
Share = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
Whole = Annotated[int, Meta(ge=1, description="an integer from 1")]
Positive = Annotated[float, Meta(ge=0, description="a number from 0")]


class Ring(msgspec.Struct, frozen=True, kw_only=True):
    """``[canary]``, ``[[ring]]``: a part of the fleet."""

    gateways: tuple[Glob, ...]


class Gates(msgspec.Struct, frozen=True, kw_only=True):
    """``[gates]``: what must hold before the next step."""

    min_gateways: Whole = 1  # that report, in each step
    min_windows: Whole = 1000  # over all of them
    min_asset_days: Positive = 1.0  # of event time, over all of them
    calm_agreement: Share = 0.95  # shadow: where the champion finds all normal
    loud_agreement: Share = 0.0  # shadow: where it finds an anomaly; 0 while drift is cured
    alerts_per_day: Positive = 1.0  # the budget of an asset
    alert_ratio: Annotated[float, Meta(ge=1, description="a number from 1")] = 3.0
    latency_ms: Positive = 250.0  # of one window, on average
    memory_mb: Positive = 512.0  # of a daemon
    patience_s: Positive = 7 * 86_400.0  # a step that takes longer is a breach


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    canary: Ring
    rings: tuple[Ring, ...] = field(name="ring", default=())
    gates: Gates = Gates()
    probation: Probation = Probation()


def load(path: Path) -> Policy:
    """Read a policy; ConfigError holds all problems."""
    reader = Reader(path.name)
    policy = reader.table(Policy, configs.read_table(path), "")
    if policy is None or reader.problems:
        raise ConfigError(reader.problems)
    return policy
