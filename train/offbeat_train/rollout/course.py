"""The course of one rollout: its steps, and what each tells the devices.

Rules: pure.  ``shadow`` → ``canary`` → ``ring 1`` … → ``everybody`` → ``done``,
or from any of them → ``halted``, which names the old bundle for all.

>>> from offbeat_train.rollout.policy import Ring
>>> policy = Policy(canary=Ring(gateways=("gw1",)), rings=(Ring(gateways=("hall*",)),))
>>> steps(policy)
['shadow', 'canary', 'ring 1', 'everybody', 'done']
>>> told = stages(policy, "ring 1", new="b" * 64, old="a" * 64)
>>> [(s.mode, s.bundle[0], s.gateways) for s in told]
[('active', 'b', ('gw1', 'hall*')), ('active', 'a', ('*',))]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from offbeat_edge.delivery.assignment import Stage
from offbeat_train.rollout.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Sequence

SHADOW, CANARY, EVERYBODY, DONE, HALTED = "shadow", "canary", "everybody", "done", "halted"
ENDED = (DONE, HALTED)
ALL = ("*",)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A step that ended."""

    step: str
    time_ms: int
    told: list[str]


class Course(msgspec.Struct, kw_only=True):
    """One rollout's state on disk."""

    schema: str = "1.0"
    model: str
    new: str  # digest
    old: str  # digest: what ran before, for everybody
    policy: Policy
    step: str = SHADOW
    since_ms: int  # when the step began
    version: int = 0  # of the document that says so; 0: not yet published
    history: list[Event] = []

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to do."""
        return self.step in ENDED

    def move(self, step: str, told: Sequence[str], now_ms: int) -> None:
        """Go to a step, and keep what the last one came to."""
        self.history = [*self.history, Event(step=self.step, time_ms=now_ms, told=list(told))]
        self.step, self.since_ms, self.version = step, now_ms, 0

    def advance(self, told: Sequence[str], now_ms: int) -> None:
        """Go to the next step."""
        course = steps(self.policy)
        self.move(course[course.index(self.step) + 1], told, now_ms)


def steps(policy: Policy) -> list[str]:
    """Return the steps of a rollout that goes well."""
    return [SHADOW, CANARY, *(f"ring {n + 1}" for n in range(len(policy.rings))), EVERYBODY, DONE]


def gateways(policy: Policy, step: str) -> tuple[str, ...]:
    """Return the patterns of the gateways that run, or shadow, the new bundle in a step."""
    if step in (SHADOW, CANARY):
        return policy.canary.gateways
    if step in (EVERYBODY, DONE):
        return ALL
    rings = policy.rings[: int(step.removeprefix("ring "))]
    return (*policy.canary.gateways, *(name for ring in rings for name in ring.gateways))


def stages(policy: Policy, step: str, *, new: str, old: str) -> tuple[Stage, ...]:
    """Return what the document of a step says."""
    rest = Stage(mode="active", bundle=old)
    if step == HALTED:
        return (rest,)
    whose = gateways(policy, step)
    if whose == ALL:
        return (Stage(mode="active", bundle=new),)
    if step == SHADOW:
        return (Stage(mode="shadow", bundle=new, gateways=whose), rest)
    if step == CANARY:
        return (Stage(mode="canary", bundle=new, gateways=whose), rest)
    return (Stage(mode="active", bundle=new, gateways=whose), rest)
