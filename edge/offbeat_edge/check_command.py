"""Say all that is wrong with a configuration, and what is unsafe in it.

The environment counts (OFFBEAT_MQTT__HOST and so on), as it does for the
daemon.  Exit code 78 when something is wrong; warnings alone give 0.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from offbeat_edge import config as configs
from offbeat_edge import config_check
from offbeat_edge.errors import ConfigError
from offbeat_edge.schema import SCHEMA

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from offbeat_edge.config import Config


class Findings(NamedTuple):
    """What there is to say about a configuration file."""

    config: Config | None
    problems: list[str]
    warnings: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 0 when the daemon would start, else 78."""
    found = check(args.file, os.environ)
    if args.json:
        print(json.dumps(_object(args.file, found), indent=2, ensure_ascii=False))
    else:
        _print(args.file, found)
    return ConfigError.exit_code if found.problems else 0


def check(path: Path, environ: Mapping[str, str]) -> Findings:
    """Check a file and what it points to."""
    config, wrong = configs.read(path, environ)
    if config is None:
        return Findings(None, wrong, [])
    wrong += [f"{path.name}: {line}" for line in config_check.problems(config)]
    unsafe = [f"{path.name}: {line}" for line in config_check.warnings(config)]
    return Findings(config, wrong, unsafe)


def _object(path: Path, found: Findings) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "file": str(path),
        "ok": not found.problems,
        "problems": found.problems,
        "warnings": found.warnings,
    }


def _print(path: Path, found: Findings) -> None:
    for line in found.problems:
        print(f"problem: {line}")
    for line in found.warnings:
        print(f"warning: {line}")
    if found.config and not found.problems:
        print(f"ok: {_summary(found.config)}")
    else:
        print(f"{path}: {_count(found.problems, 'problem')}, {_count(found.warnings, 'warning')}")


def _summary(config: Config) -> str:
    """Say in one line what the daemon would do."""
    mqtt = config.mqtt
    broker = f"{'mqtts' if mqtt.tls else 'mqtt'}://{mqtt.host}:{mqtt.port}"
    topics = ", ".join(source.topic for source in config.sources[:3])
    more = f" and {len(config.sources) - 3} more" if len(config.sources) > 3 else ""
    models = _count(config.models, "model")
    return f"{config.gateway.id} reads {topics}{more} from {broker} with {models}"


def _count(items: list[str] | tuple[object, ...], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
