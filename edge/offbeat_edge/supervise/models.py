"""The models at work: opened, watched over, replaced, without a restart.

Rules: what judges an asset changes by a *swap* alone, a control that stands
in the journal, so that recovery walks the same change in the same place
(``use``).  Which swaps are due is found here (``tend``): a bundle's file
changed, somebody asked (``reload``), a model failed at run time, a failed one
may be tried again.  Bundles are examined beside the loop (``examine``) and
opened in it.  A model that was never told anything runs what the
configuration names: so states of before there were swaps, and replays, need
none.

::

    tend() ──▶ Swap ──▶ Durable.control ──▶ Engine ──▶ use(Swap) ──▶ route gives the new model
"""

from __future__ import annotations

import functools
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from offbeat_edge import bundle as bundles
from offbeat_edge import fleet, trial
from offbeat_edge.control import FIRST_MS, LAST_MS, Swap
from offbeat_edge.errors import BundleError
from offbeat_edge.health import ModelHealth, model_health
from offbeat_edge.knownanswer import check_in_child
from offbeat_edge.observed import Observed
from offbeat_edge.schema import Runs
from offbeat_edge.supervise.background import Background
from offbeat_edge.supervise.examine import Bench, Choice, examine
from offbeat_edge.supervise.post import Post, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from offbeat_edge.bundle import Bundle, Verifier
    from offbeat_edge.config import Config
    from offbeat_edge.knownanswer import KnownAnswer
    from offbeat_edge.log import Log
    from offbeat_edge.model import Model
    from offbeat_edge.schema import Stage
    from offbeat_edge.supervise.crashes import Crashes
    from offbeat_edge.supervise.shelf import Shelf

LOOK_S = 5.0  # between looks at the bundles' files; a change counts once it is seen twice
MAX_WHY = 500  # characters of a reason in a control
NOTHING = Observed(assets=0)


class Tools(NamedTuple):
    """What the models are opened and kept with."""

    shelf: Shelf
    crashes: Crashes
    trials: Path  # folder of passed trials
    keys: Verifier | None
    check: Callable[..., KnownAnswer] = check_in_child


