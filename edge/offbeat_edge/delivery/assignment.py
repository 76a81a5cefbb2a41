"""The signed word on who runs what: one document for each model.

``rollout/<model>.json`` is a TUF target.  Its stages are read from the top:
the first that runs (``canary`` or ``active``) and names this gateway decides
what alerts here; the first ``shadow`` that does decides what is compared with
it.  A document of a lower ``version`` than one seen before is refused.

>>> stages = (Stage(mode="canary", bundle="b" * 64, gateways=("gw1",)),
...           Stage(mode="active", bundle="a" * 64))
>>> plan = Rollout(model="pump", version=7, time_ms=0, stages=stages)
>>> [(stage.mode, stage.bundle[:1]) for stage in plan.of("gw1")]
[('canary', 'b')]
>>> [(stage.mode, stage.bundle[:1]) for stage in plan.of("gw2")]
[('active', 'a')]
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from offbeat_edge.errors import DeliveryError

SCHEMA = "1.0"
MAJOR = "1."
MAX_DOCUMENT = 256 << 10  # bytes of a rollout document
SHORT = 8  # hex digits that name a bundle to people

Mode = Literal["shadow", "canary", "active"]
Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
ModelName = Annotated[str, Meta(pattern=r"\A[a-z0-9_-][a-z0-9_.-]{0,63}\Z")]


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle for some gateways."""

    mode: Mode
    bundle: Digest
    gateways: tuple[str, ...] = ("*",)  # glob patterns of gateway ids

    def names(self, gateway: str) -> bool:
        """Tell whether one of the patterns matches this gateway."""
        return any(fnmatchcase(gateway, pattern) for pattern in self.gateways)


class Probation(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle that newly runs must not do, or the device goes back by itself."""

    window_s: Annotated[float, Meta(ge=0)] = 86_400.0  # after its activation
    alerts_per_day: Annotated[float, Meta(ge=0)] = 1.0  # the budget of an asset ...
    alert_ratio: Annotated[float, Meta(ge=1)] = 10.0  # ... and how many times of it is too much
    latency_ms: Annotated[float, Meta(gt=0)] = 250.0  # of one window, on average


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """Who runs which bundle of one model."""

    schema: str = SCHEMA
    model: ModelName
    version: Annotated[int, Meta(ge=1)]
    time_ms: int  # when it was signed, epoch ms
    stages: tuple[Stage, ...]
    keep: tuple[Digest, ...] = ()  # bundles that ran before, newest first: a way back
    probation: Probation = Probation()

    def of(self, gateway: str) -> list[Stage]:
        """Return what concerns a gateway: at most one that runs, then one shadow."""
        mine = [stage for stage in self.stages if stage.names(gateway)]
        runs = [stage for stage in mine if stage.mode != "shadow"][:1]
        shadow = [stage for stage in mine if stage.mode == "shadow"][:1]
        return runs + [stage for stage in shadow if stage.bundle not in {r.bundle for r in runs}]


def rollout_target(model: str) -> str:
    """Return the target path of a model's rollout document."""
    return f"rollout/{model}.json"


def bundle_target(digest: str) -> str:
    """Return the target path of a bundle."""
    return f"bundles/{digest}.offbeat"


def decode(data: bytes, *, model: str, seen: int) -> Rollout:
    """Read a rollout document.

    Parameters
    ----------
    model : whose it must be.
    seen : the highest version ever taken for this model.

    Raises
    ------
    DeliveryError : not such a document, another model's, or older than ``seen``.
    """
    where = rollout_target(model)
    try:
        found = msgspec.json.decode(data, type=Rollout)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DeliveryError(f"{where}: expected a rollout document, got: {error}") from error
    if not found.schema.startswith(MAJOR):
        raise DeliveryError(f"{where}: expected schema {SCHEMA}, got {found.schema}")
    if found.model != model:
        raise DeliveryError(f"{where}: expected model {model}, got {found.model}")
    if found.version < seen:
        raise DeliveryError(f"{where}: expected version {seen} or later, got {found.version}")
    return found
