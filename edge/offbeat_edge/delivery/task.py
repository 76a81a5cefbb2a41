"""What the daemon and its verifying child say to one another, as JSON."""

from __future__ import annotations

import msgspec

from offbeat_edge.delivery.assignment import Mode, Probation


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the child needs to know."""

    folder: str  # its own: metadata, inbox, what it must not forget
    bundles: str  # folder of verified bundles, by digest
    trials: str  # folder of passed trials
    root: str  # file: the root of trust
    source: str  # HTTPS folder; empty: the inbox
    gateway: str
    models: list[str]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A target whose chunks are to be asked for."""

    sha256: str
    length: int  # bytes


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A verified bundle, and what to do with it."""

    model: str
    mode: Mode
    bundle: str  # digest
    version: int  # of the rollout document
    path: str = ""
    probation: Probation = Probation()


class Answer(msgspec.Struct, kw_only=True):
    """What the child found."""

    orders: list[Order] = []
    wanted: list[Wanted] = []
    problems: dict[str, str] = {}  # model → why its word is not followed
    waiting: str | None = None  # metadata that has not come
    error: str | None = None  # why nothing of this set is trusted
