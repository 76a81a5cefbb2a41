"""What should run for a ``[[model]]``: the configured bundle, the last good one, or statistics.

Rules: reads files and starts a child process for the known-answer test, so
it may take seconds and runs beside the loop; it changes nothing but the
shelf and the marks of passed trials.  In this order: what was ordered, the
configured file, the last good bundles, each verified anew; then the plain
statistics of the first that verifies and whose model may not run; then
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from offbeat_edge import bundle as bundles
from offbeat_edge import trial
from offbeat_edge.errors import BundleError
from offbeat_edge.fleet import DIGEST_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from offbeat_edge.bundle import Bundle, Verifier
    from offbeat_edge.config import Model as Entry
    from offbeat_edge.knownanswer import KnownAnswer
    from offbeat_edge.supervise.shelf import Shelf


class Choice(NamedTuple):
    """What should run."""

    bundle: Bundle | None  # None: nothing can
    fallback: bool = False  # its plain statistics, not its model
    problem: str | None = None  # why it is not simply the configured bundle
    path: Path | None = None  # where its bytes lie


class Bench(NamedTuple):
    """What an examination needs beside the entry."""

    shelf: Shelf
    trials: Path  # folder of passed trials
    keys: Verifier | None
    aside: Mapping[str, str]  # digest → why it may not run
    check: Callable[..., KnownAnswer]


class _Candidate(NamedTuple):
    where: str  # for people
    path: Path
    digest: str | None  # what it must be


def examine(entry: Entry, path: Path, bench: Bench) -> Choice:
    """Find what should run for an entry whose configured bundle lies at ``path``."""
    problems: list[str] = []
    statistics: tuple[Bundle, Path] | None = None
    for candidate in _candidates(entry, path, bench.shelf):
        try:
            bundle, lies = _verified(candidate, bench)
        except BundleError as error:
            problems.append(str(error))
            continue
        why = bench.aside.get(bundle.digest) or _refusal(lies, bundle, bench)
        if why is None:
            return Choice(bundle, problem=_told(problems, bundle), path=lies)
        problems.append(why)
        statistics = statistics or (bundle, lies)
    if statistics is None:
        return Choice(None, problem=_joined(problems))
    bundle, lies = statistics
    return Choice(bundle, fallback=True, problem=_joined(problems), path=lies)


def _candidates(entry: Entry, path: Path, shelf: Shelf) -> Iterator[_Candidate]:
    """Yield what may run, in the order of preference, each digest of the shelf once."""
    pinned = entry.digest.removeprefix(DIGEST_PREFIX) or None
    ordered = shelf.ordered(entry.bundle)
    if ordered is not None:
        yield _Candidate("ordered", shelf.path(ordered), ordered)
    yield _Candidate("configured", path, pinned)
    for digest in shelf.last_good(entry.bundle):
        if digest != ordered and pinned in (None, digest):
            yield _Candidate("last good", shelf.path(digest), digest)


def _verified(candidate: _Candidate, bench: Bench) -> tuple[Bundle, Path]:
    """Load a candidate; what runs later are the very bytes that were looked at now."""
    keys = None if candidate.where == "ordered" else bench.keys  # TUF vouches for that
    data = bundles.read(candidate.path)
    bundle = bundles.parse(data, where=str(candidate.path), digest=candidate.digest, keys=keys)
    kept = bench.shelf.keep(bundle.digest, data)
    return bundle, bench.shelf.path(bundle.digest) if kept else candidate.path


def _refusal(path: Path, bundle: Bundle, bench: Bench) -> str | None:
    return trial.refusal(str(path), bundle, folder=bench.trials, check=bench.check)


def _told(problems: list[str], bundle: Bundle) -> str | None:
    if not problems:
        return None
    spec = bundle.manifest.model
    return f"{_joined(problems)}; the last good bundle goes on: {spec.name} {spec.version}"


def _joined(problems: list[str]) -> str:
    return "; ".join(dict.fromkeys(problems))
