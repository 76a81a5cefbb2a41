"""The state database: engine snapshot, journal, outbox and control log in one SQLite file.

Rules: one ``commit`` is one transaction with ``synchronous=FULL``: when it
returns, what it holds survives a power cut, and only then may messages be
acknowledged.  The journal holds what came since the snapshot; a snapshot
empties it.  The control log is kept beyond that, for people and for replay,
within ``CONTROL_DAYS`` and ``MAX_CONTROLS``.  The outbox holds what must still
reach the broker and is bounded in bytes: diagnostics go first, scores next,
alerts last.  A damaged database is moved aside and kept, never read on and
never deleted silently.  SQLite's errors leave this module as StoreError.

>>> store = Store(path=":memory:", outbox_limit_bytes=1 << 20)
>>> store.open().fresh
True
>>> store.commit(journal=b"...", outgoing=[Outgoing("a/alert", b"{}")])
>>> [row.topic for row in store.pending(after=0, limit=10)]
['a/alert']
"""

from __future__ import annotations

import sqlite3
import time
import zlib
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from offbeat_edge.errors import StateRefused, StoreError
from offbeat_edge.journal import inflate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

FILE = "state.db"  # in a state folder
PAGE_BYTES = 1024  # small pages: a commit writes whole pages, twice
WAL_PAGES = 4000  # checkpoint the write-ahead log at 4 MB
MAX_ASIDE = 3  # damaged databases kept; older ones make room
READ_ROWS = 64  # journal rows in memory at a time while recovering
CONTROL_DAYS = 90  # the control log keeps what is younger ...
MIN_CONTROLS = 1000  # ... and these however old they seem: a clock may be set ...
MAX_CONTROLS = 10_000  # ... and never more than this
DAY_MS = 86_400_000


class Rank(IntEnum):
    """What goes first when the outbox is full: the highest."""

    ALERT = 0
    SCORE = 1
    DIAGNOSTIC = 2


class Outgoing(NamedTuple):
    """A message for the broker that must survive a crash."""

    topic: str
    payload: bytes
    rank: Rank = Rank.ALERT


class Row(NamedTuple):
    """An outbox row; ids rise in the order of commits."""

    id: int
    topic: str
    payload: bytes


class ControlRow(NamedTuple):
    """A control as it is kept: when it came by our clock, and the line of the log."""

    received_ms: int
    body: bytes


class OutboxSize(NamedTuple):
    """How much waits, and how much had to go since the daemon started."""

    rows: int
    bytes: int
    oldest_ms: int | None  # wall clock at its commit
    dropped: dict[str, int]  # by rank


class Opened(NamedTuple):
    """What ``open`` found."""

    fresh: bool  # no state from before
    damaged: str | None  # why a database was put aside
    aside: Path | None  # where it lies now


