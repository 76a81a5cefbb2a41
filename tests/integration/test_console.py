"""The console's thread against a real broker: what it hears, keeps and says."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from rig import WAIT_S, Mosquitto, wait_for

sys.path.append(str(Path(__file__).parent.parent / "unit"))

from console_parts import START_MS, event, score, state, told

from offbeat_console import wire
from offbeat_console.board import Board
from offbeat_console.desk import Desk
from offbeat_console.errors import RequestError
from offbeat_console.ingest import Ingest, recover
from offbeat_console.store import Store
from offbeat_console.users import ANYBODY, Person
from offbeat_edge import dial
from offbeat_edge.config import Mqtt, Source
from offbeat_edge.link import Link
from offbeat_edge.log import Log
from offbeat_edge.payload.decoder import Decoder

if TYPE_CHECKING:
    from collections.abc import Iterator

VIEWER = Person(name="tv", role="viewer", hash="00")


class Here:
    """A console without its pages."""

    def __init__(self, file: Path, port: int) -> None:
        self.board, self.store = Board(), Store(file, limit_bytes=1 << 24)
        recover(self.board, self.store)
        mqtt = Mqtt(host="127.0.0.1", port=port, client_id="console")
        link = Link(
            broker=dial.broker(mqtt, max_payload_bytes=1 << 20), protocol="auto",
            filters=[*wire.FILTERS, ("plant/+", 0)], status_topic=None,
            log=Log(stream=io.StringIO()), uniform=lambda _low, _high: 0.05,
        )  # fmt: skip
        sources = (Source(topic="plant/{asset}"),)
        self.ingest = Ingest(
            link=link, host="127.0.0.1", port=port, store=self.store, board=self.board,
            decoder=Decoder(sources, max_payload_bytes=1 << 20), log=Log(stream=io.StringIO()),
        )  # fmt: skip
        self.reader = self.store.reader()
        self.desk = Desk(
            title="t", board=self.board, store=self.store, ingest=self.ingest,
            reader=self.reader, sources=True,
        )  # fmt: skip

    def start(self) -> Self:
        self.ingest.start()
        return self

    def close(self) -> None:
        self.ingest.stop()
        self.reader.close()
        self.store.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "console.db"


@pytest.fixture
def here(file: Path, mosquitto: Mosquitto) -> Iterator[Here]:
    with contextlib.closing(Here(file, mosquitto.port).start()) as made:
        wait_for(lambda: made.ingest._link.ready, "the console to be ready")  # noqa: SLF001
        yield made


class Plant:
    """A client that says things, and hears what people say."""

    def __init__(self, port: int) -> None:
        self.heard: dict[str, bytes] = {}
        self._granted = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("offbeat/fleet/#", qos=1)
        self._client.on_subscribe = lambda *_: self._granted.set()
        self._client.on_message = lambda _c, _d, m: self.heard.update({m.topic: m.payload})
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._granted.wait(WAIT_S)

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(WAIT_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def plant(mosquitto: Mosquitto) -> Iterator[Plant]:
    with contextlib.closing(Plant(mosquitto.port)) as made:
        yield made


def test_what_was_asked_for_is_done_when_its_asker_has_gone(here: Here) -> None:
    """A page that is closed cancels what it waits for."""
    busy, done = threading.Event(), threading.Event()
    here.ingest.ask(lambda: busy.wait(WAIT_S))
    here.ingest.ask(done.set).cancel()
    busy.set()
    assert here.ingest.ask(lambda: "at work").result(WAIT_S) == "at work"
    assert done.is_set()


def test_what_a_gateway_says_is_on_the_board(here: Here, plant: Plant) -> None:
    plant.say("offbeat/gw1/status", b"online", retain=True)
    plant.say("offbeat/gw1/asset/p1/state", told(state("anomaly")), retain=True)
    plant.say("offbeat/gw1/asset/p1/alert", told(event()))
    plant.say("offbeat/gw1/asset/p1/score", told(score(1.5)))
    plant.say("plant/p1", json.dumps({"ts": START_MS, "flow": 18.0}).encode())
    wait_for(lambda: "p1" in here.board.signals and event().alert in here.board.alerts, "all")
    watched = here.board.assets["gw1", "p1"]
    assert (watched.score, watched.open) == (1.5, (event().alert,))
    assert here.board.signals["p1"].since(0).columns == {"flow": [18.0]}
    assert here.board.gateways["gw1"].status == "online"


def test_rubbish_on_our_topics_harms_nothing(here: Here, plant: Plant) -> None:
    for topic in ("status", "health", "asset/p1/state", "asset/p1/alert", "asset/p1/score"):
        for payload in (b"", b"\xff\xfe", b"[]", b'{"schema": 1}', b"[" * 100_000):
            plant.say(f"offbeat/gw1/{topic}", payload)
    plant.say("offbeat/gw2/status", b"online")
    wait_for(lambda: "gw2" in here.board.gateways, "the one good message")
    assert here.ingest.failed is None
    assert here.board.alerts == {}


def test_a_verdict_waits_for_a_broker_that_is_away_over_a_restart(
    file: Path, mosquitto: Mosquitto
) -> None:
    first = Here(file, mosquitto.port).start()
    wait_for(lambda: first.ingest._link.ready, "the console to be ready")  # noqa: SLF001
    with contextlib.closing(Plant(mosquitto.port)) as plant:
        plant.say("offbeat/gw1/asset/p1/alert", told(event()))
        wait_for(lambda: event().alert in first.board.alerts, "the alert")
    mosquitto.kill()
    wait_for(lambda: not first.board.wire.connected, "the loss to be seen")
    name = asyncio.run(first.desk.judge(event().alert, ANYBODY, verdict="false_alarm"))
    assert first.reader.outgoing(name) == "waiting"
    first.close()
    mosquitto.start()
    with contextlib.closing(Plant(mosquitto.port)) as fleet:
        second = Here(file, mosquitto.port).start()
        topic = wire.feedback_topic("p1")
        wait_for(lambda: topic in fleet.heard, "the verdict at the broker")
        said = json.loads(fleet.heard[topic])
        wait_for(lambda: second.reader.outgoing(name) == "sent", "the broker's word")
        second.close()
    assert (said["id"], said["verdict"], said["by"]) == (name, "false_alarm", "local")
    assert (said["start_ms"], said["alert"]) == (START_MS, event().alert)


def test_events_that_came_while_we_were_away_are_not_missed(
    file: Path, mosquitto: Mosquitto
) -> None:
    with contextlib.closing(Here(file, mosquitto.port).start()) as first:
        wait_for(lambda: first.ingest._link.ready, "the console to be ready")  # noqa: SLF001
    with contextlib.closing(Plant(mosquitto.port)) as plant:
        for seq in range(3):
            plant.say("offbeat/gw1/asset/p1/alert", told(event(seq)))
    with contextlib.closing(Here(file, mosquitto.port).start()) as second:
        wait_for(lambda: event().alert in second.board.alerts, "the alert")
        wait_for(lambda: second.board.alerts[event().alert].event.seq == 2, "its last event")
        wait_for(lambda: len(second.reader.events(event().alert)) == 3, "all in the store")


def test_a_viewer_may_look_and_no_more(here: Here, plant: Plant) -> None:
    plant.say("offbeat/gw1/asset/p1/alert", told(event()))
    wait_for(lambda: event().alert in here.board.alerts, "the alert")
    name = event().alert
    deeds = (
        here.desk.acknowledge(name, VIEWER),
        here.desk.shelve(name, VIEWER, duration_ms=1, note=""),
        here.desk.judge(name, VIEWER, verdict="expected"),
        here.desk.maintain("p1", VIEWER, start_ms=0, end_ms=1),
        here.desk.cancel("w", VIEWER),
    )
    for deed in deeds:
        with pytest.raises(RequestError, match="needs an operator"):
            asyncio.run(deed)
    assert here.board.alerts[name].alarm.acknowledged_ms is None


def test_maintenance_said_elsewhere_suppresses_an_alert_that_begins_in_it(
    here: Here, plant: Plant
) -> None:
    window = wire.Maintenance(
        id="w", asset="p1", start_ms=START_MS - 1, end_ms=START_MS + 1, time_ms=START_MS, by="cmms"
    )
    plant.say(wire.maintenance_topic("p1"), told(window))
    plant.say("offbeat/gw1/asset/p1/alert", told(event()))
    wait_for(lambda: event().alert in here.board.alerts, "the alert")
    assert here.board.state_of(here.board.alerts[event().alert], 0) == "suppressed"


def test_an_alert_let_go_of_by_memory_can_still_be_judged(here: Here, plant: Plant) -> None:
    plant.say("offbeat/gw1/asset/p1/alert", told(event(type_="end")))
    wait_for(lambda: here.reader.alert(event().alert) is not None, "the alert in the store")
    del here.board.alerts[event().alert]
    asyncio.run(here.desk.judge(event().alert, ANYBODY, verdict="confirmed"))
    wait_for(lambda: wire.feedback_topic("p1") in plant.heard, "the verdict")
    assert here.desk.alert(event().alert) is not None
