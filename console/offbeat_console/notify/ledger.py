"""What is to be sent, to whom, and what people were told already; on disk.

Rules: a letter is taken once for each stage of an alert, however often its
event comes; it stays until its target has it or it is too old to matter.
Targets are known by a digest: their addresses hold secrets.  Times are wall
clock seconds and passed in.

>>> ledger = Ledger(":memory:")
>>> once = Letter("a1", "begin", "warning", "p1: anomaly", "far off")
>>> ledger.take(once, ["mail"], now_s=0.0), ledger.take(once, ["mail"], now_s=1.0)
(True, False)
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from offbeat_console.notify.letters import Letter
from offbeat_edge.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

KEEP_S = 90 * 86_400.0  # what was told is remembered: no alert comes again after that
GIVE_UP_S = 86_400.0  # a letter that old is no news
RETRY_S, RETRY_CAP_S = 10.0, 1800.0
HOUR_S = 3600.0
BATCH = 500  # letters of one message

SCHEMA = """
create table if not exists told (
    alert text, stage text, at real, primary key (alert, stage)) without rowid;
create table if not exists letters (
    id integer primary key, target text, alert text, stage text, severity text, title text,
    body text, made real, due real, tries integer);
create table if not exists sent (target text, at real);
"""


class Waiting(NamedTuple):
    """A letter on its way to one target."""

    id: int
    letter: Letter
    tries: int


class Ledger:
    """One file.

    Raises
    ------
    StoreError : from everything, when the disk refuses.
    """

    def __init__(self, path: Path | str) -> None:
        try:
            self._db = sqlite3.connect(path)
            self._db.execute("pragma synchronous=full")
            self._db.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error
        self._path = path

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def commit(self) -> None:
        """Make all that was taken durable."""
        try:
            self._db.commit()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def take(self, letter: Letter, targets: Iterable[str], *, now_s: float) -> bool:
        """Note a letter for each target; False when it was taken before, or nobody waits for it."""
        if letter.stage == "end" and not self._was_told(letter.alert, "begin"):
            return False
        if self._was_told(letter.alert, letter.stage):
            return False
        self._do("insert into told values (?, ?, ?)", (letter.alert, letter.stage, now_s))
        for target in targets:
            self._do(
                "insert into letters values (null, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                (target, *letter, now_s, now_s),
            )
        return True

    def due(self, target: str, *, now_s: float) -> list[Waiting]:
        """Return what a target should get now, oldest first."""
        rows = self._do(
            "select id, alert, stage, severity, title, body, tries from letters"
            " where target = ? and due <= ? order by id limit ?",
            (target, now_s, BATCH),
        )
        return [Waiting(row[0], Letter(*row[1:6]), row[6]) for row in rows]

    def sent(self, target: str, *, now_s: float) -> int:
        """Return how many messages a target was sent within the last hour."""
        rows = self._do(
            "select count(*) from sent where target = ? and at > ?", (target, now_s - HOUR_S)
        )
        return int(rows[0][0])

    def settle(
        self, target: str, letters: Sequence[Waiting], *, took: bool, now_s: float
    ) -> list[Letter]:
        """Note how a message went; return the letters that are given up."""
        self._do("insert into sent values (?, ?)", (target, now_s))
        for waiting in letters:
            if took:
                self._do("delete from letters where id = ?", (waiting.id,))
            else:
                wait = min(RETRY_S * 2**waiting.tries, RETRY_CAP_S)
                self._do(
                    "update letters set due = ?, tries = tries + 1 where id = ?",
                    (now_s + wait, waiting.id),
                )
        self.commit()
        return self.tidy(now_s=now_s)

    def tidy(self, *, now_s: float) -> list[Letter]:
        """Forget what is past; return the letters that are given up."""
        old = self._do(
            "delete from letters where made < ? returning alert, stage, severity, title, body",
            (now_s - GIVE_UP_S,),
        )
        self._do("delete from sent where at < ?", (now_s - HOUR_S,))
        self._do("delete from told where at < ?", (now_s - KEEP_S,))
        self.commit()
        return [Letter(*row) for row in old]

    def keep_only(self, targets: Iterable[str]) -> int:
        """Drop the letters of targets that are no more; return how many."""
        known = tuple(targets)
        marks = ", ".join("?" for _ in known)
        dropped = self._do(
            f"delete from letters where target not in ({marks}) returning id",  # noqa: S608 - marks
            known,
        )
        self.commit()
        return len(dropped)

    @property
    def waiting(self) -> int:
        """How many letters have not arrived."""
        return int(self._do("select count(*) from letters", ())[0][0])

    def _was_told(self, alert: str, stage: str) -> bool:
        told = self._do("select 1 from told where alert = ? and stage = ?", (alert, stage))
        return bool(told)

    def _do(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error
