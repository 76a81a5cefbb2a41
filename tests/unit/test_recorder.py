"""The recorder's rooms, one by one: spool, intake, flush, configuration."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_parts import MemoryStore

from offbeat_edge.errors import ConfigError
from offbeat_edge.log import Log
from offbeat_train.errors import SpoolError
from offbeat_train.lake import Lake, layout
from offbeat_train.record import settings
from offbeat_train.record.flush import Flusher, flush, tidy
from offbeat_train.record.intake import Intake
from offbeat_train.record.spool import Entry, Spool, read

if TYPE_CHECKING:
    from pathlib import Path

T0 = 20_000 * layout.DAY_MS


def entry(number: int) -> Entry:
    return Entry(samples=[("p1", T0 + number, {"flow": float(number)})], events=[("alerts", b"{}")])


def spool(folder: Path, *, wall_ms: int = T0) -> Spool:
    made = Spool(folder, limit_bytes=1000, wall_ms=lambda: wall_ms)
    made.open()
    return made


def test_entries_come_back_in_order_and_a_new_life_finds_them(tmp_path: Path) -> None:
    first = spool(tmp_path)
    for number in range(3):
        first.append(entry(number))
    first.close()
    second = spool(tmp_path)
    (left,) = second.waiting
    second.close()
    assert read(left) == ([entry(0), entry(1), entry(2)], 0)


@given(cut=st.integers(0, 400), flip=st.integers(0, 400), damage=st.booleans())
def test_a_segment_cut_or_damaged_anywhere_gives_what_stands_before(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int, *, damage: bool
) -> None:
    made = spool(tmp_path_factory.mktemp("spool"))
    ends = [0]
    for number in range(5):
        made.append(entry(number))
        ends.append(made.open_bytes)
    (path,) = made.seal()
    made.close()
    data = bytearray(path.read_bytes())
    at = flip % len(data) if damage else min(cut, len(data))
    if damage:
        data[at] ^= 0x55
    else:
        del data[at:]
    path.write_bytes(data)
    whole = sum(end <= at for end in ends) - 1
    found = read(path)
    assert found.entries == [entry(number) for number in range(whole)]
    assert found.lost_bytes == len(data) - ends[whole]


def test_names_rise_though_the_clock_is_set_back(tmp_path: Path) -> None:
    first = spool(tmp_path, wall_ms=T0)
    first.append(entry(0))
    first.close()
    later = spool(tmp_path, wall_ms=T0 - 1_000_000)
    later.append(entry(1))
    names = [path.name for path in later.seal()]
    later.close()
    assert names == sorted(names)
    assert len(names) == 2


def test_full_is_told_by_bytes_and_ends_when_segments_go(tmp_path: Path) -> None:
    made = spool(tmp_path)
    while not made.full:
        made.append(entry(0))
    (path,) = made.seal()
    assert made.full
    made.forget(path)
    assert (made.full, made.bytes, made.oldest_ms) == (False, 0, None)
    made.close()


def test_a_disk_that_refuses_is_told_and_nothing_is_lost_of_what_was_taken(tmp_path: Path) -> None:
    made = spool(tmp_path)
    made.append(entry(0))
    os.close(made._file.fileno())  # type: ignore[union-attr]  # noqa: SLF001 - as good as a dead disk
    with pytest.raises(SpoolError, match="Bad file descriptor"):
        made.append(entry(1))
    made.append(entry(2))
    found = [e for path in made.seal() for e in read(path).entries]
    assert found == [entry(0), entry(2)]
    made.close()


def test_a_segment_flushed_twice_leaves_the_same_rows(tmp_path: Path) -> None:
    made, store = spool(tmp_path), MemoryStore()
    made.append(Entry(samples=entry(1).samples))
    made.append(Entry(samples=entry(2).samples))
    (path,) = made.seal()
    folders, lost = flush(store, path)
    assert flush(store, path) == (folders, 0)
    assert lost == 0
    assert len(store.files) == 1
    assert Lake(store).samples("p1")["flow"].tolist() == [1.0, 2.0]
    made.close()


def test_upkeep_makes_days_that_are_over_one_part_and_names_a_damaged_one(tmp_path: Path) -> None:
    store = MemoryStore()
    for life in range(2):
        made = spool(tmp_path / str(life))
        made.append(Entry(samples=[("p1", T0, {"a": 1.0}), ("p2", T0, {"a": 1.0})]))
        flush(store, made.seal()[0])
        made.close()
    bad = next(path for path in store.files if "asset=p2" in path)
    store.files[bad] = b"?"
    assert tidy(store, now_ms=T0 + layout.DAY_MS) == []  # within the grace: nothing is over
    (problem,) = tidy(store, now_ms=T0 + 2 * layout.DAY_MS)
    assert bad in problem
    assert len([path for path in store.files if "asset=p1" in path]) == 1


def test_the_flusher_waits_for_a_lake_that_is_away(tmp_path: Path) -> None:
    made = spool(tmp_path)
    made.append(Entry(samples=entry(1).samples))
    store = MemoryStore()
    log = io.StringIO()
    flusher = Flusher(store=store, log=Log(stream=log), wall_ms=lambda: T0)
    store.fuse = 0  # the first write breaks
    flusher.offer(made.seal())
    flusher.start()
    done: list[Path] = []
    for _ in range(200):
        done += flusher.done()
        if done:
            break
        flusher.join(0.05)
    flusher.end()
    flusher.join(10)
    made.close()
    assert len(done) == 1
    assert "lake_refused" in log.getvalue()
    assert "lake_recovered" in log.getvalue()
    assert Lake(store).assets() == ("p1",)


# ---------------------------------------------------------------- intake


@given(payload=st.binary(max_size=60), topic=st.sampled_from([
    "plant/p1", "offbeat/gw1/asset/p1/alert", "offbeat/fleet/feedback/p1",
    "offbeat/fleet/maintenance/p1", "offbeat/fleet", "offbeat/fleet/feedback",
]))  # fmt: skip
def test_whatever_the_bytes_nothing_is_raised(payload: bytes, topic: str) -> None:
    intake = Intake(sources=[], max_payload_bytes=50, max_assets=1)
    taken = intake.take(topic, payload, T0, retained=False)
    assert not taken.samples
    assert not taken.events
    assert len(taken.rejects) == 1


# ---------------------------------------------------------------- configuration


def test_a_gateways_file_will_do_under_names_of_the_recorders_own(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(
        '[gateway]\nid = "gw1"\n[mqtt]\nclient_id = "gw1"\n'
        '[[source]]\ntopic = "plant/{asset}"\n[[model]]\nbundle = "absent"\n'
    )
    config = settings.load(file, {"HOME": "/home/x"})
    assert config.mqtt.client_id == "offbeat-record-gw1"
    assert config.gateway.state_dir == "/home/x/.local/state/offbeat/record-gw1"
    assert config.mqtt.port == 1883


def test_models_may_be_absent_but_an_unknown_key_is_told(tmp_path: Path) -> None:
    file = tmp_path / "record.toml"
    file.write_text('[gateway]\nid = "gw1"\n[[source]]\ntopic = "plant/{asset}"\n')
    assert settings.load(file, {"HOME": "/home/x"}).models == ()
    file.write_text('[gateway]\nid = "gw1"\nname = "x"\n')
    with pytest.raises(ConfigError, match="name"):
        settings.load(file, {})
