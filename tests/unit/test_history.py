"""What `read_history` makes of good and bad files."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chance import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from offbeat_train.errors import HistoryError
from offbeat_train.history import HistoryOptions, read_history

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_train.history import History

START_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z


def clock(second: int) -> str:
    return datetime.fromtimestamp(START_MS / 1000 + second, UTC).strftime("%Y-%m-%d %H:%M:%S")


def wide(rows: int = 300) -> str:
    lines = [f"{clock(i)},{i * 1.5},{i % 7}" for i in range(rows)]
    return "\n".join(["time,a,b", *lines]) + "\n"


@pytest.fixture
def read(tmp_path: Path):  # noqa: ANN201 - a small function
    def read_text(text: str | bytes, name: str = "x.csv", **options: object) -> History:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_history([path], HistoryOptions(**options))  # type: ignore[arg-type]

    return read_text


def test_a_plain_file_gives_times_and_values(read) -> None:  # noqa: ANN001
    history = read(wide())
    recording = history.assets["asset"]
    assert history.sensors == ("a", "b")
    assert recording.times_ms[:2].tolist() == [START_MS, START_MS + 1000]
    assert recording.values[2].tolist() == [3.0, 2.0]
    assert history.warnings == ()
    assert "UTC" in history.time_said


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ",", " "])
def test_any_delimiter_is_found(read, delimiter: str) -> None:  # noqa: ANN001
    lines = [delimiter.join((str(1_700_000_000 + i), f"{i}.5", "1")) for i in range(5)]
    history = read("\n".join([delimiter.join(("ts", "a", "b")), *lines]) + "\n")
    assert history.assets["asset"].values[:, 0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]


def test_decimal_commas_and_day_first_dates_are_understood(read) -> None:  # noqa: ANN001
    text = "Zeit;Druck\n01.02.2024 10:00:00;1,5\n13.02.2024 10:00:01;1,7\n"
    recording = read(text).assets["asset"]
    assert recording.values[:, 0].tolist() == [1.5, 1.7]
    assert recording.times_ms[0] == datetime(2024, 2, 1, 10, tzinfo=UTC).timestamp() * 1000


@pytest.mark.parametrize(
    ("unit", "factor"), [("seconds", 1), ("milliseconds", 10**3), ("microseconds", 10**6),
                         ("nanoseconds", 10**9)],
)  # fmt: skip
def test_the_unit_of_epoch_numbers_is_found(read, unit: str, factor: int) -> None:  # noqa: ANN001
    text = "".join(f"{(1_700_000_000 + i) * factor},{i}\n" for i in range(5))
    history = read("when,a\n" + text)
    assert history.assets["asset"].times_ms[1] == 1_700_000_001_000
    assert unit in history.time_said


def test_a_date_and_a_time_of_day_are_joined(read) -> None:  # noqa: ANN001
    text = "Date;Time;a\n10/03/2004;18.00.00;2,6\n13/03/2004;19.00.00;2,7\n"
    recording = read(text).assets["asset"]
    assert recording.times_ms[0] == datetime(2004, 3, 10, 18, tzinfo=UTC).timestamp() * 1000
    assert recording.times_ms[1] == datetime(2004, 3, 13, 19, tzinfo=UTC).timestamp() * 1000


def test_digits_of_a_date_are_read_as_such(read) -> None:  # noqa: ANN001
    history = read("time,a\n20240101000000,1\n20240101000001,2\n")
    assert history.assets["asset"].times_ms[1] == START_MS + 1000


def test_times_with_offsets_become_utc(read) -> None:  # noqa: ANN001
    history = read("t,a\n2024-01-01T01:00:00+01:00,1\n2024-01-01T01:00:01+01:00,2\n")
    assert history.assets["asset"].times_ms[0] == START_MS


def test_a_named_time_zone_is_applied_to_naive_times(read) -> None:  # noqa: ANN001
    history = read("t,a\n2024-07-01 02:00:00,1\n2024-07-01 02:00:01,2\n", timezone="Europe/Berlin")
    assert (
        history.assets["asset"].times_ms[0] == datetime(2024, 7, 1, tzinfo=UTC).timestamp() * 1000
    )


def test_an_unknown_time_zone_is_refused(read) -> None:  # noqa: ANN001
    with pytest.raises(HistoryError, match="time zone"):
        read(wide(), timezone="Mars/Olympus")


def test_mixed_zones_are_read_and_said(read) -> None:  # noqa: ANN001
    text = "t,a\n2024-01-01T00:00:00Z,1\n2024-01-01T00:00:01,2\n2024-01-01T01:00:02+01:00,3\n"
    history = read(text)
    assert np.diff(history.assets["asset"].times_ms).tolist() == [1000, 1000]
    assert any("have none" in warning for warning in history.warnings)


def test_rows_without_a_time_are_one_second_apart_with_a_warning(read) -> None:  # noqa: ANN001
    history = read(",a\n0,1.5\n1,2.5\n2,3.5\n")
    assert history.sensors == ("a",)
    assert history.assets["asset"].times_ms.tolist() == [0, 1000, 2000]
    assert not history.has_time
    assert any("no column holds times" in warning for warning in history.warnings)


def test_a_missing_header_is_noticed(read) -> None:  # noqa: ANN001
    history = read(wide().split("\n", 1)[1])
    assert len(history.assets["asset"].times_ms) == 300
    assert any("no header" in warning for warning in history.warnings)


def test_numbers_as_sensor_names_are_a_header(read) -> None:  # noqa: ANN001
    assert read(f"time,1,2\n{clock(0)},5,6\n{clock(1)},5,7\n").sensors == ("1", "2")


def test_rows_out_of_order_are_sorted_and_lead_back(read) -> None:  # noqa: ANN001
    history = read(f"t,a\n{clock(5)},5\n{clock(1)},1\n{clock(1)},2\n")
    recording = history.assets["asset"]
    assert recording.values[:, 0].tolist() == [1.0, 2.0, 5.0]
    assert recording.row.tolist() == [1, 2, 0]
    assert history.row_record.tolist() == [2, 0, 1]


def test_a_file_cut_in_its_last_line_loses_that_line_and_says_so(read) -> None:  # noqa: ANN001
    history = read(wide()[:-4])
    assert len(history.assets["asset"].times_ms) == 299
    assert any("line 301" in w and "cut" in w for w in history.warnings)


def test_a_cut_compressed_file_is_refused(read) -> None:  # noqa: ANN001
    data = gzip.compress(wide().encode())
    assert len(read(data, "x.csv.gz").assets["asset"].times_ms) == 300
    with pytest.raises(HistoryError, match="cut short"):
        read(data[: len(data) // 2], "x.csv.gz")


def test_a_cut_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"t": [1.7e9, 1.7e9 + 1], "a": [1.0, 2.0]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(HistoryError, match="cut short"):
        read_history([path])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty file"),
        ("\n\n\n", "empty file"),
        ("time,a\n", "rows below the header"),
        ("time,a\n2024-01-01,x\n2024-01-02,y\n", "column of numbers"),
        ("PK\x03\x04rubbish", "binary"),
        ("a,b\n1,2,3\n1,2,3\n1\n1,2\n1,2\n", "fields"),
    ],
)
def test_hopeless_files_are_refused_in_one_sentence(read, text: str, told: str) -> None:  # noqa: ANN001
    with pytest.raises(HistoryError, match=told):
        read(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"gone\.csv: cannot be opened"):
        read_history([tmp_path / "gone.csv"])


def test_a_stray_word_in_a_number_column_is_missing_with_its_line(read) -> None:  # noqa: ANN001
    history = read(wide().replace(",15.0,", ",oops,"))
    assert np.isnan(history.assets["asset"].values[10, 0])
    assert any("line 12, column 'a'" in w and "'oops'" in w for w in history.warnings)


def test_many_words_in_a_number_column_are_refused_with_the_first_line(read) -> None:  # noqa: ANN001
    lines = [f"{clock(i)},{i if i < 250 else 'x'},1" for i in range(300)]
    with pytest.raises(HistoryError, match=r"line 252, column 'a'.*got 'x' \(50 such") as caught:
        read("\n".join(["time,a,b", *lines]) + "\n")
    assert (caught.value.line, caught.value.column) == (252, "a")


def test_a_column_without_a_value_is_left_out_with_a_warning(read) -> None:  # noqa: ANN001
    history = read("time,a,b\n" + "".join(f"{clock(i)},{i},\n" for i in range(20)))
    assert history.sensors == ("a",)
    assert any("'b' holds no value" in warning for warning in history.warnings)


def test_infinite_values_are_missing(read) -> None:  # noqa: ANN001
    history = read(f"time,a\n{clock(0)},1e400\n{clock(1)},2\n")
    assert np.isnan(history.assets["asset"].values[0, 0])


def test_bad_times_are_left_out_when_rare_and_refused_when_not(read) -> None:  # noqa: ANN001
    history = read(wide().replace(clock(90), "garbage"))
    assert len(history.assets["asset"].times_ms) == 299
    with pytest.raises(HistoryError, match=r"column 'time': expected a time, got 'never"):
        read(wide().replace("2024-01-01 00:01:", "never "))


def test_label_columns_are_no_sensors_and_their_rows_can_be_left_out(read) -> None:  # noqa: ANN001
    lines = [f"{clock(i)},{i},{int(10 <= i < 15)}.0" for i in range(30)]
    text = "\n".join(["time,a,anomaly", *lines]) + "\n"
    plain = read(text)
    assert plain.sensors == ("a",)
    assert any("'anomaly' looks like a label" in note for note in plain.notes)
    left = read(text, label_columns=("anomaly",))
    recording = left.assets["asset"]
    assert left.excluded == 5
    assert [part.stop - part.start for part in recording.stretches()] == [10, 15]
    assert left.row_record[10:15].tolist() == [-1] * 5


def test_time_ranges_are_left_out(read) -> None:  # noqa: ANN001
    history = read(wide(), exclude=((START_MS + 100_000, START_MS + 200_000),))
    assert history.excluded == 100
    assert history.assets["asset"].cuts.tolist() == [100]


def test_a_long_file_is_pivoted(read) -> None:  # noqa: ANN001
    lines = [f"{clock(i)},p{k},{s},{i + k}" for i in range(5) for k in (1, 2) for s in "xy"]
    history = read("\n".join(["time,asset,sensor,value", *lines]) + "\n")
    assert history.sensors == ("x", "y")
    assert list(history.assets) == ["p1", "p2"]
    assert history.assets["p2"].values[:, 1].tolist() == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert history.row_asset[2] == 1
    assert history.row_record[4 * 3] == 3


def test_wide_and_long_say_the_same(read) -> None:  # noqa: ANN001
    rows = range(20)
    one = read("time,x,y\n" + "".join(f"{clock(i)},{i},{-i}\n" for i in rows))
    lines = "".join(f"{clock(i)},{s},{v}\n" for i in rows for s, v in (("x", i), ("y", -i)))
    two = read("time,sensor,value\n" + lines)
    np.testing.assert_array_equal(one.assets["asset"].values, two.assets["asset"].values)
    np.testing.assert_array_equal(one.assets["asset"].times_ms, two.assets["asset"].times_ms)


def test_files_that_follow_each_other_are_one_asset(tmp_path: Path) -> None:
    for part in (1, 2, 10):
        lines = "".join(f"{clock(i + 60 * part)},{part}\n" for i in range(10))
        (tmp_path / f"{part}.csv").write_text("time,a\n" + lines)
    history = read_history([tmp_path])
    assert list(history.assets) == ["asset"]
    assert history.assets["asset"].values[::10, 0].tolist() == [1.0, 2.0, 10.0]
    assert [path.name for path in history.paths] == ["1.csv", "2.csv", "10.csv"]


def test_files_that_overlap_are_assets_of_their_own(tmp_path: Path) -> None:
    for name in ("north", "south"):
        (tmp_path / f"{name}.csv").write_text(wide(20))
    history = read_history([tmp_path])
    assert list(history.assets) == ["north", "south"]
    assert history.row_asset.tolist() == [0] * 20 + [1] * 20


def test_a_wrong_column_name_is_answered_with_the_nearest(read) -> None:  # noqa: ANN001
    with pytest.raises(HistoryError, match="did you mean 'time'"):
        read(wide(), time_column="tiem")
    with pytest.raises(HistoryError, match="expected a column 'pressure'"):
        read(wide(), sensors=("pressure",))


def test_a_history_knows_whether_its_sensors_were_asked_for(read) -> None:  # noqa: ANN001
    text = "time,a,b\n" + "".join(f"{clock(i)},{i},{-i}\n" for i in range(20))
    assert not read(text).named
    assert read(text, sensors=("a",)).named


def test_a_parquet_index_of_times_is_found(tmp_path: Path) -> None:
    stamps = pa.array(np.arange(5) * 1_000_000 + START_MS * 1000, pa.timestamp("us", "UTC"))
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": np.arange(5.0), "__index_level_0__": stamps}), path)
    assert read_history([path]).assets["asset"].times_ms[0] == START_MS


def test_byte_order_marks_and_other_encodings_are_read(read) -> None:  # noqa: ANN001
    for data in (b"\xef\xbb\xbf" + wide().encode(), wide().encode("utf-16")):
        assert read(data).sensors == ("a", "b")
    text = f"time,temp °C\n{clock(0)},1\n{clock(1)},2\n"
    assert read(text.encode("latin-1")).sensors == ("temp °C",)


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
@settings(max_examples=examples(200))
def test_any_bytes_are_read_or_refused_never_thrown(tmp_path_factory, data: bytes) -> None:  # noqa: ANN001
    path = tmp_path_factory.mktemp("any") / "x.csv"
    path.write_bytes(data)
    try:
        history = read_history([path])
    except HistoryError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert history.rows > 0


@given(st.integers(0, 400), st.integers(0, 255))
@settings(max_examples=examples(150))
def test_a_damaged_file_is_read_or_refused_never_thrown(  # noqa: ANN201
    tmp_path_factory,  # noqa: ANN001
    place: int,
    byte: int,
):
    data = bytearray(wide(12).encode())
    data[place % len(data)] = byte
    path = tmp_path_factory.mktemp("damaged") / "x.csv"
    path.write_bytes(bytes(data))
    try:
        rows = read_history([path]).rows
    except HistoryError:
        return
    assert 0 < rows <= 13


GERMAN = "7,42;1.822,2;59,1;1.426;17.820"


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (GERMAN, [7.42, 1822.2, 59.1, 1426.0, 17820.0]),
        ("7.42;1'822.2;59.1;1'426;17\u2019820", [7.42, 1822.2, 59.1, 1426.0, 17820.0]),
        ("7,42;1 822,2;59,1;1 426;17 820", [7.42, 1822.2, 59.1, 1426.0, 17820.0]),
        ("7,42;1\u202f822,2;59,1;1\u00a0426;17\u202f820", [7.42, 1822.2, 59.1, 1426.0, 17820.0]),
        ("7.42;1,822.2;59.1;1,426;17,820,333", [7.42, 1822.2, 59.1, 1426.0, 17820333.0]),
        ("7.42;1.826;59.123", [7.42, 1.826, 59.123]),
        ("7,42;1,826;59,123", [7.42, 1.826, 59.123]),
        ("1.826;59.123", [1.826, 59.123]),
        ("1,826;59,123", [1.826, 59.123]),
        ("7,42;0.182;59,1", [7.42, 0.182, 59.1]),
        ("2.1;1,000;22,000;59,000", [2.1, 1.0, 22.0, 59.0]),
        ("1,234,000;1,000", [1234000.0, 1000.0]),
    ],
)
def test_thousands_set_apart_are_told_from_decimals(
    read,  # noqa: ANN001
    cells: str,
    values: list[float],
) -> None:
    head = ";".join(["time", *(f"s{i}" for i in range(len(values)))])
    history = read(head + "\n" + "".join(f"{clock(i)};{cells}\n" for i in range(20)))
    assert history.assets["asset"].values[7].tolist() == pytest.approx(values)


def test_quoted_thousands_are_read(read) -> None:  # noqa: ANN001
    lines = "".join(f'{clock(i)},7.5,"1,822.2"\n' for i in range(20))
    assert read("time,a,b\n" + lines).assets["asset"].values[0].tolist() == [7.5, 1822.2]


def test_a_thousand_far_down_is_no_small_number(read) -> None:  # noqa: ANN001
    rows = [f"{clock(i)};7,4;{format(900 + i, ',').replace(',', '.')}\n" for i in range(300)]
    history = read("time;a;b\n" + "".join(rows))
    assert history.assets["asset"].values[[99, 100, 299], 1].tolist() == [999, 1000, 1199]
    (said,) = [text for text in history.warnings if "comma in this file" in text]
    assert "line 102, column 'b': '1.000' is read as 1000" in said


def test_a_point_that_sets_no_thousands_apart_is_a_decimal_point(read) -> None:  # noqa: ANN001
    rows = [f"{clock(i)};7,4;8,5;{1 + i / 8:.{3 - i % 2}f}\n" for i in range(300)]
    values = read("time;a;b;c\n" + "".join(rows)).assets["asset"].values[:, 2]
    assert values.max() < 40.0


def test_one_cell_that_is_no_thousand_leaves_the_others_theirs(read) -> None:  # noqa: ANN001
    rows = [f"{clock(i)};7,4;{'0.5' if i == 250 else '1.426'}\n" for i in range(300)]
    values = read("time;a;b\n" + "".join(rows)).assets["asset"].values[:, 1]
    assert (values[0], values[250]) == (1426.0, 0.5)


def test_many_columns_with_thousands_are_read(read) -> None:  # noqa: ANN001
    names = [f"s{i}" for i in range(100)]
    line = ";".join(["1.822,5"] * len(names))
    history = read(";".join(["time", *names]) + "\n" + f"{clock(0)};{line}\n{clock(1)};{line}\n")
    assert (history.assets["asset"].values == 1822.5).all()


def test_a_column_of_numbers_and_words_is_lost_with_a_warning(read) -> None:  # noqa: ANN001
    history = read("time,a,b\n" + "".join(f"{clock(i)},{i},{i}.5 bar\n" for i in range(20)))
    assert history.sensors == ("a",)
    assert any("'b' holds text such as '0.5 bar'" in text for text in history.warnings)
    with pytest.raises(HistoryError, match=r"'b' \(text such as '0.5 bar'\)"):
        read("time,b\n" + "".join(f"{clock(i)},{i}.5 bar\n" for i in range(20)))


def engines(lengths: tuple[int, ...] = (30, 45, 25)) -> str:
    """Engines one after the other, as turbofans' runs to failure are published."""
    rows = [f"{unit + 1} {n + 1} {500 + n * 0.1:.1f}" for unit in range(len(lengths))
            for n in range(lengths[unit])]  # fmt: skip
    return "\n".join(rows) + "\n"


