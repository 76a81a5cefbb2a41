"""What the next rollout document of a model says: pure functions of the last one.

Rules: a version only rises, also where it names an older bundle; what ran
for everybody stays in ``keep``, so that there is a way back.

>>> first = assign(None, Stage(mode="active", bundle="a" * 64), model="pump", now_ms=0)
>>> trial = Stage(mode="canary", bundle="b" * 64, gateways=("gw1",))
>>> second = assign(first, trial, model="pump", now_ms=1)
>>> [(stage.mode, stage.bundle[0]) for stage in second.stages]
[('canary', 'b'), ('active', 'a')]
>>> back = roll_back(second, "a" * 64, now_ms=2)
>>> back.version, [(stage.mode, stage.bundle[0]) for stage in back.stages]
(3, [('active', 'a')])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from offbeat_edge.delivery import assignment
from offbeat_edge.delivery.assignment import Rollout, Stage, bundle_target, rollout_target
from offbeat_edge.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offbeat_train.delivery.repository import Repository

KEEP = 3  # bundles that ran before, of a model
EVERYBODY = ("*",)


def assign(before: Rollout | None, stage: Stage, *, model: str, now_ms: int) -> Rollout:
    """Put a stage on top; one for everybody that runs replaces all others."""
    if stage.mode != "shadow" and stage.gateways == EVERYBODY:
        stages = [stage]
    else:
        old = before.stages if before else ()
        same = {stage.mode, "canary"} if stage.mode == "active" else {stage.mode}
        stages = [stage, *(s for s in old if not (s.mode in same and s.gateways != EVERYBODY))]
    return next_(before, stages, model=model, now_ms=now_ms)


def roll_back(before: Rollout, digest: str, *, now_ms: int) -> Rollout:
    """Let everybody run a bundle that ran before.

    Raises
    ------
    DeliveryError : it is not among those kept.
    """
    known = known_bundles(before)
    found = [name for name in known if name.startswith(digest)]
    if len(found) != 1 or len(digest) < assignment.SHORT:
        listed = ", ".join(name[: assignment.SHORT] for name in known)
        raise DeliveryError(f"{before.model}: expected a bundle among {listed}, got {digest}")
    stage = Stage(mode="active", bundle=found[0])
    return next_(before, [stage], model=before.model, now_ms=now_ms)


def next_(before: Rollout | None, stages: Iterable[Stage], *, model: str, now_ms: int) -> Rollout:
    """Return the document that follows, with these stages."""
    stages = tuple(stages)
    named = {stage.bundle for stage in stages}
    ran = [] if before is None else known_bundles(before, running=True)
    return Rollout(
        model=model,
        version=1 if before is None else before.version + 1,
        time_ms=now_ms,
        stages=stages,
        keep=tuple(digest for digest in ran if digest not in named)[:KEEP],
        probation=assignment.Probation() if before is None else before.probation,
    )


def known_bundles(plan: Rollout, *, running: bool = False) -> list[str]:
    """Return the bundles a document names, each once; ``running``: those that run or ran."""
    stages = [s for s in plan.stages if not running or s.mode == "active"]
    return list(dict.fromkeys([*(stage.bundle for stage in stages), *plan.keep]))


def current(repository: Repository, model: str) -> Rollout | None:
    """Return the committed document of a model; None when there is none."""
    data = repository.target(rollout_target(model))
    return None if data is None else assignment.decode(data, model=model, seen=0)


def commit(repository: Repository, plan: Rollout, bundles: dict[str, bytes]) -> None:
    """Publish a document with bundles (digest → file); drop those nobody names any more."""
    before = current(repository, plan.model)
    named = known_bundles(plan)
    gone = [] if before is None else [d for d in known_bundles(before) if d not in named]
    files = {bundle_target(digest): data for digest, data in bundles.items() if digest in named}
    files[rollout_target(plan.model)] = msgspec.json.encode(plan)
    repository.publish(files, remove=[bundle_target(digest) for digest in gone])
