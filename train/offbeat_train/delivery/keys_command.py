"""The keys that decide what the fleet runs.

  offbeat keys init DIR --passphrase-file pass
  offbeat keys rotate DIR timestamp --passphrase-file pass
  offbeat keys rotate DIR root --lost 3f1a9c02 --passphrase-file pass
  offbeat keys renew DIR --passphrase-file pass
  offbeat keys status DIR

init makes keys, the first root (DIR/root.json, for the devices) and an empty
repository.  Two of three root keys are needed to change any key, two of three
targets keys to publish.  Keep the root keys off line: move their files away,
and back for rotate and renew.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import files
from offbeat_edge.errors import DeliveryError
from offbeat_train.delivery import arguments
from offbeat_train.delivery.repository import (
    DEFAULT_THRESHOLDS,
    LIVES,
    ROLES,
    Threshold,
)

if TYPE_CHECKING:
    import argparse

    from offbeat_train.delivery.repository import Repository

ROOT = "root.json"  # what devices are given
MAX_KEYS = 16  # of a role


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare one subcommand for each act."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    init = _act(acts, "init", "keys, the first root, an empty repository")
    init.add_argument(
        "--threshold", action="append", default=[], metavar="ROLE=K/N", help="K of N keys sign"
    )
    rotate = _act(acts, "rotate", "replace a role's keys")
    rotate.add_argument("role", choices=ROLES)
    rotate.add_argument(
        "--lost", action="append", default=[], metavar="KEY", help="only this one; repeatable"
    )
    _act(acts, "renew", "sign the root for another year")
    status = acts.add_parser("status", help="roles, keys, and what expires")
    status.add_argument("folder", type=Path, metavar="DIR")


def run(args: argparse.Namespace) -> int:
    """Act and print what was done."""
    if args.act == "status":
        return _status(args.folder)
    repository = arguments.repository(args.folder, args.passphrase_file)
    if args.act == "init":
        return _init(repository, args.folder, _thresholds(args.threshold))
    if args.act == "renew":
        repository.renew_root()
        print(f"root {repository.root().signed.version}: send it with 'offbeat publish'")
        return 0
    made = repository.rotate(args.role, lost=args.lost)
    print(*(f"{args.role}: new key {key.keyid[:16]}" for key in made), sep="\n")
    print(f"root {repository.root().signed.version}: send it with 'offbeat publish'")
    return 0


def _act(
    acts: argparse._SubParsersAction[argparse.ArgumentParser], name: str, does: str
) -> argparse.ArgumentParser:
    act = acts.add_parser(name, help=does, description=does)
    act.add_argument("folder", type=Path, metavar="DIR")
    arguments.add_arguments(act, sends=False)
    return act


def _init(repository: Repository, folder: Path, thresholds: dict[str, Threshold]) -> int:
    repository.create(thresholds)
    files.replace(folder / ROOT, (repository.metadata / "1.root.json").read_bytes())
    print(f"{folder / ROOT}: give this to every device ([delivery] root = …)")
    print(f"{folder / arguments.KEYS}: private keys; move the root's away from this machine:")
    for keyid in repository.root().signed.roles["root"].keyids:
        print(f"  {keyid[:16]}.pem")
    return 0


def _thresholds(given: list[str]) -> dict[str, Threshold]:
    found = dict(DEFAULT_THRESHOLDS)
    for text in given:
        match = re.fullmatch(r"([a-z]+)=([0-9]{1,2})/([0-9]{1,2})", text)
        needed, keys = (int(match[2]), int(match[3])) if match else (0, 0)
        if match is None or match[1] not in found or not 0 < needed <= keys <= MAX_KEYS:
            raise DeliveryError(
                f"--threshold: expected ROLE=K/N, K of N (at most {MAX_KEYS}) keys of"
                f" {', '.join(ROLES)}, got {text!r}"
            )
        found[match[1]] = Threshold(needed, keys)
    return found


def _status(folder: Path) -> int:
    """Print the roles; 78 when something has expired."""
    repository = arguments.public(folder, now=datetime.now(UTC))
    root, expired = repository.root().signed, False
    for role, signed in repository.committed().items():
        keys, needed = root.roles[role].keyids, root.roles[role].threshold
        here = [keyid for keyid in keys if (folder / arguments.KEYS / f"{keyid[:16]}.pem").exists()]
        left = signed.expires - repository.now
        expired = expired or left.total_seconds() <= 0
        print(
            f"{role:9}  {needed} of {len(keys)} keys, {len(here)} here  version {signed.version}"
            f"  until {signed.expires:%Y-%m-%d %H:%M}Z"
            f"{'  renew it' if left < LIVES[role] / 2 else ''}"
        )
        print("           " + " ".join(keyid[:16] for keyid in keys))
    return DeliveryError.exit_code if expired else 0
