"""Bring recorded history into a lake; doing it again changes nothing.

SOURCE is what offbeat fit reads (CSV or Parquet files, or a directory), a
data set laid out for Lookout for Equipment (<asset>/<component>/*.csv), or
one for Anomaly Detector (a folder or zip of one CSV a variable).
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge.schema import iso
from offbeat_train import imports
from offbeat_train.errors import HistoryError
from offbeat_train.history_arguments import add_history_arguments, history_options
from offbeat_train.lake import Writer, layout
from offbeat_train.lake.events import FEEDBACK, MAINTENANCE
from offbeat_train.lake.store import open_store

if TYPE_CHECKING:
    import argparse

    from offbeat_train.imports import Imported

KEY_DIGITS = 16  # of the files' digest, in a part's name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", nargs="+", type=Path, metavar="SOURCE")
    parser.add_argument("--lake", required=True, metavar="URI",
                        help="a folder, or s3://bucket/prefix?region=...")  # fmt: skip
    parser.add_argument("--asset", help="the asset's name, for a history of one asset")
    parser.add_argument("--labels", type=Path, metavar="FILE",
                        help="CSV of start,end: anomalies, left out of training")  # fmt: skip
    parser.add_argument("--off", metavar="SENSOR<VALUE",
                        help="when it was off (or SENSOR>VALUE): left out too")  # fmt: skip
    add_history_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Import; return 0."""
    with tempfile.TemporaryDirectory(prefix="offbeat-import-") as folder:
        sources = args.source
        if len(sources) == 1 and sources[0].suffix.lower() == ".zip":
            imports.unpack(sources[0], Path(folder))
            args.asset = args.asset or sources[0].stem
            sources = [Path(folder)]
        assets, notes = imports.read(sources, history_options(args), asset=args.asset)
    if args.labels is not None and len(assets) > 1:
        names = ", ".join(item.asset for item in assets)
        raise HistoryError(f"expected one asset beside --labels, got {names}", path=args.labels)
    for note in notes:
        print(note)
    writer = Writer(open_store(args.lake))
    for item in assets:
        _write(writer, item, args)
    return 0


def _write(writer: Writer, item: Imported, args: argparse.Namespace) -> None:
    key = _key(item)
    said = [] if args.labels is None else imports.labels(args.labels, item.asset, args.timezone)
    off = [] if args.off is None else imports.off_times(item, args.off)
    writer.rows(key, item.asset, item.rows)
    writer.events(_key(item, *(event.id for event in said)), FEEDBACK, said)
    writer.events(_key(item, *(event.id for event in off)), MAINTENANCE, off)
    times = item.rows.times
    told = f"{item.asset}: {len(times)} rows of {len(item.rows.sensors)} sensors"
    print(f"{told} from {iso(int(times[0]))} to {iso(int(times[-1]))}")
    if said or off:
        print(f"{item.asset}: {len(said)} labelled anomalies, {len(off)} stretches off")


def _key(item: Imported, *more: str) -> str:
    """Return the name of parts that hold just this."""
    told = hashlib.sha256("\n".join((item.digest, item.asset, *more)).encode()).hexdigest()
    return f"{layout.IMPORTED}-{told[:KEY_DIGITS]}"
