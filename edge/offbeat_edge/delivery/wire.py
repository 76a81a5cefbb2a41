"""How a TUF repository travels as retained MQTT messages.

Rules: a metadata file is one message, a target is cut into chunks named by
its SHA-256 and their number; an empty message says that there is no longer
one.  Sizes are bounds, not hints: what is larger is not taken.

>>> meta_topic("timestamp.json"), chunk_topic("ab" * 32, 3)[-5:]
('offbeat/fleet/tuf/meta/timestamp.json', 'bab/3')
>>> [len(part) for part in chunks(b"x" * (CHUNK_BYTES + 1))]
[98304, 1]
"""

from __future__ import annotations

import re
from typing import NamedTuple

ROOT = "offbeat/fleet/tuf"
META_FILTER = f"{ROOT}/meta/+"
CHUNK_BYTES = 96 << 10  # of a target in one message; some cloud brokers take 128 KiB at most
META_MAX = 512 << 10  # bytes of a metadata file; Mosquitto is told to take 1 MiB
TARGET_MAX = 64 << 20  # bytes of a target: a bundle is not larger
MAX_META_FILES = 600  # kept on a device: the roots and three more
MAX_ROOTS = 256  # root versions a device walks through at once

_META = re.compile(r"(?:[1-9][0-9]{0,9}\.)?[a-z][a-z0-9-]{0,63}\.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Chunk(NamedTuple):
    """Which part of which target."""

    sha256: str
    number: int


def meta_topic(name: str) -> str:
    """Return where a metadata file is retained."""
    return f"{ROOT}/meta/{name}"


def chunk_topic(sha256: str, number: int) -> str:
    """Return where a target's chunk is retained."""
    return f"{ROOT}/target/{sha256}/{number}"


def meta_name(topic: str) -> str | None:
    """Return the metadata file that a topic carries; None when it carries none.

    >>> meta_name("offbeat/fleet/tuf/meta/3.root.json")
    '3.root.json'
    >>> meta_name("offbeat/fleet/tuf/meta/..") is None
    True
    """
    head, _, name = topic.rpartition("/")
    return name if head == f"{ROOT}/meta" and _META.fullmatch(name) else None


def chunk_of(topic: str) -> Chunk | None:
    """Return the chunk that a topic carries; None when it carries none."""
    head, _, rest = topic.partition(f"{ROOT}/target/")
    sha256, _, number = rest.partition("/")
    if head or not _SHA256.fullmatch(sha256) or not re.fullmatch(r"0|[1-9][0-9]{0,3}", number):
        return None
    return Chunk(sha256, int(number))


def chunk_count(length: int) -> int:
    """Return into how many chunks a target of ``length`` bytes is cut; one at least."""
    return max(1, -(-length // CHUNK_BYTES))


def chunks(data: bytes) -> list[bytes]:
    """Cut a target."""
    return [data[n * CHUNK_BYTES : (n + 1) * CHUNK_BYTES] for n in range(chunk_count(len(data)))]
