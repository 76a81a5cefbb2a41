"""A whole dataset, series by series, on all cores, and again from where it stopped.

Rules: every finished series is a line in a cache; a line counts only for the
same dataset, seed and code, so that figures of two versions never mix; the
order of the results does not depend on who finished first.

>>> Cache(None, "key").get("valve1/0", 0) is None
True
"""

from __future__ import annotations

import hashlib
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from offbeat_train.benchmark.measure import Measured, Setting, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from offbeat_train.benchmark.series import Series

    Measure = Callable[[Series, Setting], Measured]
    Told = Callable[[Measured], None]

ROOMS = ("offbeat_edge.", "offbeat_train.")
# They read the command line, add up and print; no cached figure depends on them.
FACES = ("offbeat_edge.cli", "offbeat_train.benchmark_command", "offbeat_train.benchmark.pool",
         "offbeat_train.benchmark.published", "offbeat_train.benchmark.table")  # fmt: skip


class _Line(msgspec.Struct, frozen=True):
    key: str
    measured: Measured


class Cache:
    """Finished series, one JSON object a line; a file of None keeps nothing.

    Parameters
    ----------
    path : appended to; a torn last line of a killed run is passed over.
    key : what figures must have in common with ours to be taken.
    """

    def __init__(self, path: Path | None, key: str) -> None:
        self._path, self._key = path, key
        self._known: dict[tuple[str, int], Measured] = {}
        if path is not None and path.exists():
            for line in path.read_bytes().splitlines():
                self._take(line)

    def get(self, series: str, seed: int) -> Measured | None:
        """Return what is known of a series."""
        return self._known.get((series, seed))

    def put(self, measured: Measured) -> None:
        """Keep a finished series."""
        self._known[measured.series, measured.seed] = measured
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(b"\n" + msgspec.json.encode(_Line(self._key, measured)))

    def _take(self, line: bytes) -> None:
        try:
            found = msgspec.json.decode(line, type=_Line)
        except msgspec.DecodeError:
            return
        if found.key == self._key:
            self._known[found.measured.series, found.measured.seed] = found.measured


def run(
    series: Sequence[Series],
    settings: Sequence[Setting],
    cache: Cache,
    *,
    jobs: int,
    told: Told,
    measured_by: Measure = measure,
) -> list[Measured]:
    """Measure every series under every setting; ``told`` hears of each, cached or new."""
    todo = []
    for setting in settings:
        for one in series:
            known = cache.get(one.name, setting.seed)
            if known is None:
                todo.append((one, setting))
            else:
                told(known)
    for found in _work(todo, jobs, measured_by):
        cache.put(found)
        told(found)
    wanted = [cache.get(one.name, setting.seed) for setting in settings for one in series]
    return [found for found in wanted if found is not None]


def key_of(setting: Setting) -> str:
    """Name the dataset, the settings and the code, as loaded here, that make a figure."""
    loaded = sorted(name for name in sys.modules if name.startswith(ROOMS) and name not in FACES)
    total = hashlib.sha256()
    for name in loaded:
        total.update(hashlib.sha256(Path(str(sys.modules[name].__file__)).read_bytes()).digest())
    return f"{setting.dataset} {setting.epochs or 'default'} {total.hexdigest()[:16]}"


def _work(
    todo: Sequence[tuple[Series, Setting]], jobs: int, measured_by: Measure
) -> Iterator[Measured]:
    if jobs == 1 or len(todo) < 2:
        yield from _alone(todo, measured_by)
        return
    # TensorFlow does not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(todo)), mp_context=context) as pool:
        futures = [pool.submit(measured_by, one, setting) for one, setting in todo]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _alone(todo: Iterable[tuple[Series, Setting]], measured_by: Measure) -> Iterator[Measured]:
    for one, setting in todo:
        yield measured_by(one, setting)