# One script for each version; index i takes version i to i + 1.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), state BLOB NOT NULL);
    CREATE TABLE journal (id INTEGER PRIMARY KEY, entry BLOB NOT NULL);
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        rank INTEGER NOT NULL,
        committed_ms INTEGER NOT NULL,
        topic TEXT NOT NULL,
        payload BLOB NOT NULL
    );
    """,
    """
    CREATE TABLE control (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        received_ms INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    CREATE INDEX control_received ON control (received_ms);
    """,
    "CREATE TABLE proof (id INTEGER PRIMARY KEY CHECK (id = 1), token BLOB NOT NULL);",
    "/* no table changed, but snapshots hold what an earlier program would lose: adaptation */",
)
ROW_OVERHEAD = 64  # bytes counted for an outbox row beside topic and payload
_SIZE = f"length(CAST(topic AS BLOB)) + length(payload) + {ROW_OVERHEAD}"


class Store:
    """One state database, one process.

    Parameters
    ----------
    path : file; its folder is made when missing.  ":memory:" for trials.
    outbox_limit_bytes : payloads and topics kept for the broker, at most.
    wall_ms : the wall clock, ms.
    """

    def __init__(
        self,
        *,
        path: str | Path,
        outbox_limit_bytes: int,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.path = Path(path)
        self.journal_bytes = 0  # since the last snapshot
        self.snapshot_bytes = 0
        self._limit = outbox_limit_bytes
        self._wall_ms = wall_ms
        self._db: sqlite3.Connection | None = None
        self._outbox = (0, 0)  # rows, bytes
        self._dropped = dict.fromkeys((rank.name.lower() for rank in Rank), 0)

    def open(self) -> Opened:
        """Open, check and migrate; raises StoreError when the disk refuses.

        A damaged database is moved aside and replaced by an empty one.
        """
        try:
            return self._open(None, None)
        except _DamagedError as error:
            return self.replace_damaged(str(error))

    def replace_damaged(self, why: str) -> Opened:
        """Put the database aside and start an empty one; raises StoreError."""
        self.close()
        aside = self._put_aside()
        return self._open(why, aside)

    def close(self) -> None:
        """Close the file; everything committed is on disk already."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def snapshot(self) -> bytes | None:
        """Return the last snapshot; raises StoreError when it is damaged."""
        row = self._one("SELECT state FROM snapshot")
        return None if row is None else inflate(row[0])

    def journal(self) -> Iterator[bytes]:
        """Yield the entries since the snapshot, oldest first."""
        last = -1
        while True:
            rows = self._all(
                "SELECT id, entry FROM journal WHERE id > ? ORDER BY id LIMIT ?", last, READ_ROWS
            )
            yield from (entry for _, entry in rows)
            if not rows:
                return
            last = rows[-1][0]

    def commit(
        self,
        *,
        journal: bytes = b"",
        snapshot: bytes | None = None,
        outgoing: Iterable[Outgoing] = (),
        delivered: Iterable[int] = (),
        controls: Iterable[ControlRow] = (),
        proof: bytes | None = None,
    ) -> None:
        """Write all of it or nothing, and sync; raises StoreError.

        A snapshot must already hold the effect of every sample so far: the
        journal is emptied and ``journal`` is not written.
        """
        rows = list(outgoing)
        state = None if snapshot is None else zlib.compress(snapshot, 1)
        db = self._connection()
        try:
            db.execute("BEGIN IMMEDIATE")
            self._write_engine(db, journal, state)
            _write_controls(db, list(controls))
            outbox, dropped = self._write_outbox(db, rows, list(delivered))
            if proof is not None:
                db.execute("INSERT OR REPLACE INTO proof VALUES (1, ?)", (proof,))
            db.execute("COMMIT")
        except sqlite3.Error as error:
            _rollback(db)
            raise self._failed("commit", error) from error
        self._outbox = outbox
        for rank in dropped:
            self._dropped[rank.name.lower()] += 1
        if state is None:
            self.journal_bytes += len(journal)
        else:
            self.journal_bytes, self.snapshot_bytes = 0, len(state)

    def proof(self) -> bytes | None:
        """Return the token of the last proof of work."""
        row = self._one("SELECT token FROM proof")
        return None if row is None else bytes(row[0])

    def pending(self, *, after: int, limit: int) -> list[Row]:
        """Return up to ``limit`` outbox rows with an id above ``after``, oldest first."""
        rows = self._all(
            "SELECT id, topic, payload FROM outbox WHERE id > ? ORDER BY id LIMIT ?", after, limit
        )
        return [Row(*row) for row in rows]

    def controls(self) -> Iterator[ControlRow]:
        """Yield the control log, oldest first."""
        for row in self._all("SELECT received_ms, body FROM control ORDER BY id"):
            yield ControlRow(*row)

    @property
    def waiting(self) -> int:
        """How many outbox rows there are."""
        return self._outbox[0]

    def newest(self) -> int:
        """Return the highest outbox id, 0 when nothing waits."""
        row = self._one("SELECT max(id) FROM outbox")
        return 0 if row is None or row[0] is None else int(row[0])

    def outbox_size(self) -> OutboxSize:
        """Return how much waits for the broker."""
        row = self._one("SELECT committed_ms FROM outbox ORDER BY id LIMIT 1")
        return OutboxSize(*self._outbox, None if row is None else row[0], dict(self._dropped))

    def _open(self, damaged: str | None, aside: Path | None) -> Opened:
        self.close()
        try:
            self._db = self._connect()
            fresh = self._migrate(self._db)
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                raise _DamagedError(str(error)) from error
            if "locked" in str(error):
                why = f"{self.path}: expected to be the only daemon with this state, got: {error}"
                raise StateRefused(why) from error
            raise self._failed("open", error) from error
        except OSError as error:
            raise self._failed("open", error) from error
        self._outbox = self._all(f"SELECT count(*), coalesce(sum({_SIZE}), 0) FROM outbox")[0]  # noqa: S608 - constants only
        self.journal_bytes = self._all("SELECT coalesce(sum(length(entry)), 0) FROM journal")[0][0]
        return Opened(fresh, damaged, aside)

    def _connect(self) -> sqlite3.Connection:
        if str(self.path) != ":memory:":
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        db = sqlite3.connect(self.path, isolation_level=None, timeout=1.0)
        self._db = db  # from here on close() closes it
        # exclusive: a second daemon on the same state is refused, and no
        # shared-memory file is needed
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise _DamagedError(verdict)
        return db

    def _migrate(self, db: sqlite3.Connection) -> bool:
        """Bring the tables to the present version; return whether they are new."""
        found = int(db.execute("PRAGMA user_version").fetchone()[0])
        if found > len(MIGRATIONS):
            raise StateRefused(
                f"{self.path}: expected a state of version {len(MIGRATIONS)} at most, got {found}; "
                "it was written by a newer offbeat"
            )
        for version in range(found, len(MIGRATIONS)):
            step = f"{MIGRATIONS[version]} PRAGMA user_version = {version + 1};"
            db.executescript(f"BEGIN IMMEDIATE; {step} COMMIT;")
        return found == 0

    def _put_aside(self) -> Path:
        """Rename the damaged files; keep the newest MAX_ASIDE of them."""
        suffix = f".damaged-{self._wall_ms()}"
        try:
            for part in ("", "-wal", "-shm"):
                source = self.path.with_name(self.path.name + part)
                if source.exists():
                    source.rename(source.with_name(source.name + suffix))
            old = sorted(self.path.parent.glob(f"{self.path.name}.damaged-*"))[:-MAX_ASIDE]
            for path in old:
                stamp = path.name.removeprefix(self.path.name)
                path.unlink()
                self.path.with_name(f"{self.path.name}-wal{stamp}").unlink(missing_ok=True)
        except OSError as error:
            raise self._failed("put aside", error) from error
        return self.path.with_name(self.path.name + suffix)

    def _write_engine(self, db: sqlite3.Connection, journal: bytes, state: bytes | None) -> None:
        if state is not None:
            db.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?)", (state,))
            db.execute("DELETE FROM journal")
        elif journal:
            db.execute("INSERT INTO journal (entry) VALUES (?)", (journal,))

    def _write_outbox(
        self, db: sqlite3.Connection, rows: list[Outgoing], delivered: list[int]
    ) -> tuple[tuple[int, int], list[Rank]]:
        """Return the outbox's new (rows, bytes) and the ranks that had to go."""
        count, size = self._outbox
        for number in delivered:
            removed = db.execute(f"DELETE FROM outbox WHERE id = ? RETURNING {_SIZE}", (number,))  # noqa: S608 - constants only
            for (weight,) in removed.fetchall():
                count, size = count - 1, size - weight
        now = self._wall_ms()
        for row in rows:
            db.execute(
                "INSERT INTO outbox (rank, committed_ms, topic, payload) VALUES (?, ?, ?, ?)",
                (row.rank, now, row.topic, row.payload),
            )
            count += 1
            size += len(row.topic.encode()) + len(row.payload) + ROW_OVERHEAD
        doomed = self._excess(db, size)
        db.executemany("DELETE FROM outbox WHERE id = ?", [(row,) for row, _, _ in doomed])
        size -= sum(weight for _, _, weight in doomed)
        return (count - len(doomed), size), [Rank(rank) for _, rank, _ in doomed]

    def _excess(self, db: sqlite3.Connection, size: int) -> list[tuple[int, int, int]]:
        """Return (id, rank, bytes) of the least important, oldest rows beyond the limit."""
        doomed: list[tuple[int, int, int]] = []
        order = f"SELECT id, rank, {_SIZE} FROM outbox ORDER BY rank DESC, id"  # noqa: S608 - constants only
        rows = iter(db.execute(order)) if size > self._limit else iter(())
        while size > self._limit and (row := next(rows, None)):
            doomed.append(row)
            size -= row[2]
        return doomed

    def _one(self, query: str) -> tuple[Any, ...] | None:
        rows = self._all(query)
        return rows[0] if rows else None

    def _all(self, query: str, *values: int) -> list[tuple[Any, ...]]:
        try:
            return self._connection().execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed("read", error) from error

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError(f"{self.path}: expected an open state database, got a closed one")
        return self._db

    def _failed(self, what: str, error: Exception) -> StoreError:
        return StoreError(f"{self.path}: {what} failed: {error}")


def _write_controls(db: sqlite3.Connection, rows: list[ControlRow]) -> None:
    """Append to the control log, and let go what is old."""
    if not rows:
        return
    db.executemany("INSERT INTO control (received_ms, body) VALUES (?, ?)", rows)
    (newest,) = db.execute("SELECT max(id) FROM control").fetchone()
    old_ms = rows[-1].received_ms - CONTROL_DAYS * DAY_MS
    db.execute(
        "DELETE FROM control WHERE id <= ? AND received_ms < ?", (newest - MIN_CONTROLS, old_ms)
    )
    db.execute("DELETE FROM control WHERE id <= ?", (newest - MAX_CONTROLS,))


class _DamagedError(Exception):
    """SQLite found the file damaged."""


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return False
    damaged = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    header = "unsupported file format" in str(error)  # comes with a general code
    return header or code & 0xFF in damaged or code == sqlite3.SQLITE_IOERR_SHORT_READ


def _rollback(db: sqlite3.Connection) -> None:
    """Leave no transaction open; SQLite may have rolled back by itself."""
    if db.in_transaction:
        db.rollback()
