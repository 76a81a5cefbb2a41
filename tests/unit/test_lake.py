"""A lake holds each row once, whatever happened on the way."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chance import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_parts import Broken, MemoryStore
from pyarrow import fs

from offbeat_edge.schema import AlertEvent, Contribution, ModelRef, iso
from offbeat_train.errors import LakeError, LakeUnavailable
from offbeat_train.lake import Feedback, Lake, Maintenance, Writer, layout, open_lake
from offbeat_train.lake.compact import closed_folders, compact
from offbeat_train.lake.events import ALERTS, FEEDBACK, MAINTENANCE
from offbeat_train.lake.store import ArrowStore, LocalStore, open_store

if TYPE_CHECKING:
    from pathlib import Path

DAY = layout.DAY_MS
T0 = 20_000 * DAY  # a midnight
FOLDER = "samples/asset=p1/day=2024-10-04"

Reading = tuple[str, int, dict[str, float]]

READINGS = st.lists(
    st.tuples(
        st.sampled_from(["p1", "p2"]),
        st.sampled_from([T0 + n for n in (0, 1, 2, 3, DAY - 1, DAY, DAY + 1)]),
        st.dictionaries(
            st.sampled_from(["flow", "heat", "time", "time_"]),
            st.floats(-9, 9, allow_nan=False), min_size=1,
        ),
    ),
    min_size=1, max_size=24,
)  # fmt: skip


def expected(readings: list[Reading]) -> dict[str, dict[int, dict[str, float]]]:
    """The rule, in the plainest words: of a sensor's values for a time, the first."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for asset, time_ms, values in readings:
        row = found.setdefault(asset, {}).setdefault(time_ms, {})
        for sensor, value in values.items():
            row.setdefault(sensor, value)
    return found


def held(lake: Lake) -> dict[str, dict[int, dict[str, float]]]:
    found = {}
    for asset in lake.assets():
        rows = lake.rows(asset)
        assert (np.diff(rows.times) > 0).all()
        found[asset] = {
            time: {s: v for s, v in zip(rows.sensors, row, strict=True) if v == v}  # noqa: PLR0124
            for time, row in zip(rows.times.tolist(), rows.matrix.tolist(), strict=True)
        }
    return found


def write(writer: Writer, key: str, batch: list[Reading]) -> None:
    by_asset: dict[str, list[tuple[int, dict[str, float]]]] = {}
    for asset, time_ms, values in batch:
        by_asset.setdefault(asset, []).append((time_ms, values))
    writer.samples(key, by_asset)


def batches(readings: list[Reading], chance: random.Random) -> list[list[Reading]]:
    """Cut a stream anywhere; what was sent before may be sent again at any later time."""
    sent: list[Reading] = []
    made = []
    while len(sent) < len(readings):
        size = chance.randint(1, 5)
        fresh = readings[len(sent) : len(sent) + size]
        again = chance.sample(sent, min(len(sent), chance.randint(0, 3)))
        made.append([*fresh[:1], *again, *fresh[1:]] if chance.random() < 0.5 else again + fresh)
        sent += fresh
    return made


@settings(max_examples=examples(120))
@given(readings=READINGS, seed=st.integers(0, 2**32))
def test_batches_duplicates_compaction_and_crashes_leave_the_same_rows(
    readings: list[Reading], seed: int
) -> None:
    chance = random.Random(seed)
    store = MemoryStore()
    writer = Writer(store)

    def through(action: object) -> None:
        """Do it; where it breaks, start it again as after a kill."""
        for _ in range(chance.randint(0, 2)):
            store.fuse, store.late = chance.randint(0, 6), chance.random() < 0.5
            with contextlib.suppress(Broken):
                action()  # type: ignore[operator]
        store.fuse = None
        action()  # type: ignore[operator]

    for number, batch in enumerate(batches(readings, chance)):
        through(lambda n=number, b=batch: write(writer, layout.part_key(n, "r"), b))
        if chance.random() < 0.4:
            folders = closed_folders(store, since_ms=T0 - DAY, until_ms=T0 + 3 * DAY)
            through(lambda f=folders: [compact(store, folder) for folder in f])
    assert held(Lake(store)) == expected(readings)


