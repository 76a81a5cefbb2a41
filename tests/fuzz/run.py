"""Coverage-guided fuzzing: ``python tests/fuzz/run.py --inputs 10000000``.

One child process a target, one after the other, each with a limit of memory
(RLIMIT_AS) and of time for an input; corpora grow in a folder of their own
and seed the next run when ``--corpus`` keeps them.  The first input that does
what its door does not allow ends its target, and the run's exit code is 1; it
lies in the corpus folder as ``crash-*`` and is repeated by ``--target NAME --repeat FILE``.
The last line of the output holds the figures.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
MEMORY_BYTES = 3 << 30  # address space of a child; numpy's libraries take a third of it
RSS_MB = 700  # resident; beyond it libFuzzer reports the input
INPUT_S = 5  # for one input: a hang
NAMES_ONLY = "import sys; sys.path.insert(0, {here!r}); from targets import TARGETS; import json; "


class Figures(NamedTuple):
    """What one target's run came to."""

    inputs: int
    branches: int  # of its modules, reached; see branches.py for how many there are
    corpus: int  # inputs that reached something new


def main() -> int:
    """Fuzz; return 1 when anything was found."""
    args = _arguments()
    if args.child:
        return _child(args)
    folder = args.corpus or Path(tempfile.mkdtemp(prefix="offbeat-fuzz-"))
    shares = _shares(args.target)
    found: dict[str, Figures] = {}
    broken = 0
    for name, share in shares.items():
        limit = [f"-runs={int(args.inputs * share)}"] if args.inputs else []
        limit += [f"-max_total_time={max(1, int(args.seconds * share))}"] if args.seconds else []
        code, text = _run(name, folder / name, limit, seed=args.seed)
        found[name] = _read(text, folder / name)
        sys.stdout.write(f"{name}: {found[name]._asdict()}\n")
        sys.stdout.flush()
        if code:
            broken = 1
            sys.stdout.write(f"{text[-4000:]}\n{name}: exit code {code}, see {folder / name}\n")
    total = sum(figures.inputs for figures in found.values())
    sys.stdout.write(json.dumps({"inputs": total, **{n: list(f) for n, f in found.items()}}) + "\n")
    return broken


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=0, help="in total, over all targets")
    parser.add_argument("--seconds", type=float, default=0.0, help="in total, over all targets")
    parser.add_argument("--target", action="append", default=[], help="only this one")
    parser.add_argument("--corpus", type=Path, help="where corpora lie and grow")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--repeat", type=Path, help="run this input once and stop")
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.repeat:
        args.child = args.target[0]
    elif not (args.inputs or args.seconds or args.child):
        args.seconds = 600.0
    return args


def _shares(wanted: list[str]) -> dict[str, float]:
    """Return each target's share of the whole."""
    code = NAMES_ONLY.format(here=str(HERE)) + (
        "print(json.dumps({n: t.weight for n, t in TARGETS.items()}))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    weights = {n: w for n, w in json.loads(out.stdout).items() if not wanted or n in wanted}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def _run(name: str, corpus: Path, limit: list[str], *, seed: int) -> tuple[int, str]:
    corpus.mkdir(parents=True, exist_ok=True)
    options = [
        *limit, f"-seed={seed}", f"-timeout={INPUT_S}", f"-rss_limit_mb={RSS_MB}",
        f"-artifact_prefix={corpus}/", "-print_final_stats=1", "-len_control=0", str(corpus),
    ]  # fmt: skip
    command = [sys.executable, __file__, "--child", name, "--", *options]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
    return done.returncode, done.stdout + done.stderr


def _read(text: str, corpus: Path) -> Figures:
    """Take the figures from what libFuzzer says."""

    def number(pattern: str) -> int:
        return int((re.findall(pattern, text) or ["0"])[-1])

    return Figures(
        inputs=number(r"stat::number_of_executed_units: *(\d+)"),
        branches=number(r"cov: (\d+)"),
        corpus=sum(1 for path in corpus.iterdir() if len(path.name) == 40),
    )


def _child(args: argparse.Namespace) -> int:
    """Fuzz one target in this process; libFuzzer ends it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    import atheris  # noqa: PLC0415 - the parent needs it not

    sys.path.insert(0, str(HERE))
    modules = json.loads(
        subprocess.run(
            [sys.executable, "-c", NAMES_ONLY.format(here=str(HERE))
             + f"print(json.dumps(TARGETS[{args.child!r}].modules))"],
            check=True, capture_output=True, text=True,
        ).stdout
    )  # fmt: skip
    with atheris.instrument_imports(include=["offbeat_edge"], exclude=_others(modules)):
        from targets import TARGETS  # noqa: PLC0415 - instrumented on the way in

        for name in modules:  # also those that are loaded only where they are configured
            importlib.import_module(f"offbeat_edge.{name}")
    from mutate import mutated  # noqa: PLC0415

    target = TARGETS[args.child]
    if args.repeat:
        target.run(args.repeat.read_bytes())
        return 0
    corpus = Path(args.rest[-1])
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)

    def change(data: bytes, most: int, seed: int) -> bytes:
        if seed % 2:
            return bytes(atheris.Mutate(data, most))
        return mutated(data, random.Random(seed), most=most)

    options = [sys.argv[0], *args.rest, f"-max_len={target.most}"]
    atheris.Setup(options, target.run, custom_mutator=change)
    atheris.Fuzz()
    return 0


def _others(modules: list[str]) -> list[str]:
    """Name the modules of the device that are not to be counted."""
    folder = HERE.parent.parent / "edge" / "offbeat_edge"
    paths = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py")]
    names = [".".join(path.parts).removesuffix(".__init__") for path in paths]
    return [f"offbeat_edge.{name}" for name in names if name not in modules]


if __name__ == "__main__":
    sys.exit(main())
