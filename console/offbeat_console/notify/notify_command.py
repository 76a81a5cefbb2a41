"""Tell people of alerts: by mail, chat or webhook, through Apprise.

Runs off the device, beside the broker or anywhere with it in reach.  Needs a
TOML file with [notify] and [mqtt], and a file of Apprise URLs.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_console.notify import settings as configs
from offbeat_console.notify.ledger import Ledger
from offbeat_console.notify.letters import Rule
from offbeat_console.notify.notifier import FILTERS, Notifier
from offbeat_console.notify.post import Post, urls_of
from offbeat_edge import dial

if TYPE_CHECKING:
    import argparse

    from offbeat_console.notify.settings import Settings
    from offbeat_edge.log import Log

MAX_PAYLOAD_BYTES = 1 << 20
FILE = "notify.db"
NOT_ALL = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--config", type=Path, required=True, help="the notifier's TOML file")
    parser.add_argument("--test", action="store_true", help="send a test message to all, and end")


def run(args: argparse.Namespace) -> int:
    """Notify until a signal; return the exit code."""
    settings = configs.load(args.config, os.environ)
    post = Post(urls_of(settings.notify.urls_file))
    if args.test:
        return _test(post)
    notifier = build(settings, post, dial.log(settings.log))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: notifier.stop())
    return notifier.run()


def build(settings: Settings, post: Post, log: Log) -> Notifier:
    """Make a notifier of a configuration; nothing is connected yet."""
    notify = settings.notify
    folder = Path(notify.state_dir)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Notifier(
        link=dial.link(
            settings.mqtt,
            filters=FILTERS,
            status_topic=f"offbeat/{configs.PREFIX}{notify.id}/status",
            max_payload_bytes=MAX_PAYLOAD_BYTES,
            log=log,
            state=folder,
        ),
        ledger=Ledger(folder / FILE),
        post=post,
        rule=Rule(assets=notify.assets, least=notify.min_severity, ends=notify.ends),
        per_hour=notify.per_hour,
        log=log,
    )


def _test(post: Post) -> int:
    took = []
    for target, shown in post.targets.items():
        body = "This is a test: alerts will come this way."
        took.append(post.send(target, title="offbeat", body=body, severity="warning"))
        print(f"{'sent    ' if took[-1] else 'not sent'}  {shown}")
    return 0 if all(took) else NOT_ALL
