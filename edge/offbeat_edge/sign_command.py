"""Sign a bundle, or make the keys for it.

``offbeat sign --new-key release.key`` writes a private key (keep it off the
devices) and ``release.key.pub``, which goes to them: ``trust.keys`` in the
configuration.  ``offbeat sign BUNDLE --key release.key`` puts the signature
into the bundle; its identity stays the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import bundle as bundles
from offbeat_edge.errors import TrustError
from offbeat_edge.signature import Signer, generate

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("bundle", nargs="?", type=Path, metavar="BUNDLE")
    parser.add_argument("--key", type=Path, metavar="FILE", help="private key to sign with")
    parser.add_argument("--new-key", type=Path, metavar="FILE", help="make a pair of keys")


def run(args: argparse.Namespace) -> int:
    """Sign or make keys; return 0."""
    if args.new_key is not None:
        print(f"{args.new_key}: private, keep it off the devices")
        print(f"{generate(args.new_key)}: public, for trust.keys")
        if args.bundle is None:
            return 0
    key = args.key or args.new_key
    if args.bundle is None or key is None:
        raise TrustError("expected BUNDLE and --key FILE, or --new-key FILE")
    print(f"{args.bundle}: signed sha256:{bundles.sign(args.bundle, Signer(key).sign)}")
    return 0
