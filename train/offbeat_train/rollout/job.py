"""The rollout job: one step after another, its state on disk before its deeds.

Rules: every act may be repeated.  The course is saved, then the document it
calls for is signed unless it is signed already, then everything is sent; a
job killed anywhere in between is taken up by ``resume`` and ends the same.
A breach halts it and names the old bundle for everybody.
"""

from __future__ import annotations

import contextlib
import fcntl
from typing import TYPE_CHECKING, Protocol

import msgspec

from offbeat_edge import files
from offbeat_edge.delivery.report import RolloutReport
from offbeat_edge.errors import DeliveryError
from offbeat_train.delivery import plan
from offbeat_train.rollout import course as courses
from offbeat_train.rollout.course import Course
from offbeat_train.rollout.judge import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from offbeat_train.delivery.repository import Repository
    from offbeat_train.rollout.policy import Policy

FOLDER = "rollouts"  # below the repository's folder


def path_of(folder: Path, model: str) -> Path:
    """Return where a repository keeps the rollout of a model."""
    return folder / FOLDER / f"{model}.json"


def load(folder: Path, model: str) -> Course:
    """Return the rollout of a model that there is, or was.

    Raises
    ------
    DeliveryError : there is none, or it cannot be read.
    """
    found = _load(path_of(folder, model))
    if found is None:
        raise DeliveryError(f"{model}: expected a rollout, got none; 'offbeat rollout start'")
    return found


class Fleet(Protocol):
    """What the job needs of the world."""

    def repository(self) -> Repository:
        """Return the repository as of now."""
        ...

    def send(self, repository: Repository) -> None:
        """Bring its committed state to the devices; may be repeated."""
        ...

    def reports(self, model: str) -> dict[str, bytes]:
        """Return what gateways say of a model, by topic."""
        ...


class Job:
    """One model's rollout.

    Parameters
    ----------
    folder : the repository's.
    model : whose.
    fleet : the world.
    say : takes a line for people.
    """

    def __init__(
        self, *, folder: Path, model: str, fleet: Fleet, say: Callable[[str], None]
    ) -> None:
        self._path = path_of(folder, model)
        self._model = model
        self._fleet = fleet
        self._say = say

    def start(self, new: str, data: bytes, policy: Policy) -> Course:
        """Begin a rollout, or take up the same one.

        Parameters
        ----------
        new : the bundle's digest. data : its file.

        Raises
        ------
        DeliveryError : another is under way, this one was halted before, or
            nothing runs that it could be compared with.
        """
        repository = self._fleet.repository()
        before = _load(self._path)
        if before is not None and before.new == new:
            if before.step == courses.HALTED:
                self._publish(before, repository)  # should it have died before that
                raise DeliveryError(f"{self._model}: {new[:16]} was halted: {_last(before)}")
            return before
        if before is not None and not before.ended:
            raise DeliveryError(f"{self._model}: expected none under way, got {before.new[:16]}")
        old = self._runs_everywhere(repository)
        if old == new:
            raise DeliveryError(f"{self._model}: {new[:16]} runs everywhere already")
        course = Course(
            model=self._model, new=new, old=old, policy=policy, since_ms=_ms(repository)
        )
        self._keep_bundle(new, data)
        self._save(course)
        return course

    def step(self, course: Course) -> Verdict:
        """Bring the present step to the devices and judge it once."""
        repository = self._fleet.repository()
        if set(repository.due()) & {"timestamp", "snapshot"}:
            repository.refresh()
        self._publish(course, repository)
        if course.ended:
            return Verdict("pass", [])
        now_ms = _ms(repository)
        verdict = judge(course, self._reports(), now_ms=now_ms)
        if verdict.what == "wait":
            return verdict
        if verdict.what == "pass":
            course.advance(verdict.told, now_ms)
        else:
            course.move(courses.HALTED, verdict.told, now_ms)
        self._say(f"{verdict.what}: {'; '.join(verdict.told)} -> {course.step}")
        self._save(course)
        self._publish(course, self._fleet.repository())
        return verdict

    def halt(self, course: Course, why: str) -> None:
        """Stop a rollout and go back everywhere; also one that is done."""
        repository = self._fleet.repository()
        if course.step != courses.HALTED:
            course.move(courses.HALTED, [why], _ms(repository))
            self._save(course)
        self._publish(course, repository)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the rollout's lock; raises DeliveryError when another job does."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DeliveryError(f"{self._model}: expected to be the only job") from error
            yield

    def _runs_everywhere(self, repository: Repository) -> str:
        """Return the bundle that is for everybody; raises DeliveryError when none is."""
        running = plan.current(repository, self._model)
        for stage in () if running is None else running.stages:
            if (stage.mode, stage.gateways) == ("active", courses.ALL):
                return stage.bundle
        raise DeliveryError(
            f"{self._model}: expected a bundle that runs everywhere, got none; 'offbeat publish'"
        )

    def _publish(self, course: Course, repository: Repository) -> None:
        """Sign what the step says unless it is signed, and send it."""
        wanted = courses.stages(course.policy, course.step, new=course.new, old=course.old)
        before = plan.current(repository, self._model)
        if before is None or before.stages != wanted:
            after = plan.next_(before, wanted, model=self._model, now_ms=_ms(repository))
            after = msgspec.structs.replace(after, probation=course.policy.probation)
            plan.commit(repository, after, {course.new: self._bundle(course.new)})
            self._say(f"{self._model} version {after.version}: {course.step}")
            before = after
        if course.version != before.version:
            course.version = before.version
            self._save(course)
        self._fleet.send(repository)

    def _reports(self) -> list[RolloutReport]:
        found = []
        for payload in self._fleet.reports(self._model).values():
            with contextlib.suppress(msgspec.MsgspecError):  # a gateway of another major
                found.append(msgspec.json.decode(payload, type=RolloutReport))
        return [report for report in found if report.model == self._model]

    def _keep_bundle(self, digest: str, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(self._bundle_path(digest), data)

    def _bundle(self, digest: str) -> bytes:
        return self._bundle_path(digest).read_bytes()

    def _bundle_path(self, digest: str) -> Path:
        return self._path.with_name(f"{digest}.offbeat")

    def _save(self, course: Course) -> None:
        files.replace(self._path, msgspec.json.encode(course))


def _load(path: Path) -> Course | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Course)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise DeliveryError(f"{path}: expected a rollout, got: {error}") from error


def _ms(repository: Repository) -> int:
    return int(repository.now.timestamp() * 1000)


def _last(course: Course) -> str:
    return "; ".join(course.history[-1].told) if course.history else ""
