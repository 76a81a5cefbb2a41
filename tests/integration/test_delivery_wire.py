"""A repository through a real broker: what is retained is what was signed, and nothing else."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from delivery_rig import Fleet
from rig import Mosquitto, make_bundle, wait_for

from offbeat_edge import bundle as bundles
from offbeat_edge.delivery import wire
from offbeat_edge.delivery.inbox import Inbox
from offbeat_edge.delivery.task import Answer, Task
from offbeat_edge.delivery.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    broker = Mosquitto(tmp_path / "broker", extra="max_packet_size 1048576")
    with contextlib.ExitStack() as stack:
        broker.start()
        stack.callback(broker.kill)
        made = Fleet(tmp_path, broker.port)
        assert made.offbeat("keys", "init", str(made.repository)) == 0
        yield made


def test_what_is_published_reaches_a_device_and_old_chunks_go(fleet: Fleet) -> None:
    first, second = fleet.folder / "tiny.offbeat", fleet.folder / "second.offbeat"
    make_bundle(first)
    make_bundle(second, threshold=0.9)
    assert fleet.publish(str(first)) == 0
    kept = fleet.retained()
    assert wire.meta_topic("timestamp.json") in kept
    assert len([topic for topic in kept if wire.chunk_of(topic)]) >= 2
    inbox = Inbox(fleet.folder / "device" / "inbox")
    assert orders(fleet, inbox, kept) == [("active", bundles.load(first).digest)]
    assert fleet.publish(str(second)) == 0
    assert orders(fleet, inbox, fleet.retained()) == [("active", bundles.load(second).digest)]
    assert fleet.rollback(bundles.load(first).digest[:12]) == 0
    again = fleet.retained()
    assert orders(fleet, inbox, again) == [("active", bundles.load(first).digest)]
    names = [wire.meta_name(topic) for topic in again if wire.meta_name(topic)]
    assert len(names) == 4  # one root, one of each other role: the old ones are gone
    files = {c.sha256 for t in again if (c := wire.chunk_of(t))}
    assert len(files) == 3  # the document and both bundles, of which one is a way back


def test_publishing_again_sends_only_what_changed(fleet: Fleet) -> None:
    bundle = fleet.folder / "tiny.offbeat"
    make_bundle(bundle)
    assert fleet.publish(str(bundle)) == 0
    before = fleet.retained()
    assert fleet.publish() == 0
    after = fleet.retained()
    changed = {
        topic for topic in before.keys() | after.keys() if before.get(topic) != after.get(topic)
    }
    assert changed == {wire.meta_topic("timestamp.json")}


def test_a_broker_that_lost_everything_is_given_it_again(fleet: Fleet) -> None:
    bundle = fleet.folder / "tiny.offbeat"
    make_bundle(bundle)
    assert fleet.publish(str(bundle)) == 0
    before = fleet.retained()
    fleet.say(dict.fromkeys(before, b""))
    wait_for(lambda: not fleet.retained(), "the broker to have nothing")
    assert fleet.publish() == 0
    assert fleet.retained().keys() == before.keys()


def test_whoever_may_write_the_topics_can_only_delay(fleet: Fleet) -> None:
    """Old messages sent again, a chunk cut short, the newest word withheld."""
    first, second = fleet.folder / "tiny.offbeat", fleet.folder / "second.offbeat"
    make_bundle(first)
    make_bundle(second, threshold=0.9)
    inbox = Inbox(fleet.folder / "device" / "inbox")
    assert fleet.publish(str(first)) == 0
    old = fleet.retained()
    assert fleet.publish(str(second)) == 0
    honest = fleet.retained()
    cut = {t: data[:-1] for t, data in honest.items() if wire.chunk_of(t)}
    fleet.say(cut)
    inbox_of(inbox, fleet.retained())
    waiting = look(fleet)
    assert waiting.wanted
    inbox.expect({w.sha256: w.length for w in waiting.wanted})
    inbox_of(inbox, fleet.retained())
    assert not look(fleet).orders
    fleet.say(honest)
    assert orders(fleet, inbox, fleet.retained()) == [("active", bundles.load(second).digest)]
    fleet.say(old)
    inbox_of(inbox, fleet.retained())
    answer = look(fleet)
    assert not answer.orders
    assert "must be >=" in (answer.error or "")
    fleet.say({wire.meta_topic("timestamp.json"): b""})
    inbox_of(inbox, {wire.meta_topic("timestamp.json"): b""})
    assert "has not come yet" in (look(fleet).waiting or "")


def inbox_of(inbox: Inbox, kept: dict[str, bytes]) -> None:
    """Hand over what a broker retains."""
    for topic, payload in kept.items():
        if (name := wire.meta_name(topic)) is not None:
            inbox.put_meta(name, payload)
        elif (chunk := wire.chunk_of(topic)) is not None:
            inbox.put_chunk(chunk, payload)


def orders(fleet: Fleet, inbox: Inbox, kept: dict[str, bytes]) -> list[tuple[str, str]]:
    """What a device makes of it, its golden windows run in a child."""
    answer = Answer()
    for _ in range(4):
        inbox_of(inbox, kept)
        answer = look(fleet)
        if not answer.wanted:
            break
        inbox.expect({w.sha256: w.length for w in answer.wanted})
    assert not answer.error
    assert not answer.problems
    return [(order.mode, order.bundle) for order in answer.orders]


def look(fleet: Fleet) -> Answer:
    folder = fleet.folder / "device"
    task = Task(
        folder=str(folder), bundles=str(folder / "bundles"), trials=str(folder / "trials"),
        root=str(fleet.repository / "root.json"), source="", gateway="gw1", models=["tiny"],
    )  # fmt: skip
    return verify(task, wall_ms=0)
