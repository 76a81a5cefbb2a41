"""The known-answer test: whether a bundle computes here what it should.

Rules: two tiers.  On a combination of runtime, version, architecture and
delegate that the manifest lists, the golden scores must be equal to the bit
(*exact*); elsewhere they may be off by the manifest's epsilon and must stay
on their side of 1.0 (*bounded*).  A model file can crash its runtime, and no
exception handler survives that, so a bundle that is not yet trusted is tried
in a child process: ``python -m offbeat_edge.knownanswer BUNDLE`` prints one
JSON object.

>>> answer = check_in_child("pump.offbeat", timeout_s=60)  # doctest: +SKIP
>>> answer.ok, answer.tier, answer.max_diff  # doctest: +SKIP
(True, 'exact', 0.0)
"""

from __future__ import annotations

import argparse
import math
import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec
import numpy as np

from offbeat_edge import bundle as bundles
from offbeat_edge import modelfile
from offbeat_edge.errors import BundleError, ModelError, OffbeatError, RuntimeUnavailable
from offbeat_edge.golden import Golden, scores_digest
from offbeat_edge.interpreter import Interpreter
from offbeat_edge.schema import SCHEMA, Runtime
from offbeat_edge.scorer import Scorer

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from offbeat_edge.bundle import Bundle
    from offbeat_edge.detector import Scores
    from offbeat_edge.manifest import Manifest
    from offbeat_edge.modelfile import LinearPath, ModelFile

    Floats = NDArray[np.float64]

# -P: the working directory must not lend its modules to the child.
CHILD = (sys.executable, "-P", "-m", "offbeat_edge.knownanswer")
CHILD_TIMEOUT_S = 120.0  # a Pi needs seconds to import a runtime
CHILD_MEMORY_MAX = 1024**3  # bytes of data; LiteRT and a model take a tenth
CHILD_OUTPUT_SHOWN = 400  # characters of a dead child's last words
_ERRORS = {"BundleError": BundleError, "RuntimeUnavailable": RuntimeUnavailable}


class Reconstructor(Protocol):
    """What scores need of `interpreter.Interpreter`."""

    def reconstruct(self, windows: Floats) -> Floats:
        """(N, T, F) scaled → (N, T, F) scaled."""
        ...


class Runner(Reconstructor, Protocol):
    """What the test needs of it."""

    @property
    def runtime(self) -> Runtime:
        """The combination it runs on."""
        ...


class KnownAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a bundle's golden windows here."""

    schema: str = SCHEMA
    ok: bool
    tier: Literal["exact", "bounded"]
    max_diff: float | None  # score units; None when there are no scores
    reason: str  # one sentence
    runtime: Runtime


class _Word(msgspec.Struct, frozen=True, kw_only=True):
    """What the child says: an answer, or an error and its kind."""

    answer: KnownAnswer | None = None
    error: str | None = None
    kind: str = "BundleError"


def answer(manifest: Manifest, windows: Floats, runner: Runner) -> Golden:
    """Score ``windows`` (N, T, F), scaled: the answers of this runtime."""
    scores = _scores(manifest, windows, runner)
    return Golden(windows=windows, scores=scores.score, shares=scores.shares)


def scored(manifest: Manifest, windows: Floats, runner: Reconstructor) -> Floats:
    """Score ``windows`` (N, T, F), scaled: (N,); raises ModelError."""
    return _scores(manifest, windows, runner).score


def check(bundle: Bundle, runner: Runner | None = None) -> KnownAnswer:
    """Run the golden windows in this process; prefer `check_in_child`.

    Parameters
    ----------
    bundle : loaded.
    runner : an interpreter of its model; None loads one.

    Raises
    ------
    BundleError : the model is refused before it is run.
    RuntimeUnavailable : there is no runtime.
    """
    described = modelfile.read(bundle.model, where=bundles.MODEL)
    path = modelfile.linear_path(bundle.model, where=bundles.MODEL)
    _check_shapes(described, path, bundle.manifest)
    try:
        runner = runner or Interpreter(bundle.model)
        refused = modelfile.unloadable(described, runner.runtime)
        if refused:
            raise BundleError("; ".join(refused))
        here = answer(bundle.manifest, bundle.golden.windows, runner)
    except (ModelError, ValueError) as error:
        raise BundleError(f"{bundles.MODEL}: {error}") from error
    return _compare(bundle, here, runner.runtime)


