"""The retained messages of the inbox, as the mirror that python-tuf reads from.

``404`` means "not among what has come so far": for a root that is the end of
the chain, for anything else a reason to wait.  The broker can hide a file
from us as any mirror can; expiry bounds for how long that goes unnoticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offbeat_edge.delivery.inbox import Inbox

METADATA_URL = "inbox:metadata/"
TARGETS_URL = "inbox:targets/"
NOT_FOUND = 404


class InboxFetcher(FetcherInterface):
    """Reads metadata by name and targets by the hash in front of theirs."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def _fetch(self, url: str) -> Iterator[bytes]:
        if url.startswith(TARGETS_URL):
            sha256 = url.rpartition("/")[2].partition(".")[0]
            return self._target(sha256, url)
        data = self._inbox.meta(url.removeprefix(METADATA_URL))
        if data is None:
            raise DownloadHTTPError(f"{url} has not come yet", NOT_FOUND)
        return iter([data])

    def _target(self, sha256: str, url: str) -> Iterator[bytes]:
        try:
            yield from self._inbox.target(sha256)
        except OSError as error:
            raise DownloadHTTPError(f"{url} has not come yet", NOT_FOUND) from error
