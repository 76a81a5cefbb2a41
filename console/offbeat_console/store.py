"""What lasts: alerts, what people did about them, and the numbers to draw.

Rules: SQLite in the state folder; one thread writes, in transactions that
the caller commits; alert events are kept once by ``id``.  The file is
bounded: the oldest numbers are thinned first, those around an alert last,
then they go; alerts that are over go only when nothing else is left.

>>> store = Store(":memory:", limit_bytes=1 << 24)
>>> store.recover()
[]
>>> store.close()
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from offbeat_console.board import Alert
from offbeat_console.trace import Points, join, pack, thin, unpack
from offbeat_console.wire import Feedback, Maintenance
from offbeat_edge.errors import StateRefused, StoreError
from offbeat_edge.schema import AlertEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
RAW_SHARE = 0.5  # of the limit, for numbers as they came
PINNED_SHARE = 0.25  # for numbers around alerts
THIN_BATCH = 256  # chunks thinned at one go
THIN_POINTS = 48  # of what they become, an asset
MAX_TOLD = 20_000  # feedback and maintenance kept
MAX_ACTIONS = 20_000
MAX_OUTBOX = 5000  # sent ones go first
BUSY_S = 10.0

T = TypeVar("T")


class Store:
    """The database.

    Parameters
    ----------
    path : file, or ":memory:".
    limit_bytes : of everything in it.
    """

    def __init__(self, path: Path | str, *, limit_bytes: int) -> None:
        self._path = str(path)
        self._limit = limit_bytes
        self._db = _open(self._path)
        self._sizes = {(0, 0): 0, (1, 0): 0, (0, 1): 0, (1, 1): 0}  # (level, pinned) → bytes
        for level, pinned, size in self._db.execute(
            "SELECT level, pinned, SUM(size) FROM chunk GROUP BY level, pinned"
        ):
            self._sizes[level, pinned] = size

    def close(self) -> None:
        """Keep everything and close."""
        self.commit()
        self._db.close()

    def commit(self) -> None:
        """Make what was written since the last time last."""
        with _mapped(self._path):
            self._db.commit()

    def reader(self) -> Reader:
        """Return a view of its own for another thread; of a file only."""
        return Reader(self._path)

    # ------------------------------------------------------------- alerts

    def alert(self, event: AlertEvent, alert: Alert) -> bool:
        """Keep an event once; return whether it was new."""
        body = msgspec.json.encode(event)
        cursor = self._run(
            "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?)",
            (event.id, event.alert, event.seq, event.time_ms, body),
        )
        if cursor.rowcount:
            self.alter(alert)
        return bool(cursor.rowcount)

    def alter(self, alert: Alert) -> None:
        """Keep an alert as it stands now."""
        event = alert.event
        calm = not alert.alarm.active and alert.alarm.acknowledged_ms is not None
        self._run(
            "INSERT OR REPLACE INTO alert VALUES (?, ?, ?, ?, ?, ?, ?)",
            (event.alert, event.gateway, event.asset, event.kind, event.start_ms, calm,
             msgspec.json.encode(alert)),
        )  # fmt: skip

    def recover(self, *, calm: int = 200) -> list[Alert]:
        """Return the alerts that need somebody and the last ``calm`` others, oldest first."""
        rows = self._run(
            "SELECT body FROM alert WHERE calm = 0 UNION ALL SELECT body FROM"
            " (SELECT body FROM alert WHERE calm = 1 ORDER BY start_ms DESC LIMIT ?)",
            (calm,),
        )
        found = [msgspec.json.decode(body, type=Alert) for (body,) in rows]
        return sorted(found, key=lambda alert: alert.event.start_ms)

    # ------------------------------------------------------------- last words

    def keep(self, what: str, name: str, body: object, *, now_ms: int) -> None:
        """Keep the last word on a thing; None forgets it."""
        if body is None:
            self._run("DELETE FROM kept WHERE what = ? AND name = ?", (what, name))
            return
        self._run(
            "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)",
            (what, name, now_ms, msgspec.json.encode(body)),
        )

    def kept(self, what: str, type_: type[T]) -> Iterator[tuple[str, int, T]]:
        """Give name, wall clock and body of every last word of a kind."""
        rows = self._run("SELECT name, heard_ms, body FROM kept WHERE what = ?", (what,))
        for name, heard_ms, body in rows.fetchall():
            yield name, heard_ms, msgspec.json.decode(body, type=type_)

    def tell(self, body: Feedback | Maintenance) -> None:
        """Keep feedback or maintenance, once by id; a later word on it replaces it."""
        if isinstance(body, Feedback):
            what, about = "feedback", body.alert
        else:
            what, about = "maintenance", body.id
        self._run(
            "INSERT INTO told VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET time_ms = excluded.time_ms, body = excluded.body"
            " WHERE excluded.time_ms >= told.time_ms",
            (body.id, what, body.asset, about, body.time_ms, msgspec.json.encode(body)),
        )

    def told(self, what: str, type_: type[T], *, limit: int = 1000) -> list[T]:
        """Return the newest words of a kind, oldest first."""
        rows = self._run(
            "SELECT body FROM told WHERE what = ? ORDER BY time_ms DESC LIMIT ?", (what, limit)
        )
        return [msgspec.json.decode(body, type=type_) for (body,) in rows.fetchall()][::-1]

    def act(self, *, now_ms: int, who: str, what: str, about: str) -> None:
        """Note who did what."""
        self._run("INSERT INTO action VALUES (?, ?, ?, ?)", (now_ms, who, what, about))

    # ------------------------------------------------------------- outbox

    def post(self, *, name: str, topic: str, payload: bytes, now_ms: int) -> None:
        """Keep something to publish until the broker has it."""
        self._run(
            "INSERT OR IGNORE INTO outbox VALUES (?, ?, ?, ?, NULL, NULL)",
            (name, topic, payload, now_ms),
        )

    def waiting(self) -> list[tuple[str, str, bytes]]:
        """Return id, topic and payload of what the broker does not have yet, oldest first."""
        rows = self._run(
            "SELECT id, topic, payload FROM outbox WHERE sent_ms IS NULL AND refused IS NULL"
            " ORDER BY made_ms"
        )
        return rows.fetchall()

    def posted(self, name: str, *, now_ms: int, refused: str | None) -> None:
        """Note what the broker said to it."""
        self._run(
            "UPDATE outbox SET sent_ms = ?, refused = ? WHERE id = ?",
            (None if refused else now_ms, refused, name),
        )

    # ------------------------------------------------------------- numbers

    def chunk(self, asset: str, what: str, points: Points, *, pinned: bool) -> None:
        """Keep points of an asset: ``what`` is "signal" or "score"."""
        self._chunk(asset, what, points, level=0, pinned=pinned)

    def newest_scores(self, gateway: str, asset: str) -> list[float]:
        """Return an asset's last scores, as many as a chunk holds."""
        row = self._run(
            "SELECT body FROM chunk WHERE asset = ? AND what = ? ORDER BY end_ms DESC LIMIT 1",
            (asset, f"score {gateway}"),
        ).fetchone()
        return unpack(row[0]).columns.get("", []) if row else []

    def pin(self, asset: str, from_ms: int) -> None:
        """Spare an asset's numbers since ``from_ms``."""
        where = "asset = ? AND end_ms >= ? AND pinned = 0"
        rows = self._run(f"SELECT level, size FROM chunk WHERE {where}", (asset, from_ms))  # noqa: S608
        for level, size in rows.fetchall():
            self._sizes[level, 0] -= size
            self._sizes[level, 1] += size
        self._run(f"UPDATE chunk SET pinned = 1 WHERE {where}", (asset, from_ms))  # noqa: S608

    def prune(self) -> None:
        """Come back below the limit, a batch at a time."""
        if self._sizes[0, 1] + self._sizes[1, 1] > PINNED_SHARE * self._limit:
            self._release()
        if self._sizes[0, 0] > RAW_SHARE * self._limit:
            self._thin()
        if self.size() > self._limit:
            self._drop()

    def size(self) -> int:
        """Return the bytes in use."""
        pages: int = self._run("PRAGMA page_count").fetchone()[0]
        free: int = self._run("PRAGMA freelist_count").fetchone()[0]
        page: int = self._run("PRAGMA page_size").fetchone()[0]
        return (pages - free) * page

    def _chunk(self, asset: str, what: str, points: Points, *, level: int, pinned: bool) -> None:
        body = pack(points)
        size = len(body) + 64  # of the row and its indexes, about
        self._sizes[level, int(pinned)] += size
        self._run(
            "INSERT INTO chunk VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
            (asset, what, points.times[0], points.times[-1], level, pinned, size, body),
        )

    def _release(self) -> None:
        """Let the oldest pinned chunks be like any other."""
        rows = self._oldest(pinned=1)
        self._move([(rowid, level, size) for rowid, _, _, level, size, _ in rows])

    def _move(self, rows: list[tuple[int, int, int]]) -> None:
        for rowid, level, size in rows:
            self._sizes[level, 1] -= size
            self._sizes[level, 0] += size
            self._run("UPDATE chunk SET pinned = 0 WHERE rowid = ?", (rowid,))

    def _thin(self) -> None:
        """Turn the oldest raw chunks into fewer points, one chunk an asset."""
        groups: dict[tuple[str, str], list[Points]] = {}
        for rowid, asset, what, level, size, body in self._oldest(pinned=0, level=0):
            groups.setdefault((asset, what), []).append(unpack(body))
            self._delete(rowid, level, 0, size)
        for (asset, what), parts in groups.items():
            self._chunk(asset, what, thin(join(parts), THIN_POINTS), level=1, pinned=False)

    def _drop(self) -> None:
        """Delete the oldest of what is least worth."""
        for level, pinned in ((1, 0), (0, 0), (1, 1), (0, 1)):
            if self._sizes[level, pinned]:
                for rowid, _, _, _, size, _ in self._oldest(pinned=pinned, level=level):
                    self._delete(rowid, level, pinned, size)
                return
        self._run(
            "DELETE FROM event WHERE alert IN (SELECT alert FROM alert WHERE calm = 1"
            " ORDER BY start_ms LIMIT 64)"
        )
        self._run(
            "DELETE FROM alert WHERE alert IN (SELECT alert FROM alert WHERE calm = 1"
            " ORDER BY start_ms LIMIT 64)"
        )

    def trim(self) -> None:
        """Bound what people wrote."""
        for table, key, most in (("told", "id", MAX_TOLD), ("action", "rowid", MAX_ACTIONS)):
            self._run(
                f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table}"  # noqa: S608
                " ORDER BY time_ms DESC LIMIT -1 OFFSET ?)",
                (most,),
            )
        self._run(
            "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox"
            " ORDER BY sent_ms IS NULL DESC, made_ms DESC LIMIT -1 OFFSET ?)",
            (MAX_OUTBOX,),
        )

    def _oldest(
        self, *, pinned: int, level: int | None = None
    ) -> list[tuple[int, str, str, int, int, bytes]]:
        rows = self._run(
            "SELECT rowid, asset, what, level, size, body FROM chunk"
            " WHERE pinned = ? AND level BETWEEN ? AND ? ORDER BY level, rowid LIMIT ?",
            (pinned, level or 0, 1 if level is None else level, THIN_BATCH),
        )
        return rows.fetchall()

    def _delete(self, rowid: int, level: int, pinned: int, size: int) -> None:
        self._sizes[level, pinned] -= size
        self._run("DELETE FROM chunk WHERE rowid = ?", (rowid,))

    def _run(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        with _mapped(self._path):
            return self._db.execute(statement, values)


class Reader:
    """Reads the store beside its writer.

    Parameters
    ----------
    path : the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._db = sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, timeout=BUSY_S, check_same_thread=False
        )

    def close(self) -> None:
        """Close."""
        self._db.close()

    def alert(self, alert: str) -> Alert | None:
        """Return one alert."""
        row = self._db.execute("SELECT body FROM alert WHERE alert = ?", (alert,)).fetchone()
        return msgspec.json.decode(row[0], type=Alert) if row else None

    def alerts(
        self, *, asset: str | None = None, before_ms: int | None = None, limit: int = 200
    ) -> list[Alert]:
        """Return alerts, newest first, of one asset or of all."""
        rows = self._db.execute(
            "SELECT body FROM alert WHERE (?1 IS NULL OR asset = ?1) AND start_ms < ?2"
            " ORDER BY start_ms DESC LIMIT ?3",
            (asset, before_ms if before_ms is not None else 1 << 62, limit),
        )
        return [msgspec.json.decode(body, type=Alert) for (body,) in rows]

    def events(self, alert: str) -> list[AlertEvent]:
        """Return an alert's events in order."""
        rows = self._db.execute("SELECT body FROM event WHERE alert = ? ORDER BY seq", (alert,))
        return [msgspec.json.decode(body, type=AlertEvent) for (body,) in rows]

    def points(self, asset: str, what: str, from_ms: int, to_ms: int) -> Points:
        """Return what is kept of an asset from ``from_ms`` to ``to_ms`` (event time)."""
        rows = self._db.execute(
            "SELECT body FROM chunk WHERE asset = ? AND what = ? AND end_ms >= ? AND start_ms <= ?"
            " ORDER BY level DESC, rowid",
            (asset, what, from_ms, to_ms),
        )
        joined = join([unpack(body) for (body,) in rows])
        inside = [n for n, time_ms in enumerate(joined.times) if from_ms <= time_ms <= to_ms]
        columns = {name: [c[n] for n in inside] for name, c in joined.columns.items()}
        return Points([joined.times[n] for n in inside], columns)

    def outgoing(self, name: str) -> str:
        """Return what became of something we said: "waiting", "sent", "refused: ..." or ""."""
        row = self._db.execute(
            "SELECT sent_ms, refused FROM outbox WHERE id = ?", (name,)
        ).fetchone()
        if row is None:
            return ""
        sent_ms, refused = row
        return f"refused: {refused}" if refused else "sent" if sent_ms else "waiting"

    def actions(self, about: str, *, limit: int = 50) -> list[tuple[int, str, str]]:
        """Return when, who and what, newest first."""
        return self._db.execute(
            "SELECT time_ms, who, what FROM action WHERE about = ? ORDER BY time_ms DESC LIMIT ?",
            (about, limit),
        ).fetchall()


class _mapped:  # noqa: N801 - a context manager that reads as a word
    """Maps SQLite's errors."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise StoreError for SQLite's own."""
        if isinstance(error, sqlite3.Error):
            raise StoreError(f"{self._path}: {error}") from error


def _open(path: str) -> sqlite3.Connection:
    with _mapped(path):
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        db = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            db.close()
            raise StateRefused(f"{path}: expected a store of version {VERSION}, got {version}")
        if version == 0:
            db.executescript((Path(__file__).parent / "schema.sql").read_text())
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.commit()
        return db