class Models:
    """All ``[[model]]`` tables of a configuration.

    Parameters
    ----------
    config : the daemon's. tools : see there. log : where changes are said.
    monotonic : seconds. wall_ms : the wall clock, ms, for the swaps.
    background : starts an examination beside the loop.
    """

    def __init__(
        self,
        *,
        config: Config,
        tools: Tools,
        log: Log,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        background: Callable[[Callable[[], Choice]], Background[Choice]] = Background,
    ) -> None:
        self._config = config
        self._tools = tools
        self._log = log
        self._now = monotonic
        self._wall_ms = wall_ms
        self._background = background
        self.held: set[str] = set()  # digests on the shelf that somebody else needs
        self._posts = [Post(index, entry) for index, entry in enumerate(config.models)]
        self._look_at = monotonic() + LOOK_S
        self._asked = False  # to reload
        for digest in tools.crashes.take_note():
            log.error("model_crashed", bundle=digest, aside=tools.crashes.aside.get(digest))
            trial.forget(tools.trials, digest)
        for post in self._posts:
            self._settle(post, self._examine(post))

    # -- what the engine asks

    def route(self, asset: str) -> Model | None:
        """Return the model that watches an asset; None: nobody does."""
        for post in self._posts:
            if post.entry.watches(asset):
                if post.runs is None and post.wanted is not None:
                    self._run(post, post.wanted, post.why)
                return post.model
        return None

    def use(self, swap: Swap) -> None:
        """Let a ``[[model]]`` run another bundle from now on."""
        if swap.entry < len(self._posts):
            runs = Runs(swap.bundle, fallback=swap.fallback)
            self._run(self._posts[swap.entry], runs, swap.note)

    def state(self) -> dict[str, Runs]:
        """Return what runs where, for a snapshot."""
        return {post.entry.bundle: post.runs for post in self._posts if post.runs}

    def resume(self, state: Mapping[str, Runs]) -> None:
        """Take back what ``state`` gave."""
        for post in self._posts:
            if post.entry.bundle in state:
                self._run(post, state[post.entry.bundle], "put aside")

    def lapsed(self) -> list[Swap]:
        """Return swaps to statistics for models that failed since this was last asked."""
        failed = [
            post
            for post in self._posts
            if post.model is not None and post.model.lapsed and post.failed is None
        ]
        for post in failed:
            self._fail(post, (post.model and post.model.lapsed) or "")
        return [swap for post in failed if (swap := self._due(post)) is not None]

    # -- what the loop asks

    def tend(self) -> list[Swap]:
        """Look after the models; return the swaps that are due."""
        now = self._now()
        if self._asked:
            self._forgive(now)
        elif now >= self._look_at:
            self._look_at = now + LOOK_S
            for post in self._posts:
                self._notice(post, now)
        for post in self._posts:
            self._attend(post, now)
        return [swap for post in self._posts if (swap := self._due(post)) is not None]

    def reload(self) -> None:
        """Examine every bundle anew and forgive the past; safe in a signal handler."""
        self._asked = True

    def faulty(self, model: Model, why: str) -> None:
        """Note that a model at work gives errors, or wrong answers."""
        for post in self._posts:
            if post.model is model and post.failed is None:
                self._fail(post, why)

    def prune(self) -> None:
        """Remove bundles that nobody needs: a snapshot has passed, no journal names them."""
        keep = {post.runs.digest for post in self._posts if post.runs} | self.held
        for digest in self._tools.shelf.prune(keep):
            self._log.info("bundle_removed", bundle=digest)

    def close(self) -> None:
        """End well: what did not crash leaves no trace."""
        self._tools.crashes.close()

    # -- what others ask

    def of(self, asset: str) -> str | None:
        """Return the name of the model that watches an asset."""
        model = self.route(asset)
        return None if model is None else model.ref.name

    def running(self, name: str) -> Model | None:
        """Return what runs under a model's name."""
        return next((m for m in self.loaded() if m.ref.name == name), None)

    def open(self, name: str, path: str, digest: str) -> Model:
        """Make a bundle ready as the model of this name would be; raises BundleError."""
        return self._opened(self._named(name), bundles.load(path, digest=digest), None)

    def activate(self, name: str, path: str, digest: str) -> None:
        """Order a verified bundle in place of the configured one; raises BundleError."""
        data = bundles.read(path)
        bundles.parse(data, where=path, digest=digest)
        self._tools.shelf.keep(digest, data)
        for post in self._posts:
            if post.model is not None and post.model.ref.name == name:
                self._tools.shelf.order(post.entry.bundle, digest)
                post.again(self._now())

    def sensors(self, asset: str) -> tuple[str, ...]:
        """Return the names of an asset's sensors; none when nobody watches it."""
        model = self.route(asset)
        return () if model is None else model.names

    def loaded(self) -> list[Model]:
        """Return the models at work."""
        return [post.model for post in self._posts if post.model is not None]

    def runtime(self) -> dict[str, str]:
        """Return the combination within which scores are equal to the bit."""
        for model in self.loaded():
            runtime = getattr(model.interpreter, "runtime", None)
            if runtime is not None:
                return msgspec.structs.asdict(runtime)
        return {}

    def health(
        self, observed: Mapping[Model, Observed], adaptation: Mapping[Model, dict[Stage, int]]
    ) -> list[ModelHealth]:
        """Return every model's condition, and what it has achieved."""
        return [
            model_health(
                post.entry.bundle,
                post.model,
                post.failed or post.problem,
                NOTHING if post.model is None else observed.get(post.model, NOTHING),
                {} if post.model is None else adaptation.get(post.model, {}),
            )
            for post in self._posts
        ]

    # -- inside

    def _named(self, name: str) -> Post:
        for post in self._posts:
            if post.model is not None and post.model.ref.name == name:
                return post
        raise BundleError(f"expected the name of a model at work, got {name!r}")

    def _forgive(self, now: float) -> None:
        self._asked = False
        self._tools.crashes.forgive()
        for post in self._posts:
            post.again(now)

    def _notice(self, post: Post, now: float) -> None:
        """Have a file examined that is another than before, once it stands still."""
        found = fingerprint(post.entry.bundle)
        if found != post.seen and found == post.changing and post.look is None:
            post.again(now)
        post.changing = found

    def _attend(self, post: Post, now: float) -> None:
        """Start an examination that is due, or take what one found."""
        if post.look is not None and post.look.done:
            choice, post.look = post.look.result(), None
            self._settle(post, choice)
        elif post.look is None and post.retry_at is not None and now >= post.retry_at:
            post.retry_at = None
            post.look = self._background(lambda: self._examine(post))

    def _examine(self, post: Post) -> Choice:
        post.seen = fingerprint(post.entry.bundle)
        bench = Bench(
            shelf=self._tools.shelf,
            trials=self._tools.trials,
            keys=self._tools.keys,
            aside=self._tools.crashes.aside,
            check=self._tools.check,
        )
        return examine(post.entry, Path(post.entry.bundle), bench)

    def _settle(self, post: Post, choice: Choice) -> None:
        """Take what an examination found; plan the next one if not all is well."""
        post.problem = choice.problem
        if choice.bundle is not None:
            post.failed, post.why = None, choice.problem or ""
            post.wanted = Runs(choice.bundle.digest, fallback=choice.fallback)
            post.ready = choice.bundle
        if choice.problem is not None:
            self._log.error("bundle_failed", bundle=post.entry.bundle, why=choice.problem)
            post.later(self._now())

    def _fail(self, post: Post, why: str) -> None:
        """Go on with statistics; try the model again later, in a child first."""
        post.failed = post.why = why
        if post.runs is not None:
            post.wanted = post.runs._replace(fallback=True)
            trial.forget(self._tools.trials, post.runs.digest)
        self._log.error("model_failed", bundle=post.entry.bundle, why=why)
        post.fell(self._now())

    def _due(self, post: Post) -> Swap | None:
        """Return the swap that brings a post to what it should run."""
        wanted = post.wanted
        if wanted is None or wanted == post.runs:
            return None
        return Swap(
            id=uuid.uuid4().hex,
            time_ms=min(max(self._wall_ms(), FIRST_MS), LAST_MS),
            by="offbeat",
            note=post.why[:MAX_WHY],
            entry=post.index,
            bundle=wanted.digest,
            model="" if post.ready is None else post.ready.manifest.model.name,
            fallback=wanted.fallback,
        )

    def _run(self, post: Post, runs: Runs, why: str) -> None:
        """Open a bundle and put it to work; one that cannot be opened changes nothing."""
        aside = self._tools.crashes.aside.get(runs.digest)
        refused = aside or ((why or "put aside") if runs.fallback else None)
        try:
            model = self._opened(post, self._bundle(post, runs.digest), refused)
        except BundleError as error:
            post.problem, post.wanted = str(error), post.runs
            self._log.error("bundle_failed", bundle=post.entry.bundle, why=str(error))
            return
        post.model, post.runs, post.since = model, runs, self._now()
        if post.ready is not None and post.ready.digest == runs.digest:
            post.ready = None  # the model's bytes are the interpreter's now
        if not refused:
            self._tools.shelf.good(post.entry.bundle, runs.digest)
        self._log.info("bundle", path=post.entry.bundle, digest=runs.digest, why=refused or "")

    def _opened(self, post: Post, bundle: Bundle, refused: str | None) -> Model:
        guard = functools.partial(self._tools.crashes.guard, bundle.digest)
        return fleet.open_entry(self._config, post.entry, bundle, refused=refused, guard=guard)

    def _bundle(self, post: Post, digest: str) -> Bundle:
        """Find a bundle: just examined, on the shelf, or where the configuration says."""
        if post.ready is not None and post.ready.digest == digest:
            return post.ready
        shelf = self._tools.shelf.path(digest)
        return bundles.load(shelf if shelf.exists() else post.entry.bundle, digest=digest)
