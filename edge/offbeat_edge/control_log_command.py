"""The control log as JSON lines: what people said, and where it took effect.

The daemon may be running: its database is copied and the copy read.  What it
prints is what ``offbeat replay --control`` reads.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import config as configs
from offbeat_edge.errors import StoreError
from offbeat_edge.store import FILE, Store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

TRIES = 20  # copies, until the daemon changed nothing but the log's end meanwhile
WAL_HEADER_BYTES = 32  # changes when the write-ahead log begins anew


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", required=True, type=Path, help="the daemon's TOML file")


def run(args: argparse.Namespace) -> int:
    """Print the log; return the exit code."""
    config = configs.load(args.config, os.environ)
    for body in lines(Path(config.gateway.state_dir) / FILE):
        sys.stdout.write(body.decode() + "\n")
    return 0


def lines(path: Path) -> Iterator[bytes]:
    """Yield a database's control log, oldest first; StoreError when it cannot be read."""
    with tempfile.TemporaryDirectory(prefix="offbeat-") as folder:
        copy = Path(folder) / path.name
        try:
            _copy(path, copy)
        except OSError as error:
            raise StoreError(f"{path}: expected a state database, got: {error}") from error
        store = Store(path=copy, outbox_limit_bytes=1 << 62)
        opened = store.open()
        if opened.damaged:
            raise StoreError(f"{path}: expected a state database, got: {opened.damaged}")
        try:
            yield from (row.body for row in store.controls())
        finally:
            store.close()


def _copy(path: Path, copy: Path) -> None:
    """Copy a database in use: whole, unless its log was folded into it meanwhile."""
    wal = path.with_name(path.name + "-wal")
    for _ in range(TRIES):
        before = _mark(path, wal)
        shutil.copyfile(path, copy)
        if wal.exists():
            shutil.copyfile(wal, copy.with_name(copy.name + "-wal"))
        if _mark(path, wal) == before:
            return
    raise StoreError(f"{path}: expected a quiet moment, got none in {TRIES}")


def _mark(path: Path, wal: Path) -> tuple[int, int, bytes]:
    """Return what changes when a consistent copy does not come about."""
    stat = path.stat()
    header = b""
    if wal.exists():
        with wal.open("rb") as file:
            header = file.read(WAL_HEADER_BYTES)
    return stat.st_mtime_ns, stat.st_size, header