def check_in_child(
    path: str | os.PathLike[str],
    *,
    timeout_s: float = CHILD_TIMEOUT_S,
    digest: str | None = None,
    program: tuple[str, ...] = CHILD,
) -> KnownAnswer:
    """Run the golden windows of a bundle file in a process of their own.

    Parameters
    ----------
    path : the bundle.
    timeout_s : seconds after which it counts as hanging.
    digest : the identity it must have, hex, when known.
    program : the child; gets the path and the digest as arguments.

    Raises
    ------
    BundleError : refused by `bundle.load` or the runtime, crashed, or hung.
    RuntimeUnavailable : there is no runtime.
    """
    command = [*program, str(path), *(["--digest", digest] if digest is not None else [])]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, capture_output=True, check=False, timeout=timeout_s, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise BundleError(f"{path}: expected an answer in {timeout_s:g} s, got none") from None
    except OSError as error:
        raise BundleError(f"{path}: expected to start a child process, got: {error}") from error
    word = _heard(done, path)
    if word.answer is None:
        raise _ERRORS.get(word.kind, BundleError)(word.error)
    return word.answer


def main(argv: list[str] | None = None) -> int:
    """Be the child: print one JSON object, exit 0 when there is an answer."""
    parser = argparse.ArgumentParser(description="Run a bundle's known-answer test here.")
    parser.add_argument("bundle")
    parser.add_argument("--digest")
    args = parser.parse_args(argv)
    try:
        bundle = bundles.load(args.bundle, digest=args.digest)
        word = _Word(answer=check(bundle))
    except BundleError as error:
        # A refusal of the model alone does not know the file's name.
        told = str(error) if str(error).startswith(args.bundle) else f"{args.bundle}: {error}"
        word = _Word(error=told)
    except OffbeatError as error:
        word = _Word(error=str(error), kind=type(error).__name__)
    except MemoryError:
        word = _Word(error=f"{args.bundle}: expected a model that fits in memory, got more")
    sys.stdout.write(msgspec.json.encode(word).decode() + "\n")
    return 0 if word.answer is not None else BundleError.exit_code


def _scores(manifest: Manifest, windows: Floats, runner: Reconstructor) -> Scores:
    scorer = Scorer(manifest, manifest.sensors)
    return scorer.score(windows, runner.reconstruct(windows))


def _compare(bundle: Bundle, here: Golden, runtime: Runtime) -> KnownAnswer:
    listed = [c.scores_sha256 for c in bundle.manifest.runtimes if c.runtime == runtime]
    tier: Literal["exact", "bounded"] = "exact" if listed else "bounded"
    scores, epsilon = here.scores, bundle.manifest.epsilon
    if not np.isfinite(scores).all():
        reason = "expected finite golden scores, got NaN or infinity"
        return KnownAnswer(ok=False, tier=tier, max_diff=None, reason=reason, runtime=runtime)
    expected = bundle.golden.scores
    diff = float(np.abs(scores - expected).max())
    if listed:
        ok = scores_digest(scores) in listed
        reason = f"golden scores {'equal' if ok else 'not equal'} to the bit"
    else:
        crossed = int(((scores > 1.0) != (expected > 1.0)).sum())
        ok = diff <= epsilon and not crossed
        reason = f"golden scores differ by {diff:.3g} (epsilon {epsilon:.3g}), {crossed} cross 1.0"
    return KnownAnswer(ok=ok, tier=tier, max_diff=diff, reason=reason, runtime=runtime)


def _check_shapes(model: ModelFile, path: LinearPath | None, manifest: Manifest) -> None:
    steps, width = manifest.model.window, len(manifest.sensors)
    inputs = {port.shape for port in model.inputs}
    outputs = {math.prod(port.shape) for port in model.outputs}
    size = modelfile.output_size(steps * width, path)
    if inputs != {(1, steps, width)} or outputs != {size}:
        raise BundleError(
            f"{bundles.MODEL}: expected windows of {steps} steps x {width} sensors as in the"
            f" manifest, got inputs {sorted(inputs)} and outputs of {sorted(outputs)} numbers"
        )


def _heard(done: subprocess.CompletedProcess[bytes], path: str | os.PathLike[str]) -> _Word:
    if done.returncode < 0:
        name = signal.strsignal(-done.returncode)
        raise BundleError(f"{path}: expected an answer, got a crash of the runtime ({name})")
    lines = done.stdout.splitlines() or [b""]
    try:
        word = msgspec.json.decode(lines[-1], type=_Word)
    except ValueError:  # msgspec's own, and of bytes that are no UTF-8
        last = done.stderr.decode(errors="replace").strip()[-CHILD_OUTPUT_SHOWN:]
        raise BundleError(
            f"{path}: expected an answer, got exit code {done.returncode}: {last}"
        ) from None
    return word


def _limit_child() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (CHILD_MEMORY_MAX, CHILD_MEMORY_MAX))


if __name__ == "__main__":
    _limit_child()
    sys.exit(main())
