"""One line an event, bounded in length and number, whatever is logged."""

from __future__ import annotations

import io
import json

from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.log import MAX_PER_MINUTE, Log


@given(st.dictionaries(st.text("abc", min_size=1), st.text() | st.integers() | st.binary()))
def test_an_event_is_one_json_line(fields: dict[str, object]) -> None:
    stream = io.StringIO()
    Log(stream=stream, wall_ms=lambda: 0).warning(
        "trial", **{f"x_{k}": v for k, v in fields.items()}
    )
    line = stream.getvalue()[:-1]
    assert stream.getvalue().count("\n") == 1
    entry = json.loads(line)
    assert (entry["event"], entry["level"]) == ("trial", "warning")
    assert len(entry) == 3 + len(fields)


def test_a_chatty_event_is_cut_and_the_cut_is_told() -> None:
    stream, clock = io.StringIO(), [0]
    log = Log(stream=stream, wall_ms=lambda: clock[0])
    for _ in range(MAX_PER_MINUTE + 5):
        log.info("chatty")
    clock[0] = 60_000
    log.info("other")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == MAX_PER_MINUTE + 2
    assert lines[-2]["events"] == {"chatty": 5}


def test_low_levels_are_left_out() -> None:
    stream = io.StringIO()
    Log(stream=stream, level="warning").info("quiet")
    assert stream.getvalue() == ""


def test_a_closed_stream_is_no_trouble() -> None:
    stream = io.StringIO()
    log = Log(stream=stream)
    stream.close()
    log.error("into_the_void")
