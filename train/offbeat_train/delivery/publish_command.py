"""Sign bundles and bring them to the fleet.

  offbeat publish pump.offbeat --repository DIR --passphrase-file pass --mqtt mqtt.toml
  offbeat publish --repository DIR --passphrase-file pass --mqtt mqtt.toml

With bundles: each is signed for its model, for all gateways or those named.
Without: what is past half its life is signed anew and sent; run that daily,
or devices take nothing new after a week.  DIR/metadata and DIR/targets may
be served over HTTPS as they are; DIR/keys must not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import bundle as bundles
from offbeat_edge.delivery.assignment import Stage
from offbeat_train.delivery import arguments, plan

if TYPE_CHECKING:
    import argparse

    from offbeat_train.delivery.repository import Repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--mode", choices=("active", "canary", "shadow"), default="active", help="(%(default)s)"
    )
    parser.add_argument(
        "--gateways", nargs="+", default=["*"], metavar="GLOB", help="whose; default: everybody's"
    )
    arguments.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Publish and print what was done."""
    repository = arguments.repository(args.repository, args.passphrase_file)
    for path in args.bundles:
        print(_publish(repository, path, mode=args.mode, gateways=tuple(args.gateways)))
    if not args.bundles:
        print(f"signed anew: {', '.join(repository.refresh())}")
    sent = arguments.send(repository, args.repository, args.mqtt)
    repository.sweep()
    if args.mqtt:
        print(f"{sent} messages sent")
    for role, expires in repository.due().items():
        print(f"warning: {role} expires {expires:%Y-%m-%d}, and its keys are not here")
    return 0


def _publish(repository: Repository, path: Path, *, mode: str, gateways: tuple[str, ...]) -> str:
    data = path.read_bytes()
    found = bundles.parse(data, where=str(path))
    model = found.manifest.model.name
    stage = Stage(mode=mode, bundle=found.digest, gateways=gateways)  # type: ignore[arg-type]  # argparse's choices
    before = plan.current(repository, model)
    after = plan.assign(before, stage, model=model, now_ms=arguments.now_ms(repository))
    plan.commit(repository, after, {found.digest: data})
    return f"{model} version {after.version}: {mode} {found.digest[:16]} on {' '.join(gateways)}"