def test_a_column_that_counts_anew_for_each_machine_is_its_time(read) -> None:  # noqa: ANN001
    history = read("unit cycle temp\n" + engines())
    assert list(history.assets) == ["1", "2", "3"]
    assert [len(recording.row) for recording in history.assets.values()] == [30, 45, 25]
    assert history.sensors == ("temp",)
    assert any("'cycle' counts the rows of each 'unit'" in note for note in history.notes)
    assert list(read(engines()).assets) == ["1", "2", "3"]


def test_machines_of_the_same_number_in_two_files_follow_each_other(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("unit cycle temp\n" + engines())
    recordings = read_history([tmp_path]).assets
    assert [len(recording.row) for recording in recordings.values()] == [60, 90, 50]
    for recording in recordings.values():
        assert (np.diff(recording.times_ms) > 0).all()
        assert (np.diff(recording.row) > 0).all()


@pytest.mark.parametrize("names", ["day,hour", "minute,second", "Month,Day", "week_no,weekday"])
def test_a_calendar_is_no_machine(read, names: str) -> None:  # noqa: ANN001
    lines = "".join(f"{i // 24},{i % 24},{i % 7}.5\n" for i in range(240))
    assert list(read(f"{names},load\n{lines}").assets) == ["asset"]


def test_a_saw_tooth_beside_a_state_is_no_machine(read) -> None:  # noqa: ANN001
    lines = "".join(f"{i % 20},{i // 20 % 2},{i / 7:.2f}\n" for i in range(200))
    assert list(read("level,open,x\n" + lines).assets) == ["asset"]
