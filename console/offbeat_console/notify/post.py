"""The way to people: Apprise, which knows mail, chats and webhooks by URL.

Rules: the only module that knows Apprise; a URL is a secret and never logged,
a target goes by a digest of it and is shown by its scheme and host.

>>> post = Post(["json://localhost:9"])
>>> list(post.targets.values())
['json://localhost']
"""

from __future__ import annotations

import hashlib
import logging
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import apprise

from offbeat_edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offbeat_edge.schema import Severity

MAX_URLS_BYTES = 64 * 1024
DIGEST_CHARS = 16


class Post:
    """All targets.

    Raises
    ------
    ConfigError : a URL that Apprise does not know, by its place.
    """

    def __init__(self, urls: Iterable[str]) -> None:
        logging.getLogger("apprise").addHandler(logging.NullHandler())  # it would name the URL
        logging.getLogger("apprise").propagate = False
        self._ways: dict[str, apprise.Apprise] = {}
        self.targets: dict[str, str] = {}  # digest → what may be shown of it
        wrong = []
        for place, url in enumerate(urls, 1):
            way, key = apprise.Apprise(), hashlib.sha256(url.encode()).hexdigest()[:DIGEST_CHARS]
            if not way.add(url):
                wrong.append(f"notify.urls_file: URL {place}: expected one that Apprise knows")
            self._ways[key], self.targets[key] = way, _shown(url)
        if wrong:
            raise ConfigError(wrong)

    def send(self, target: str, *, title: str, body: str, severity: Severity) -> bool:
        """Send one message; False when it was not taken."""
        kinds = {"warning": apprise.NotifyType.WARNING, "critical": apprise.NotifyType.FAILURE}
        done = self._ways[target].notify(
            body=body, title=title, notify_type=kinds[severity], body_format="text"
        )
        return bool(done)


def urls_of(path: str) -> list[str]:
    """Read a file of URLs, one a line, ``#`` before a comment.

    Raises
    ------
    ConfigError : it is not there, empty, or others may read it.
    """
    try:
        with Path(path).open("rb") as file:
            mode, raw = stat.S_IMODE(Path(path).stat().st_mode), file.read(MAX_URLS_BYTES)
        lines = [line.strip() for line in raw.decode().splitlines()]
    except (OSError, ValueError) as error:
        raise ConfigError([f"notify.urls_file: expected a readable text, got: {error}"]) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            [f"notify.urls_file: expected mode 600, got {mode:03o}: URLs are secrets"]
        )
    urls = [line for line in lines if line and not line.startswith("#")]
    if not urls:
        raise ConfigError([f"notify.urls_file: expected one URL at least in {path}, got none"])
    return list(dict.fromkeys(urls))


def _shown(url: str) -> str:
    """Return what may be shown of a URL: how, and of the address the host alone.

    >>> _shown("mailtos://ann:secret@mail.plant?to=a@b.c"), _shown("tgram://123:secret/456")
    ('mailtos://mail.plant', 'tgram://')
    """
    parts = urlsplit(url)
    try:
        host = parts.hostname or ""
    except ValueError:
        host = ""
    local = parts.scheme.rstrip("s") in ("json", "xml", "form", "mailto")
    return f"{parts.scheme}://{host if local else ''}"