def test_a_part_written_again_after_its_compaction_changes_nothing() -> None:
    store = MemoryStore()
    for number in range(3):
        write(Writer(store), layout.part_key(number, "r"), [("p1", T0 + number, {"flow": number})])
    before = held(Lake(store))
    compact(store, FOLDER)
    assert len(store.files) == 1
    write(Writer(store), layout.part_key(1, "r"), [("p1", T0 + 1, {"flow": 1})])
    assert held(Lake(store)) == before


class Restless(MemoryStore):
    """Compacts in the very moment between a reader's listing and its reading."""

    def __init__(self) -> None:
        super().__init__()
        self.moves = 0

    def read(self, path: str) -> bytes:
        if self.moves:
            self.moves -= 1
            compact(self, path.rsplit("/", 1)[0])
            write(Writer(self), layout.part_key(self.moves, "x"), [("p1", T0 + 9, {"flow": 9.0})])
        return super().read(path)


def test_a_reader_beside_a_compaction_sees_every_row_once() -> None:
    store = Restless()
    for number in range(4):
        write(Writer(store), layout.part_key(number, "r"), [("p1", T0 + number, {"flow": 1.0})])
    store.moves = 3
    assert held(Lake(store))["p1"].keys() == {T0, T0 + 1, T0 + 2, T0 + 3, T0 + 9}


def test_a_sensor_that_comes_and_goes_is_absent_not_an_error() -> None:
    store = MemoryStore()
    write(Writer(store), layout.part_key(1, "r"), [("p1", T0, {"flow": 1.0})])
    write(Writer(store), layout.part_key(2, "r"), [("p1", T0 + DAY, {"heat": 2.0})])
    frame = Lake(store).samples("p1")
    assert list(frame.columns) == ["flow", "heat"]
    assert str(frame.index.dtype) == "datetime64[ms, UTC]"
    np.testing.assert_array_equal(frame.to_numpy(), [[1.0, np.nan], [np.nan, 2.0]])


def test_a_range_is_half_open_and_an_unknown_asset_is_empty() -> None:
    store = MemoryStore()
    write(Writer(store), "1-r", [("p1", T0 + n * 1000, {"flow": float(n)}) for n in range(5)])
    lake = Lake(store)
    assert lake.samples("p1", T0 + 1000, T0 + 3000)["flow"].tolist() == [1.0, 2.0]
    assert lake.samples("p1", end_ms=T0).empty
    assert lake.samples("nobody").empty
    assert Lake(MemoryStore()).assets() == ()


def test_what_was_recorded_counts_before_what_was_imported() -> None:
    store = MemoryStore()
    write(Writer(store), f"{layout.IMPORTED}-abc", [("p1", T0, {"flow": 1.0, "heat": 5.0})])
    write(Writer(store), layout.part_key(T0, "r"), [("p1", T0, {"flow": 2.0})])
    assert held(Lake(store)) == {"p1": {T0: {"flow": 2.0, "heat": 5.0}}}


@pytest.mark.parametrize("damage", [b"", b"no parquet", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_a_part_that_cannot_be_read_is_named_and_nothing_is_removed(damage: bytes) -> None:
    store = MemoryStore()
    write(Writer(store), layout.part_key(1, "r"), [("p1", T0, {"flow": 1.0})])
    bad = f"{FOLDER}/{layout.part_key(2, 'r')}.parquet"
    store.files[bad] = damage
    with pytest.raises(LakeError, match="part of samples") as caught:
        Lake(store).samples("p1")
    assert caught.value.path == bad
    with pytest.raises(LakeError):
        compact(store, FOLDER)
    assert len(store.files) == 2


def test_a_part_of_another_shape_is_named() -> None:
    store = MemoryStore()
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"when": [1]}), sink)
    store.files[f"{FOLDER}/1-r.parquet"] = bytes(sink.getvalue())
    with pytest.raises(LakeError, match="part of samples"):
        Lake(store).samples("p1")


# ---------------------------------------------------------------- events


def alert(number: int, *, time_ms: int = T0, resent: bool = False) -> AlertEvent:
    return AlertEvent(
        id=f"{'a' * 32}/{number}", alert="a" * 32, seq=number, type="update", kind="anomaly",
        severity="warning", site="s", gateway="gw1", asset="p1", start=iso(T0), start_ms=T0,
        time=iso(time_ms), time_ms=time_ms, score=0.1 + 0.2, peak=3.3, message="p1: odd",
        contributions=(Contribution(sensor="flow", share=1 / 3, expected=1.0, actual=2.0),),
        model=ModelRef(name="m", version="1", bundle="b" * 64, config="c" * 64), resent=resent,
    )  # fmt: skip


