"""Commands: to the letter or refused, answered, and never done twice."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from chance import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offbeat_edge import commands
from offbeat_edge.commands import BURST, MAX_BYTES, PER_S, CommandRefused, Commands, Done, Verb
from offbeat_edge.durable import Durable
from offbeat_edge.engine import Engine
from offbeat_edge.link import Message
from offbeat_edge.log import Log
from offbeat_edge.schema import Sample
from offbeat_edge.store import Store
from offbeat_edge.voice import Topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offbeat_edge.model import Model

START = 1_700_000_000_000
WINDOW = {
    "schema": "1.0",
    "id": "w1",
    "asset": "pump1",
    "start_ms": START,
    "end_ms": START + 60_000,
    "time_ms": START,
}


class Desk:
    """Commands on an engine that watches pumps and knows pump1; its clock stands still."""

    def __init__(self, model: Model) -> None:
        self.now = 0.0
        self.engine = Engine(
            site="s", gateway="gw", route=lambda a: model if a.startswith("pump") else None
        )
        self.store = Store(path=":memory:", outbox_limit_bytes=1 << 24)
        self.durable = Durable(
            store=self.store, engine=self.engine, topic_of=str, log=Log(stream=io.StringIO())
        )
        self.durable.recover(lambda: None)
        self.durable.take([Sample("pump1", START + 1000 * k, {"flow": 1.0}) for k in range(3)])
        self.commands = Commands(
            topics=Topics("gw"), durable=self.durable, monotonic=lambda: self.now
        )

    def say(self, topic: str, payload: object, *, retain: bool = False) -> str | None:
        """Send a message; return why it was refused."""
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        reject = self.commands.take(Message(topic, raw, 1, retain, 1, 1)).reject
        assert reject is None or reject.reason == "command"
        return None if reject is None else reject.detail

    def answers(self) -> list[tuple[str, dict[str, Any]]]:
        """Return topic and payload of what would go out, once."""
        self.durable.commit()
        rows = self.store.pending(after=0, limit=99_999)
        self.durable.commit(delivered=[row.id for row in rows])
        return [(row.topic, json.loads(row.payload)) for row in rows if "/result/" in row.topic]


@pytest.fixture
def desk(model: Model) -> Iterator[Desk]:
    made = Desk(model)
    yield made
    made.durable.close()


def test_a_ping_is_answered_after_the_commit(desk: Desk) -> None:
    assert desk.say("offbeat/gw/cmd/ping", {"schema": "1.0", "id": "7", "future": 1}) is None
    assert desk.store.waiting == 0
    assert desk.answers() == [
        ("offbeat/gw/result/ping", {"schema": "1.0", "id": "7", "ok": True, "error": None})
    ]


def test_a_verb_added_to_the_table_is_done_and_may_refuse(desk: Desk) -> None:
    def handle(request: commands.Request) -> Done:
        if request.id == "no":
            raise CommandRefused("not today")
        return Done(fields={"said": request.id})

    desk.commands.add("echo", Verb(commands.Request, handle))
    assert desk.say("offbeat/gw/cmd/echo", {"id": "yes"}) is None
    assert desk.say("offbeat/gw/cmd/echo", {"id": "no"}) == "not today"
    first, second = (answer for _, answer in desk.answers())
    assert (first["ok"], first["said"]) == (True, "yes")
    assert (second["ok"], second["error"], second["id"]) == (False, "not today", "no")


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "JSON"),
        (b"[]", "JSON"),
        ({"schema": "1.0"}, "`id`"),
        ({"schema": "2.0", "id": "7"}, "schema"),
        ({"id": "with space"}, "id"),
        ({"id": 7}, "id"),
        (b"[" * 10_000, "JSON"),
        (b'{"id": "7", "x": "' + b"y" * MAX_BYTES + b'"}', "bytes"),
    ],
)
def test_what_is_not_to_the_letter_is_refused_with_an_answer(
    desk: Desk, payload: object, why: str
) -> None:
    assert why in (desk.say("offbeat/gw/cmd/ping", payload) or "")
    ((topic, answer),) = desk.answers()
    assert topic == "offbeat/gw/result/ping"
    assert answer["ok"] is False
    assert why in answer["error"]


def test_a_retained_command_is_refused(desk: Desk) -> None:
    assert "not retained" in (desk.say("offbeat/gw/cmd/ping", {"id": "7"}, retain=True) or "")
    assert "not retained" in (
        desk.say("offbeat/fleet/maintenance/pump1", WINDOW, retain=True) or ""
    )
    assert desk.engine.upkeep["pump1"].windows == []


def test_an_unknown_verb_is_answered_with_the_known_ones(desk: Desk) -> None:
    assert "ping" in (desk.say("offbeat/gw/cmd/explode", {"id": "7"}) or "")
    assert desk.answers()[0][0] == "offbeat/gw/result/explode"


@pytest.mark.parametrize("topic", ["offbeat/gw/cmd/+", "offbeat/gw/cmd/", "offbeat/gw/other/x"])
def test_a_topic_that_cannot_be_answered_is_only_refused(desk: Desk, topic: str) -> None:
    assert desk.say(topic, {"id": "7"}) is not None
    assert desk.answers() == []


def test_maintenance_for_the_fleet_is_taken_where_the_asset_is_watched(desk: Desk) -> None:
    assert desk.say("offbeat/fleet/maintenance/pump1", WINDOW) is None
    assert desk.say("offbeat/fleet/maintenance/pump7", {**WINDOW, "asset": "pump7"}) is None
    assert desk.say("offbeat/fleet/maintenance/valve", b"not even read") is None
    assert sorted(desk.engine.upkeep) == ["pump1", "pump7"]


def test_feedback_about_an_asset_never_heard_of_is_passed_over(desk: Desk) -> None:
    said = {"id": "f", "asset": "pump7", "verdict": "expected", "time_ms": START}
    assert desk.say("offbeat/fleet/feedback/pump7", said) is None
    assert list(desk.store.controls()) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"asset": "pump2"}, "the topic's asset"),
        ({"end_ms": START}, "after start_ms"),
        ({"end_ms": START + 400 * 86_400_000}, "a year"),
        ({"end_ms": 5}, "end_ms"),
        ({"start_ms": "soon"}, "start_ms"),
        ({"control": "feedback"}, "control"),
        ({"note": "x" * 2000}, "note"),
    ],
)
def test_an_announcement_that_is_wrong_is_refused(
    desk: Desk, change: dict[str, object], why: str
) -> None:
    assert why in (desk.say("offbeat/fleet/maintenance/pump1", {**WINDOW, **change}) or "")
    assert desk.engine.upkeep["pump1"].windows == []


def test_a_command_that_comes_again_is_answered_again_and_done_once(desk: Desk) -> None:
    for _ in range(2):
        assert desk.say("offbeat/gw/cmd/maintenance", WINDOW) is None
    assert [answer["ok"] for _, answer in desk.answers()] == [True, True]
    assert len(list(desk.store.controls())) == 1


def test_a_rename_that_came_again_is_no_error(desk: Desk) -> None:
    said = {"id": "r", "asset": "pump1", "to": "pump2", "time_ms": START}
    for _ in range(2):
        assert desk.say("offbeat/gw/cmd/rename", said) is None
    assert desk.durable.gone() == ["pump1"]
    again = {"id": "s", "asset": "pump1", "to": "pump2", "time_ms": START}
    assert "watched here" in (desk.say("offbeat/gw/cmd/rename", again) or "")


def test_a_flood_is_bounded_and_over_in_time(desk: Desk) -> None:
    for n in range(BURST):
        assert desk.say("offbeat/gw/cmd/ping", {"id": str(n)}) is None
    assert "a second" in (desk.say("offbeat/gw/cmd/ping", {"id": "more"}) or "")
    desk.now += 1 / PER_S
    assert desk.say("offbeat/gw/cmd/ping", {"id": "later"}) is None


@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    topic=st.sampled_from(
        [f"offbeat/gw/cmd/{verb}" for verb in ("ping", "rename", "feedback", "maintenance")]
        + [
            "offbeat/fleet/feedback/pump1",
            "offbeat/fleet/maintenance/pump1",
            "offbeat/x",
            "offbeat/",
        ]
    ),
    payload=st.one_of(
        st.binary(max_size=60),
        st.dictionaries(
            st.sampled_from([*WINDOW, "to", "verdict", "alert", "cancelled"]),
            st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=9), st.booleans()),
        ).map(lambda d: json.dumps(d).encode()),
    ),
)
def test_whatever_comes_is_done_or_refused(desk: Desk, topic: str, payload: bytes) -> None:
    desk.now += 1
    desk.say(topic, payload)
