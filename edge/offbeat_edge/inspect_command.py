"""Explain a bundle: what it watches, where it comes from, and whether it computes here.

The known-answer test runs in a child process.  Exit code 78 when the bundle
is refused or gives other answers than it should.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from offbeat_edge import bundle as bundles
from offbeat_edge import modelfile
from offbeat_edge.errors import BundleError, RuntimeUnavailable
from offbeat_edge.knownanswer import KnownAnswer, check_in_child
from offbeat_edge.manifest import Manifest
from offbeat_edge.schema import SCHEMA

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from offbeat_edge.bundle import Bundle
    from offbeat_edge.modelfile import ModelFile
    from offbeat_edge.schema import Runtime, SensorSpec

_UNITS_MS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))
_LABEL = 12  # columns
_DEPTH = 3  # levels of lineage that get lines of their own


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to say about a bundle file."""

    schema: str = SCHEMA
    path: str
    digest: str  # SHA-256 of the manifest, hex
    size: int  # bytes
    signed: bool  # a signature is present; whose, the daemon's trust.keys tell
    golden_windows: int
    manifest: Manifest
    operators: tuple[modelfile.Op, ...]
    known_answer: KnownAnswer | None  # None: could not be run, see ``problem``
    problem: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print an inspection; 0 when nothing speaks against the bundle, else 78 or 69."""
    found, exit_code = inspect(args.bundle)
    if args.json:
        print(json.dumps(msgspec.to_builtins(found), indent=2, ensure_ascii=False))
    else:
        print("\n".join(explain(found)))
    return exit_code


def inspect(path: Path) -> tuple[Inspection, int]:
    """Look at a bundle; returns it with an exit code.

    Raises
    ------
    BundleError : the file is refused before its model is run.
    """
    bundle = bundles.load(path)
    model = modelfile.read(bundle.model, where=f"{path}: {bundles.MODEL}")
    try:
        answer = check_in_child(path, digest=bundle.digest)
    except (BundleError, RuntimeUnavailable) as error:
        return _inspection(path, bundle, model, problem=str(error)), error.exit_code
    exit_code = 0 if answer.ok else BundleError.exit_code
    return _inspection(path, bundle, model, answer=answer), exit_code


def explain(found: Inspection) -> Iterator[str]:
    """Tell an inspection to people, line by line."""
    manifest, model = found.manifest, found.manifest.model
    yield f"{model.name} {model.version}, {found.path}"
    yield from _pairs(
        ("digest", found.digest),
        ("created", model.created),
        ("size", f"{found.size:,} bytes{_sizes(manifest)}"),
        ("signature", "present (trust.keys checks it)" if found.signed else "none"),
        ("schema", f"{manifest.schema}, needs edge {manifest.min_edge} or later"),
        ("grid", _grid(manifest)),
        ("threshold", f"{manifest.threshold:.6g} (raw), a score of 1.0"),
        ("follows", _follows(manifest)),
        ("alerts", _alerts(manifest)),
        ("operators", _operators(found.operators)),
    )
    yield f"sensors ({len(manifest.sensors)})"
    yield from _table([_header(), *map(_sensor, manifest.sensors)])
    yield "calibration"
    yield from _pairs(*_facts(manifest.calibration))
    yield "lineage"
    yield from _pairs(*_facts(msgspec.to_builtins(manifest.lineage)))
    yield from _checks(found)


def _inspection(
    path: Path,
    bundle: Bundle,
    model: ModelFile,
    *,
    answer: KnownAnswer | None = None,
    problem: str | None = None,
) -> Inspection:
    return Inspection(
        path=str(path),
        digest=bundle.digest,
        size=bundle.size,
        signed=bundle.signature is not None,
        golden_windows=len(bundle.golden.windows),
        manifest=bundle.manifest,
        operators=model.ops,
        known_answer=answer,
        problem=problem,
    )


def _sizes(manifest: Manifest) -> str:
    parts = (f"{name} {member.size:,}" for name, member in sorted(manifest.members.items()))
    return f" ({', '.join(parts)})"


def _grid(manifest: Manifest) -> str:
    model = manifest.model
    period = model.period_ms
    return (
        f"a step every {_span(period)}, a window of {model.window} steps"
        f" ({_span(model.window * period)}) every {_span(model.stride * period)},"
        f" a missing sensor holds {_span(model.hold_ms)}"
    )


def _operators(operators: tuple[modelfile.Op, ...]) -> str:
    return ", ".join(f"{op.uses} {op.name} v{op.version}" for op in operators)


def _follows(manifest: Manifest) -> str:
    rule, model = manifest.follow, manifest.model
    if rule is None:
        return "nothing: the threshold stands still"
    reach = _span(rule.windows * model.window * model.period_ms)
    return f"{rule.factor:g} x an asset's mean score of {reach}, up to {rule.most:g}"


def _alerts(manifest: Manifest) -> str:
    rule = manifest.alert
    return (
        f"open after {_span(rule.min_duration_ms)} above 1.0,"
        f" close after {_span(rule.clear_ms)} below {rule.clear_ratio:g},"
        f" then quiet for {_span(rule.cooldown_ms)}"
    )


def _header() -> tuple[str, ...]:
    return ("name", "unit", "center", "scale", "plausible", "every", "stuck after",
            "missing after", "no reading", "judged")  # fmt: skip


def _sensor(sensor: SensorSpec) -> tuple[str, ...]:
    low = "" if sensor.low is None else f"{sensor.low:g}"
    high = "" if sensor.high is None else f"{sensor.high:g}"
    return (
        sensor.name,
        sensor.unit,
        f"{sensor.center:.6g}",
        f"{sensor.scale:.6g}",
        f"{low} .. {high}" if low or high else "any",
        _span(sensor.cadence_ms),
        _steps(sensor.stuck_steps),
        _steps(sensor.quiet_steps),
        ", ".join(f"{number:g}" for number in sensor.absent),
        "yes" if sensor.scored else "input only",
    )


def _steps(count: int | None) -> str:
    return "" if count is None else f"{count} steps"


def _checks(found: Inspection) -> Iterator[str]:
    yield "checked at export on"
    for check in found.manifest.runtimes:
        yield f"  {_runtime(check.runtime)}: off by {check.max_diff:.3g}"
    if not found.manifest.runtimes:
        yield "  nothing recorded"
    yield f"known answer here ({found.golden_windows} golden windows)"
    answer = found.known_answer
    if answer is None:
        yield f"  not run: {found.problem}"
        return
    verdict = "good" if answer.ok else "BAD"
    yield f"  {verdict}, {answer.tier}: {answer.reason}, {_runtime(answer.runtime)}"


def _runtime(runtime: Runtime) -> str:
    return f"{runtime.name} {runtime.version} {runtime.arch}, delegate {runtime.delegate}"


def _facts(facts: dict[str, object], above: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in sorted(facts.items()):
        # As JSON: whatever stands in there cannot steer a terminal.
        name = above + json.dumps(key)[1:-1]
        if isinstance(value, dict) and value and above.count(".") < _DEPTH:
            found += _facts(value, f"{name}.")
        else:
            found.append((name, json.dumps(value)))
    return found


def _pairs(*pairs: tuple[str, str]) -> Iterator[str]:
    width = max([_LABEL, *(len(key) for key, _ in pairs)])
    return (f"  {key:{width}}  {value}" for key, value in pairs)


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  " + "  ".join(cells).rstrip()


def _span(length_ms: int) -> str:
    """Write a length of time in its largest fitting unit: ``_span(90_000)`` is 1.5 min."""
    for unit_ms, name in _UNITS_MS:
        if length_ms >= unit_ms:
            return f"{length_ms / unit_ms:g} {name}"
    return f"{length_ms} ms" if length_ms else "0 s"