def test_alert_events_come_back_to_the_digit_each_once_in_order() -> None:
    store = MemoryStore()
    writer = Writer(store)
    writer.events("1-r", ALERTS, [alert(1), alert(0), alert(2, time_ms=T0 + DAY)])
    writer.events("2-r", ALERTS, [alert(1, resent=True)])
    lake = Lake(store)
    assert lake.alerts() == [alert(0), alert(1), alert(2, time_ms=T0 + DAY)]
    assert lake.alerts("p1", T0, T0 + DAY) == [alert(0), alert(1)]
    assert lake.alerts("p2") == []


def test_events_have_columns_that_others_can_query(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    Writer(store).events("1-r", ALERTS, [alert(0)])
    table = pq.read_table(tmp_path / "alerts" / "day=2024-10-04" / "1-r.parquet")
    row = table.to_pylist()[0]
    assert row["bundle"] == "b" * 64
    assert row["score"] == 0.1 + 0.2
    assert iso(int(row["start"].timestamp() * 1000)) == iso(T0)
    assert msgspec.json.decode(row["contributions"])[0]["share"] == 1 / 3


def test_feedback_and_maintenance_come_back_a_correction_beside_what_it_corrects() -> None:
    store = MemoryStore()
    said = Feedback(id="1", asset="p1", verdict="confirmed", time_ms=T0)
    other = Feedback(id="1", asset="p1", verdict="expected", time_ms=T0 + 5)
    work = Maintenance(id="1", asset="p1", start_ms=T0, end_ms=T0 + 9, time_ms=T0)
    over = msgspec.structs.replace(work, cancelled=True)
    writer = Writer(store)
    for key in ("1-r", "2-r"):
        writer.events(key, FEEDBACK, [other, said])
        writer.events(key, MAINTENANCE, [work, over])
    for folder in closed_folders(store, since_ms=T0, until_ms=T0 + 2 * DAY):
        assert compact(store, folder)
    assert Lake(store).feedback("p1") == [said, other]
    assert Lake(store).maintenance() == [work, over]


def test_a_damaged_part_of_events_is_named() -> None:
    store = MemoryStore()
    store.files["feedback/day=2024-10-04/1-r.parquet"] = b"?"
    with pytest.raises(LakeError, match="part of feedback"):
        Lake(store).feedback()


# ---------------------------------------------------------------- stores


@pytest.fixture(params=["local", "arrow", "uri"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LocalStore | ArrowStore:
    if request.param == "arrow":
        return ArrowStore(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "lake")
    found = open_store(f"file://{tmp_path}/a%20lake" if request.param == "uri" else str(tmp_path))
    assert isinstance(found, LocalStore)
    return found


def test_rows_survive_a_trip_through_a_store(store: LocalStore | ArrowStore) -> None:
    write(Writer(store), "1-r", [("p1", T0, {"flow": 1.0}), ("p1", T0 + DAY, {"flow": 2.0})])
    write(Writer(store), "2-r", [("p1", T0, {"heat": 3.0})])
    assert compact(store, FOLDER)
    assert len(layout.parts(store, FOLDER)) == 1
    lake = Lake(store)
    assert held(lake)["p1"] == {T0: {"flow": 1.0, "heat": 3.0}, T0 + DAY: {"flow": 2.0}}
    with pytest.raises(FileNotFoundError):
        store.read("absent")
    store.remove("absent")


def test_a_write_that_a_kill_cut_short_is_passed_over(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write(Writer(store), "1-r", [("p1", T0, {"flow": 1.0})])
    (tmp_path / FOLDER / ".2-r.parquet.x7").write_bytes(b"half")
    assert held(open_lake(str(tmp_path))) == {"p1": {T0: {"flow": 1.0}}}


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "samples").write_text("a file where a folder should be")
    with pytest.raises(LakeUnavailable, match="samples"):
        write(Writer(LocalStore(tmp_path)), "1-r", [("p1", T0, {"flow": 1.0})])


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(LakeError, match="expected a folder or a URI"):
        open_lake("nonsense://x")
