"""The child that knows TUF: files of unknown origin in, verified orders out.

Rules: it runs in a process of its own, so that neither the metadata nor the
time spent on it touches the daemon; all it knows is its `Task`, all it says
its `Answer`.  A bundle becomes an order only when TUF's chain leads to it,
it is the bundle that the rollout document names, and its golden windows
reproduce here.  Of two sources the rules are the same: files that came over
MQTT, or an HTTPS folder.

>>> verify(Task(folder=state / "tuf", ...), wall_ms=now)  # doctest: +SKIP
Answer(orders=[Order(model='pump', mode='active', ...)], ...)
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from tuf.api.exceptions import DownloadError, DownloadLengthMismatchError, RepositoryError
from tuf.api.metadata import Metadata
from tuf.ngclient import Updater, UpdaterConfig

from offbeat_edge import bundle as bundles
from offbeat_edge import trial
from offbeat_edge.delivery import assignment, trusted, wire
from offbeat_edge.delivery.assignment import MAX_DOCUMENT, bundle_target, rollout_target
from offbeat_edge.delivery.fetcher import METADATA_URL, TARGETS_URL, InboxFetcher
from offbeat_edge.delivery.inbox import Inbox
from offbeat_edge.delivery.task import Answer, Order, Task, Wanted
from offbeat_edge.errors import BundleError, DeliveryError, OffbeatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tuf.api.metadata import TargetFile

    from offbeat_edge.delivery.assignment import Rollout, Stage

ROLES = ("root", "timestamp", "snapshot", "targets")
KEEP_MS = 3_600_000  # the floor is written at most once an hour, for the flash's sake
NICENESS = 10  # samples go first
CONFIG = UpdaterConfig(
    max_root_rotations=wire.MAX_ROOTS,
    root_max_length=wire.META_MAX,
    timestamp_max_length=wire.META_MAX,
    snapshot_max_length=wire.META_MAX,
    targets_max_length=wire.META_MAX,
)


class _Absent(Exception):  # noqa: N818 - not an error: it is on its way
    """A target whose chunks have not all come."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        super().__init__(wanted.sha256)


def verify(
    task: Task, *, wall_ms: int, refusal: Callable[..., str | None] = trial.refusal
) -> Answer:
    """Look at what there is, and say what follows from it.

    Parameters
    ----------
    task : where everything lies, and who asks.
    wall_ms : the wall clock, epoch ms; it may be years behind.
    refusal : tries a bundle's golden windows; see `trial.refusal`.
    """
    folder = Path(task.folder)
    kept = trusted.read(folder / "trusted.json")
    try:
        store = _Store(task, Inbox(folder / "inbox"))
        store.updater.refresh()
        now_ms = kept.now_ms(wall_ms)
        _check_expiry(store.metadata, now_ms)
        judge = _Judge(task, store, kept, refusal)
        answer = judge.answer()
        floor_ms = min(max([now_ms, *judge.signed_ms]), _first_expiry_ms(store.metadata))
        _keep(folder, kept, floor_ms, judge.versions)
    except (RepositoryError, DownloadLengthMismatchError, DeliveryError, OSError) as error:
        return Answer(error=f"{type(error).__name__}: {error}")
    except DownloadError as error:  # not there, or out of reach: no sign of anything bad
        return Answer(waiting=str(error))
    return answer


class _Store:
    """Verified metadata, and targets on their way in."""

    def __init__(self, task: Task, inbox: Inbox) -> None:
        folder = Path(task.folder)
        self.metadata = folder / "metadata"
        self.targets = folder / "targets"
        self._inbox = None if task.source else inbox
        for made in (self.metadata, self.targets):
            made.mkdir(parents=True, exist_ok=True)
        self.updater = Updater(
            str(self.metadata),
            f"{task.source}/metadata/" if task.source else METADATA_URL,
            str(self.targets),
            f"{task.source}/targets/" if task.source else TARGETS_URL,
            fetcher=None if task.source else InboxFetcher(inbox),
            config=CONFIG,
            bootstrap=Path(task.root).read_bytes(),
        )

    def obtain(self, info: TargetFile, most: int) -> Path:
        """Return a verified file; raises _Absent, DeliveryError."""
        if info.length > most:
            raise DeliveryError(f"{info.path}: expected at most {most} bytes, got {info.length}")
        cached = self.updater.find_cached_target(info)
        if cached is not None:
            return Path(cached)
        wanted = Wanted(sha256=info.hashes["sha256"], length=info.length)
        if self._inbox and not self._inbox.complete(wanted.sha256, wanted.length):
            raise _Absent(wanted)
        try:
            return Path(self.updater.download_target(info))
        except RepositoryError:
            if self._inbox:
                self._inbox.discard(wanted.sha256)
            raise


