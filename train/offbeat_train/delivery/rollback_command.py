"""Take a model back, everywhere, to a bundle that ran before.

  offbeat rollback pump --to 5e329db2 --repository DIR --passphrase-file pass --mqtt mqtt.toml

A new, higher version names the old bundle: devices never go back by
themselves to an older word of ours.  Most of them still have the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offbeat_edge.errors import DeliveryError
from offbeat_train.delivery import arguments, plan

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--to", required=True, metavar="DIGEST", help="its first 8 digits will do")
    arguments.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Roll back and print what was done."""
    repository = arguments.repository(args.repository, args.passphrase_file)
    before = plan.current(repository, args.model)
    if before is None:
        raise DeliveryError(f"{args.model}: expected a published model, got none of that name")
    after = plan.roll_back(before, args.to, now_ms=arguments.now_ms(repository))
    plan.commit(repository, after, {})
    arguments.send(repository, args.repository, args.mqtt)
    print(f"{args.model} version {after.version}: active {after.stages[0].bundle[:16]} on *")
    return 0
