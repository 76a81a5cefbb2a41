"""A repository's committed state, as retained messages at a broker.

Rules: targets first, metadata next, the timestamp last, then what is no
longer named is cleared; so at any moment a device finds a set that is whole
or one that it waits for.  Idempotent: the broker is asked which metadata it
holds, and a ledger beside the repository says which targets were sent there.
The ledger is written before the messages go, so nothing is ever forgotten at
the broker; when the broker has lost its metadata, the ledger counts for
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from offbeat_edge import files
from offbeat_edge.delivery import wire

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_train.delivery.repository import Repository

TIMESTAMP = "timestamp.json"


class Wire(Protocol):
    """What is needed of a broker."""

    def retained(self, filter_: str) -> dict[str, bytes]:
        """Return what the broker retains, by topic."""
        ...

    def retain(self, topic: str, payload: bytes) -> None:
        """Have the broker retain a message; an empty one clears the topic."""
        ...

    def settle(self) -> None:
        """Wait until the broker has all that was sent; raises LinkError."""
        ...


class Ledger(msgspec.Struct):
    """Targets that were sent to one broker: SHA-256 → chunks."""

    schema: str = "1.0"
    targets: dict[str, int] = {}
    whole: list[str] = []  # of them, those that were sent to the end


def push(repository: Repository, wire_: Wire, *, ledger: Path) -> int:
    """Bring the broker to the committed state; return the messages sent.

    Parameters
    ----------
    repository : its committed state is what devices shall see.
    wire_ : the broker.
    ledger : this broker's file.
    """
    held = {t: data for t, data in wire_.retained(wire.META_FILTER).items() if data}
    sent, targets = _read(ledger), repository.target_files()
    whole = sent.whole if wire.meta_topic(TIMESTAMP) in held else []
    counts = {sha: wire.chunk_count(path.stat().st_size) for sha, path in targets.items()}
    _write(ledger, Ledger(targets=sent.targets | counts, whole=list(whole)))
    messages = sum(_send_target(wire_, sha, targets[sha]) for sha in targets.keys() - set(whole))
    wire_.settle()
    messages += _send_metadata(repository, wire_, held)
    gone = {sha: count for sha, count in sent.targets.items() if sha not in targets}
    chunks = [wire.chunk_topic(sha, n) for sha, count in gone.items() for n in range(count)]
    messages += _clear(wire_, chunks)
    _write(ledger, Ledger(targets=counts, whole=list(counts)))
    return messages


def _send_metadata(repository: Repository, wire_: Wire, held: dict[str, bytes]) -> int:
    """Send what differs, the timestamp last; then clear what is no longer named."""
    metas = {wire.meta_topic(n): (repository.metadata / n).read_bytes() for n in repository.files()}
    changed = {topic: data for topic, data in metas.items() if held.get(topic) != data}
    for topic, data in changed.items():
        wire_.retain(topic, data)
        wire_.settle()
    return len(changed) + _clear(wire_, sorted(held.keys() - metas.keys()))


def _send_target(wire_: Wire, sha256: str, path: Path) -> int:
    parts = wire.chunks(path.read_bytes())
    for number, part in enumerate(parts):
        wire_.retain(wire.chunk_topic(sha256, number), part)
    return len(parts)


def _clear(wire_: Wire, topics: list[str]) -> int:
    for topic in topics:
        wire_.retain(topic, b"")
    wire_.settle()
    return len(topics)


def _read(path: Path) -> Ledger:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ledger)
    except (OSError, msgspec.MsgspecError):
        return Ledger()


def _write(path: Path, ledger: Ledger) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, msgspec.json.encode(ledger))
