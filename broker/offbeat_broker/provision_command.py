"""Identities for the wire: an authority, certificates, who may say and read what.

  offbeat provision init DIR --host broker.plant
  offbeat provision gateway DIR gw1 --topic 'plant/#'
  offbeat provision source DIR plc7 --topic 'plant/hall7/#'
  offbeat provision person DIR ana --rights operator
  offbeat provision trainer DIR nightly
  offbeat provision bridge DIR plant1 --gateway gw1
  offbeat provision notifier DIR pager
  offbeat provision sparkplug DIR scada
  offbeat provision page DIR console-page --host console.plant
  offbeat provision status DIR

Works offline on one folder, which holds the authority's key: keep it off the
network.  What exists is never overwritten; renew and revoke say what they
change.  status gives 78 when something has expired.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_broker import provision, provision_init, provision_status
from offbeat_edge.errors import ConfigError

if TYPE_CHECKING:
    import argparse

_PEOPLE = ("person", "console")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare one subcommand for each act."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    init = _act(acts, "init", "a new authority, the broker's certificate and configuration")
    init.add_argument(
        "--host", action="append", required=True, help="name or address of the broker; repeatable"
    )
    init.add_argument("--port", type=int, default=provision_init.DEFAULT_PORT, help="(%(default)s)")
    for role, does in (
        ("gateway", "reads sensor topics, writes under its own name"),
        ("source", "writes sensor topics, nothing else"),
    ):
        act = _act(acts, role, does, named=True)
        act.add_argument("--topic", action="append", default=[], help="MQTT filter; repeatable")
    _act(acts, "trainer", "reads all, writes offbeat/fleet", named=True)
    _act(acts, "sparkplug", "reads states and alerts, is a Sparkplug edge node", named=True)
    _act(acts, "notifier", "reads alerts, to tell people of them", named=True)
    for role in _PEOPLE:
        act = _act(acts, role, "reads all; operators send commands and feedback", named=True)
        act.add_argument("--rights", choices=("viewer", "operator"), help="viewer for a new one")
    bridge = _act(acts, "bridge", "brings a plant's gateways to this broker", named=True)
    bridge.add_argument("--gateway", action="append", default=[], help="its id; repeatable")
    bridge.add_argument("--topic", action="append", default=[], help="samples too; repeatable")
    page = _act(acts, "page", "a certificate for the console's page (HTTPS)", named=True)
    page.add_argument(
        "--host", action="append", default=[], help="name or address of the page; repeatable"
    )
    _act(acts, "renew", "a new certificate under the same name; 'server' too", named=True)
    act = _act(acts, "revoke", "shut an identity out", named=True)
    act.add_argument("--superseded", action="store_true", help="all but its newest certificate")
    _act(acts, "status", "who there is, and what expires")


def run(args: argparse.Namespace) -> int:
    """Act and print what was done."""
    now = datetime.now(UTC).replace(microsecond=0)
    if args.act == "status":
        return _status(args.folder, now)
    try:
        lines = _lines(args, now)
    except OSError as error:
        raise ConfigError([f"{error.filename}: {error.strerror}"]) from error
    print(*lines, sep="\n")
    return 0


def _act(
    acts: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    does: str,
    *,
    named: bool = False,
) -> argparse.ArgumentParser:
    act = acts.add_parser(name, help=does, description=does)
    act.add_argument("folder", type=Path, metavar="DIR")
    if named:
        act.add_argument("name", metavar="ID")
    return act


def _lines(args: argparse.Namespace, now: datetime) -> list[str]:
    if args.act == "init":
        return provision_init.init(args.folder, hosts=args.host, port=args.port, now=now)
    if args.act == "renew":
        return provision.renew(args.folder, args.name, now=now)
    if args.act == "revoke":
        return provision.revoke(args.folder, args.name, superseded=args.superseded, now=now)
    return provision.admit(
        args.folder,
        args.name,
        role=args.act,
        now=now,
        rights=getattr(args, "rights", None) or "",
        topics=getattr(args, "topic", ()),
        gateways=getattr(args, "gateway", ()),
        hosts=getattr(args, "host", ()),
    )


def _status(folder: Path, now: datetime) -> int:
    lines = provision_status.lines(folder)
    width = max(len(line.name) for line in lines)
    for line in lines:
        until = "until " + line.not_after.date().isoformat() if line.not_after else "revoked"
        print(f"{line.name:{width}}  {until:16}  {line.what}")
    for line in lines:
        told = provision_status.warning(line, folder=folder, now=now)
        if told:
            print(f"warning: {told}")
    left = (line.left(now) for line in lines)
    expired = any(time is not None and time <= timedelta() for time in left)
    return ConfigError.exit_code if expired else 0
