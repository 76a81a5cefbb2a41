"""Run an alert of the lake again, with the bundle that raised it: the same figures, and a picture.

ALERT is an alert's id or that of one of its events (ID/SEQ).  Exit 1 when a
figure came out different.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import bundle as bundles
from offbeat_edge import config as configs
from offbeat_edge.errors import BundleError
from offbeat_train import explain_page as page
from offbeat_train.explain import explain, find
from offbeat_train.lake import open_lake

if TYPE_CHECKING:
    import argparse

    from offbeat_edge.bundle import Bundle
    from offbeat_edge.schema import AlertEvent
    from offbeat_train.explain import Explained

DIFFERENT = 1
BUNDLE = "bundle.offbeat"  # of a version in a registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("alert", metavar="ALERT", help="its id, or ID/SEQ")
    parser.add_argument("--lake", required=True, metavar="URI", help="what recorded it")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--bundle", type=Path, metavar="FILE", help="the bundle that raised it")
    source.add_argument("--registry", type=Path, metavar="DIR", help="a registry that holds it")
    parser.add_argument("--config", type=Path, help="the gateway's file: its lateness, its rules")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a page (.html) or picture (.png)")


def run(args: argparse.Namespace) -> int:
    """Explain; return 0, or 1 when a figure came out different."""
    lake = open_lake(args.lake)
    events = find(lake, args.alert)
    config = None if args.config is None else configs.load(args.config, os.environ)
    finder = _Finder(args.bundle, args.registry)
    explained = explain(events, lake, finder.find, config=config)
    if args.out is not None:
        page.write(args.out, explained)
    _tell(explained)
    return 0 if explained.equal else DIFFERENT


class _Finder:
    """Finds the bundle an event names, by its digest."""

    def __init__(self, file: Path | None, registry: Path | None) -> None:
        self._file, self._registry = file, registry

    def find(self, event: AlertEvent) -> Bundle:
        """Return it; BundleError says where it was looked for."""
        wanted = event.model.bundle if event.model else None
        if self._file is not None:
            return bundles.load(self._file, digest=wanted)
        for path in self._candidates(event):
            found = bundles.load(path)
            if found.digest == wanted:
                return found
        raise BundleError(f"{self._registry}: expected a bundle {wanted}, got none")

    def _candidates(self, event: AlertEvent) -> list[Path]:
        """Return the registry's bundles, the likeliest first."""
        registry = self._registry or Path()
        paths = sorted(registry.glob(f"*/*/{BUNDLE}"))
        named = event.model and (event.model.name, event.model.version)
        return sorted(paths, key=lambda p: (p.parent.parent.name, p.parent.name) != named)


def _tell(explained: Explained) -> None:
    first = explained.events[0].event
    print(f"{first.message} ({first.start})")
    if first.adaptation is not None:
        print(f"adapted to the asset: {page.adapted(first.adaptation)}")
    for item in explained.events:
        print(f"{item.event.type:6} {item.event.time}  {'same' if item.equal else 'DIFFERENT'}")
        for what, published, again in page.figures(item):
            mark = "" if published == again else f"  here {again or 'nothing'}"
            print(f"    {what:32} {published}{mark}")
    print(page.verdict(explained))
    for doubt in page.doubts(explained):
        print(f"! {doubt}")
