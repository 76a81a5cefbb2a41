"""Assets change their shard: the old owners drain, the new ones take over.

Rules: no daemon of this gateway runs meanwhile (their databases are locked);
every step can be done again, so a run that was cut off is begun anew.  In
order: the new shards' sessions subscribe, so that the broker keeps what
comes from now on; the old ones let go of their subscriptions, take what the
broker still has for them and publish what waits; their states are split by
asset.  What came to both is the same sample twice, which changes nothing.
"""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import dial, files
from offbeat_edge.errors import ConfigError, LinkError, StoreError
from offbeat_edge.shards import register as registers
from offbeat_edge.shards.finder import places
from offbeat_edge.shards.split import assets, split
from offbeat_edge.shards.worker import Shard, all_of, config_of, shared
from offbeat_edge.store import FILE, Store
from offbeat_edge.voice import Topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_edge.config import Config
    from offbeat_edge.link import Link, Token
    from offbeat_edge.log import Log
    from offbeat_edge.shards.register import Register

    Drain = Callable[[Shard | None], None]

FOLDER = re.compile(r"shard-(\d+)-of-(\d+)")
RETIRED = "retired"  # where old states are kept
DONE = "handed-over"  # all states are split, the old ones can go
OUTBOX_BYTES = 1 << 40  # no bound: nothing is put there
ANSWER_S = 30.0  # for the broker to answer
POLL_S = 0.1


def old_shards(folder: Path, to: int) -> list[Shard | None]:
    """Return whose states lie in ``folder``, None for a daemon without shards.

    Raises
    ------
    ConfigError : there is nothing to hand over.
    """
    found = [FOLDER.fullmatch(path.name) for path in sorted(folder.glob("shard-*-of-*"))]
    shards: list[Shard | None] = [
        Shard(int(m[1]), int(m[2])) for m in found if m is not None and int(m[2]) != to
    ]
    if (folder / FILE).exists():
        shards.append(None)
    if not shards:
        raise ConfigError([f"{folder}: expected the state of another number of shards than {to}"])
    return shards


def hand_over(config: Config, *, to: int, drain: Drain, log: Log) -> int:
    """Give all assets to ``to`` shards; return how many there are.

    Parameters
    ----------
    drain : runs an old daemon until the broker has nothing left for it.

    Raises
    ------
    StoreError : a daemon still runs, or the disk refuses.
    LinkError : the broker does not answer.
    """
    folder = Path(config.gateway.state_dir)
    old = old_shards(folder, to)
    done = folder / DONE
    if not (done.exists() and done.read_text() == str(to)):
        _subscribe(config, _register(config, folder, old), to, log)
        for shard in old:
            drain(shard)
            _clear(config, shard, log)
        # assets that only the broker still knew of
        _subscribe(config, _register(config, folder, old), to, log)
        _split(folder, old, to)
        files.replace(done, str(to).encode())
    for shard in old:
        _retire(folder, shard)
    done.unlink()
    return len(registers.load(folder).assets)


def place(folder: Path, shard: Shard | None) -> Path:
    """Return where a daemon's database is."""
    return folder / FILE if shard is None else folder / shard.folder / FILE


def _register(config: Config, folder: Path, old: list[Shard | None]) -> Register:
    """Return the known assets' topics, completed by those that only a state tells of."""
    register = registers.load(folder)
    known = {name for shard in old for name in assets(_snapshot(folder, shard))}
    for name, found in places(config, known - register.assets):
        register.add(name, found)
    registers.save(folder, register)
    return register


def _snapshot(folder: Path, shard: Shard | None) -> bytes:
    """Return a daemon's last snapshot; a clean stop leaves one that holds everything."""
    path = place(folder, shard)
    store = Store(path=path, outbox_limit_bytes=OUTBOX_BYTES)
    try:
        store.open()
        return store.snapshot() or b"\x80"  # an empty map
    finally:
        store.close()


def _split(folder: Path, old: list[Shard | None], to: int) -> None:
    parts = split([_snapshot(folder, shard) for shard in old], to)
    for shard, part in zip(all_of(to), parts, strict=True):
        _write(folder / shard.folder / FILE, part)


def _subscribe(config: Config, register: Register, to: int, log: Log) -> None:
    """Let the broker keep for the new shards what comes from now on."""
    for shard in all_of(to):
        own = config_of(config, shard)
        link = _link(own, dict(shared(own)) or register.part(shard.number, to), log)
        _until(link, lambda: link.ready)  # noqa: B023 - used before the next link is made
        link.close(b"")


def _clear(config: Config, shard: Shard | None, log: Log) -> None:
    """Take back what an old daemon had retained."""
    own = config if shard is None else config_of(config, shard)
    names = assets(_snapshot(Path(config.gateway.state_dir), shard))
    topics = Topics(own.gateway.id)
    waiting = [topics.status, topics.health, *map(topics.state, names)]
    link = _link(own, {}, log)
    _until(link, lambda: link.ready)
    flying: set[Token | None] = set()

    def cleared() -> bool:
        flying.difference_update(link.delivered())
        while waiting and link.room:
            flying.add(link.publish(waiting.pop(), b"", qos=1, retain=True))
        return not (waiting or flying)

    _until(link, cleared)
    link.close(b"")


def _link(config: Config, wanted: dict[str, int], log: Log) -> Link:
    return dial.link(
        config.mqtt,
        filters=wanted.items(),
        status_topic=None,
        max_payload_bytes=config.limits.max_payload_bytes,
        log=log,
        state=Path(config.gateway.state_dir),
    )


def _until(link: Link, done: Callable[[], bool]) -> None:
    """Drive a link; what arrives is left unacknowledged and comes again."""
    deadline = time.monotonic() + ANSWER_S
    while not done():
        if time.monotonic() > deadline:
            raise LinkError(f"expected an answer within {ANSWER_S:.0f} s, got {link.problems}")
        link.poll(POLL_S)


def _write(path: Path, snapshot: bytes) -> None:
    """Make a shard's database of a snapshot."""
    path.unlink(missing_ok=True)
    store = Store(path=path, outbox_limit_bytes=OUTBOX_BYTES)
    try:
        store.open()
        store.commit(snapshot=snapshot)
    finally:
        store.close()


def _retire(folder: Path, shard: Shard | None) -> None:
    """Put an old state aside; an older one in its place goes."""
    path = folder / (FILE if shard is None else shard.folder)
    target = folder / RETIRED / path.name
    try:
        target.parent.mkdir(exist_ok=True)
        if target.is_dir():
            shutil.rmtree(target)
        path.rename(target)
    except OSError as error:
        raise StoreError(f"{path}: cannot be put aside: {error}") from error
