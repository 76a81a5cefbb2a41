"""The registry for people: models, versions, verdicts, the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.table import Table

from offbeat_train.retrain.record import Judgement
from offbeat_train.retrain.shelf import Shelf

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_train.retrain.shelf import Version


def listed(registry: Path) -> Table:
    """Return a row for each version, the champion's marked."""
    table = Table("model", "version", "", "verdict", "why")
    folders = sorted(path for path in registry.glob("*") if path.is_dir())
    for folder in folders:
        shelf = Shelf(registry, folder.name)
        champion = shelf.champion()
        for version in shelf.versions():
            mark = "champion" if champion and champion.name == version.name else ""
            table.add_row(shelf.model, version.name, mark, *_verdict(version))
    return table


def _verdict(version: Version) -> tuple[str, str]:
    if not version.verdict.is_file():
        return "none", ""
    verdict = msgspec.json.decode(version.verdict.read_bytes(), type=Judgement).verdict
    return verdict.decision, verdict.why
