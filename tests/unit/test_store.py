"""The state database: all or nothing, bounded, and honest about damage."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.errors import StoreError
from offbeat_edge.store import MAX_ASIDE, MIGRATIONS, Outgoing, Rank, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MB = 1 << 20
MADE: list[Store] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close what a test leaves open."""
    yield
    while MADE:
        MADE.pop().close()


def made(path: Path | str, *, limit: int = MB, **more: Callable[[], int]) -> Store:
    MADE.append(Store(path=path, outbox_limit_bytes=limit, **more))
    return MADE[-1]


def opened(path: Path, limit: int = MB) -> Store:
    store = made(path, limit=limit)
    store.open()
    return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


def test_what_was_committed_is_there_after_reopening(path: Path) -> None:
    store = opened(path)
    store.commit(journal=b"one", outgoing=[Outgoing("a", b"x")])
    store.commit(journal=b"two")
    store.close()
    again = made(path)
    assert not again.open().fresh
    assert list(again.journal()) == [b"one", b"two"]
    assert [(row.topic, row.payload) for row in again.pending(after=0, limit=9)] == [("a", b"x")]
    assert again.journal_bytes == 6


def test_a_snapshot_empties_the_journal_in_the_same_transaction(path: Path) -> None:
    store = opened(path)
    store.commit(journal=b"one")
    store.commit(journal=b"ignored", snapshot=b"state")
    assert store.snapshot() == b"state"
    assert list(store.journal()) == []
    store.commit(journal=b"later")
    assert list(store.journal()) == [b"later"]


def test_a_failed_commit_leaves_nothing_behind(path: Path) -> None:
    store = opened(path)
    store.commit(journal=b"one")
    with pytest.raises(StoreError):
        store.commit(journal=b"two", outgoing=[Outgoing("a", None)])  # type: ignore[arg-type]
    assert list(store.journal()) == [b"one"]
    assert store.outbox_size().rows == 0
    store.commit(journal=b"three")
    assert list(store.journal()) == [b"one", b"three"]


def test_delivered_rows_leave_and_ids_are_never_used_again(path: Path) -> None:
    store = opened(path)
    store.commit(outgoing=[Outgoing("a", b"1"), Outgoing("a", b"2")])
    first, second = store.pending(after=0, limit=9)
    store.commit(delivered=[first.id, second.id])
    store.commit(outgoing=[Outgoing("a", b"3")])
    (third,) = store.pending(after=0, limit=9)
    assert third.id > second.id
    assert store.newest() == third.id


def test_a_full_outbox_drops_diagnostics_first_and_alerts_last(path: Path) -> None:
    store = opened(path, limit=1000)
    ranks = [Rank.ALERT, Rank.DIAGNOSTIC, Rank.SCORE]
    store.commit(outgoing=[Outgoing(rank.name, b"x" * 200, rank) for rank in ranks])
    kept = []
    for _ in range(4):
        store.commit(outgoing=[Outgoing("late", b"y" * 200)])
        kept.append([row.topic for row in store.pending(after=0, limit=9)])
    assert kept[0] == ["ALERT", "SCORE", "late"]
    assert kept[1] == ["ALERT", "late", "late"]
    assert kept[2] == ["late", "late", "late"]
    assert store.outbox_size().dropped == {"alert": 2, "score": 1, "diagnostic": 1}


@given(st.lists(st.tuples(st.sampled_from(list(Rank)), st.integers(0, 400)), max_size=12))
def test_the_outbox_stays_within_its_limit_and_counts_right(rows: list[tuple[Rank, int]]) -> None:
    store = made(":memory:", limit=900)
    store.open()
    for rank, size in rows:
        store.commit(outgoing=[Outgoing("tö", b"x" * size, rank)])
    size = store.outbox_size()
    pending = store.pending(after=0, limit=99)
    assert size.bytes <= 900
    assert size.rows == len(pending)
    assert size.bytes == sum(len(row.topic.encode()) + len(row.payload) + 64 for row in pending)
    assert size.rows + sum(size.dropped.values()) == len(rows)
    store.close()


@pytest.mark.parametrize("at", [0, 30, 3000])
def test_a_damaged_database_is_kept_aside_and_a_fresh_one_started(path: Path, at: int) -> None:
    store = opened(path)
    for _ in range(20):
        store.commit(journal=os.urandom(2000))
    store.close()
    raw = bytearray(path.read_bytes())
    raw[at : at + 2048] = b"\xa5" * 2048
    path.write_bytes(raw)
    found = made(path).open()
    assert found.fresh
    assert found.damaged
    assert found.aside is not None
    assert found.aside.read_bytes() == bytes(raw)


def test_only_so_many_damaged_databases_are_kept(path: Path) -> None:
    clock = iter(range(1000, 2000))
    for _ in range(MAX_ASIDE + 2):
        store = made(path, wall_ms=lambda: next(clock))
        store.open()
        store.replace_damaged("a trial")
        store.close()
    assert len(list(path.parent.glob("state.db.damaged-*"))) == MAX_ASIDE


def test_a_second_daemon_on_the_same_state_is_refused(path: Path) -> None:
    store = opened(path)
    store.commit(journal=b"x")
    with pytest.raises(StoreError, match="locked"):
        made(path).open()


def test_a_state_written_by_a_newer_offbeat_is_refused_untouched(path: Path) -> None:
    opened(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer offbeat"):
        made(path).open()
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="open failed"):
        made(tmp_path / "file" / "state.db").open()


def test_a_killed_process_loses_nothing_it_had_committed(path: Path) -> None:
    code = """
import os, signal, sys
from offbeat_edge.store import Outgoing, Store
store = Store(path=sys.argv[1], outbox_limit_bytes=1 << 20)
store.open()
store.commit(journal=b"one", outgoing=[Outgoing("a", b"x")])
store._db.execute("BEGIN IMMEDIATE")
store._db.execute("INSERT INTO journal (entry) VALUES (x'00')")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -9
    store = opened(path)
    assert list(store.journal()) == [b"one"]
    assert store.outbox_size().rows == 1