class _Judge:
    """What the signed documents say to this gateway."""

    def __init__(
        self,
        task: Task,
        store: _Store,
        kept: trusted.Trusted,
        refusal: Callable[..., str | None],
    ) -> None:
        self.versions = dict(kept.versions)
        self.signed_ms: list[int] = []
        self._task = task
        self._store = store
        self._refusal = refusal
        self._used: set[str] = set()  # files of targets
        self._named: set[str] = set()  # files of bundles
        self._answer = Answer()

    def answer(self) -> Answer:
        """Go through the models; a problem with one is no problem of another."""
        for model in self._task.models:
            try:
                self._model(model)
            except _Absent as absent:
                self._answer.wanted.append(absent.wanted)
            except (OffbeatError, RepositoryError, DownloadError) as error:
                self._answer.problems[model] = f"{error}"
        if not self._answer.wanted and not self._answer.problems:
            keep_only(self._store.targets, self._used)
            keep_only(Path(self._task.bundles), self._named)
        return self._answer

    def _model(self, model: str) -> None:
        info = self._store.updater.get_targetinfo(rollout_target(model))
        if info is None:
            return  # nobody delivers this model: it stays as configured
        path = self._store.obtain(info, MAX_DOCUMENT)
        self._used.add(path.name)
        seen = self.versions.get(model, 0)
        plan = assignment.decode(path.read_bytes(), model=model, seen=seen)
        self.versions[model] = plan.version
        self.signed_ms.append(plan.time_ms)
        self._named |= {f"{digest}.offbeat" for digest in plan.keep}
        for stage in plan.of(self._task.gateway):
            with self._collecting():
                self._stage(plan, stage)

    @contextlib.contextmanager
    def _collecting(self) -> Iterator[None]:
        """Go on with the next stage when this one's bundle is still on its way."""
        try:
            yield
        except _Absent as absent:
            self._answer.wanted.append(absent.wanted)

    def _stage(self, plan: Rollout, stage: Stage) -> None:
        order = Order(
            model=plan.model,
            mode=stage.mode,
            bundle=stage.bundle,
            version=plan.version,
            probation=plan.probation,
        )
        path = Path(self._task.bundles) / f"{stage.bundle}.offbeat"
        self._named.add(path.name)
        if not path.exists():
            self._bring(stage.bundle, plan.model, path)
        self._answer.orders.append(msgspec.structs.replace(order, path=str(path)))

    def _bring(self, digest: str, model: str, path: Path) -> None:
        """Put a bundle that passes every check at ``path``."""
        info = self._store.updater.get_targetinfo(bundle_target(digest))
        if info is None:
            raise DeliveryError(f"{bundle_target(digest)}: expected a signed target, got none")
        found = self._store.obtain(info, wire.TARGET_MAX)
        self._used.add(found.name)
        bundle = bundles.load(found, digest=digest)
        name = bundle.manifest.model.name
        if name != model:
            raise BundleError(f"{found.name}: expected model {model}, got {name}")
        why = self._refusal(str(found), bundle, folder=Path(self._task.trials))
        if why is not None:
            raise BundleError(f"{found.name}: {why}")
        path.parent.mkdir(parents=True, exist_ok=True)
        found.replace(path)


def keep_only(folder: Path, names: set[str]) -> None:
    """Remove files that nobody names any longer."""
    for path in folder.glob("*"):
        if path.name not in names:
            path.unlink(missing_ok=True)


def _check_expiry(metadata: Path, now_ms: int) -> None:
    """Check what python-tuf checked against a wall clock that may be behind."""
    for role, expires_ms in _expiries(metadata).items():
        if expires_ms <= now_ms:
            raise DeliveryError(f"{role}.json: expected metadata of today, got expired one")


def _expiries(metadata: Path) -> dict[str, int]:
    files = {role: (metadata / f"{role}.json").read_bytes() for role in ROLES}
    return {
        role: int(Metadata.from_bytes(data).signed.expires.timestamp() * 1000)
        for role, data in files.items()
    }


def _first_expiry_ms(metadata: Path) -> int:
    return min(_expiries(metadata).values()) - 1


def _keep(folder: Path, kept: trusted.Trusted, floor_ms: int, versions: dict[str, int]) -> None:
    state = trusted.Trusted(floor_ms=max(kept.floor_ms, floor_ms), versions=versions)
    if state.versions != kept.versions or state.floor_ms - kept.floor_ms >= KEEP_MS:
        trusted.write(folder / "trusted.json", state)


def main() -> int:
    """Read a task from standard input, write the answer to standard output."""
    os.nice(NICENESS)
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    answer = verify(task, wall_ms=time.time_ns() // 1_000_000)
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
