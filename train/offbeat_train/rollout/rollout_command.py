r"""Bring a new model to the fleet step by step, and back by itself when it is worse.

  offbeat rollout start pump --bundle new.offbeat --policy policy.toml \
      --repository DIR --passphrase-file pass --mqtt mqtt.toml
  offbeat rollout status pump --repository DIR
  offbeat rollout resume pump --repository DIR --passphrase-file pass --mqtt mqtt.toml
  offbeat rollout halt pump --repository DIR --passphrase-file pass --mqtt mqtt.toml

start and resume work until the rollout has ended: 0 everybody runs it, 1 it
was halted and everybody runs the old one.  With --once they take one look and
end (75: go on later), for cron.  A job that was killed is resumed, as often
as need be.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import bundle as bundles
from offbeat_edge import dial
from offbeat_edge.errors import DeliveryError
from offbeat_train.delivery import arguments
from offbeat_train.delivery.broker import connected
from offbeat_train.delivery.push import push
from offbeat_train.rollout import policy as policies
from offbeat_train.rollout.course import DONE, steps
from offbeat_train.rollout.job import Job, load

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from offbeat_train.delivery.broker import BrokerWire
    from offbeat_train.delivery.repository import Repository
    from offbeat_train.rollout.course import Course

LATER = 75  # exit code: not ended yet
NO = 1  # exit code: halted
EVERY_S = 30.0  # between looks at the reports


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare one subcommand for each act."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    start = _act(acts, "start", "begin, or take up the same one")
    start.add_argument("--bundle", required=True, type=Path, metavar="FILE", help="the new one")
    start.add_argument("--policy", required=True, type=Path, metavar="FILE", help="TOML")
    for act in (start, _act(acts, "resume", "go on after the job was killed")):
        act.add_argument("--once", action="store_true", help="take one look, then end")
        act.add_argument("--every", type=float, default=EVERY_S, metavar="S", help="(%(default)s)")
    _act(acts, "halt", "stop, and go back everywhere")
    status = acts.add_parser("status", help="where it stands")
    status.add_argument("model", metavar="MODEL")
    status.add_argument("--repository", required=True, type=Path, metavar="DIR")


def run(args: argparse.Namespace) -> int:
    """Act and print what was done."""
    if args.act == "status":
        return _status(args)
    if args.mqtt is None:
        raise DeliveryError("--mqtt: expected a broker: gateways report there")
    with _fleet(args) as fleet:
        job = Job(folder=args.repository, model=args.model, fleet=fleet, say=print)
        with job.alone():
            return _work(args, job)


def _work(args: argparse.Namespace, job: Job) -> int:
    if args.act == "halt":
        job.halt(load(args.repository, args.model), "halted by hand")
        print(f"{args.model}: halted, everybody runs what ran before")
        return 0
    start = args.act == "start"
    course = _begun(args, job) if start else load(args.repository, args.model)
    told: list[str] = []
    while True:
        verdict = job.step(course)
        if course.ended:
            return 0 if course.step == DONE else NO
        if verdict.told != told and verdict.what == "wait":
            told = verdict.told
            print(f"{course.step}: waits for more: {'; '.join(told)}")
        if args.once:
            return LATER
        if verdict.what == "wait":
            time.sleep(args.every)


def _begun(args: argparse.Namespace, job: Job) -> Course:
    data = args.bundle.read_bytes()
    bundle = bundles.parse(data, where=str(args.bundle))
    name = bundle.manifest.model.name
    if name != args.model:
        raise DeliveryError(f"{args.bundle}: expected model {args.model}, got {name}")
    return job.start(bundle.digest, data, policies.load(args.policy))


def _status(args: argparse.Namespace) -> int:
    """Print the course; 1 when it was halted, 75 while it is under way."""
    course = load(args.repository, args.model)
    for event in course.history:
        print(f"{_clock(event.time_ms)}  {event.step}: {'; '.join(event.told)}")
    print(f"{_clock(course.since_ms)}  {course.step} (of {', '.join(steps(course.policy))})")
    print(f"new {course.new[:16]}, old {course.old[:16]}, document {course.version}")
    if not course.ended:
        return LATER
    return 0 if course.step == DONE else NO


def _clock(time_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(time_ms / 1000))


def _act(
    acts: argparse._SubParsersAction[argparse.ArgumentParser], name: str, does: str
) -> argparse.ArgumentParser:
    act = acts.add_parser(name, help=does, description=does)
    act.add_argument("model", metavar="MODEL")
    arguments.add_arguments(act)
    return act


class _Connected:
    """The fleet behind a broker."""

    def __init__(self, args: argparse.Namespace, wire: BrokerWire, ledger: Path) -> None:
        self._folder = args.repository
        self._ring = arguments.ring(args.repository, args.passphrase_file)
        self._wire = wire
        self._ledger = ledger

    def repository(self) -> Repository:
        """Return the repository as of now."""
        return arguments.opened(self._folder, self._ring)

    def send(self, repository: Repository) -> None:
        """Bring its committed state to the devices."""
        push(repository, self._wire, ledger=self._ledger)
        repository.sweep()

    def reports(self, model: str) -> dict[str, bytes]:
        """Return what gateways say of a model, by topic."""
        return self._wire.retained(f"offbeat/+/rollout/{model}")


@contextmanager
def _fleet(args: argparse.Namespace) -> Iterator[_Connected]:
    mqtt = dial.read_mqtt(args.mqtt)
    with connected(mqtt) as wire:
        yield _Connected(args, wire, arguments.ledger(args.repository, mqtt))
