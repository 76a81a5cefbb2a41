"""A fleet's delivery in memory: a publisher's folder, a broker that retains, devices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from bundle_parts import packed

from offbeat_edge import bundle as bundles
from offbeat_edge.delivery import wire
from offbeat_edge.delivery.assignment import Rollout, Stage, bundle_target, rollout_target
from offbeat_edge.delivery.inbox import Inbox
from offbeat_edge.delivery.task import Answer, Task
from offbeat_edge.delivery.verify import verify
from offbeat_train.delivery.keyring import KeyRing
from offbeat_train.delivery.push import push
from offbeat_train.delivery.repository import DEFAULT_THRESHOLDS, Repository

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.manifest import Manifest

PASSPHRASE = b"correct horse battery"
NOW = datetime.now(UTC).replace(microsecond=0)


def now_ms(moment: datetime = NOW) -> int:
    return int(moment.timestamp() * 1000)


class MemoryWire:
    """A broker that retains."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.log: list[str] = []  # topics as they were sent

    def retained(self, filter_: str) -> dict[str, bytes]:
        assert filter_ == wire.META_FILTER
        return {t: data for t, data in self.kept.items() if wire.meta_name(t)}

    def retain(self, topic: str, payload: bytes) -> None:
        self.log.append(topic)
        self.kept[topic] = payload
        if not payload:
            del self.kept[topic]

    def settle(self) -> None:
        pass


class Packed(NamedTuple):
    """A bundle as a file's bytes, and its digest."""

    data: bytes
    digest: str


def bundle(manifest: Manifest, version: str = "1", name: str = "tiny") -> Packed:
    spec = msgspec.structs.replace(manifest.model, version=version, name=name)
    data = packed(msgspec.structs.replace(manifest, model=spec))
    return Packed(data, bundles.parse(data, where="test").digest)


class Publisher:
    """A repository, and what it says of the model ``tiny``."""

    def __init__(self, folder: Path, *, now: datetime = NOW) -> None:
        self.folder = folder
        self.keys = KeyRing(folder / "keys", passphrase=PASSPHRASE)
        self.at(now)
        self.repository.create(DEFAULT_THRESHOLDS)
        self.version = 0

    def at(self, now: datetime) -> None:
        self.repository = Repository(self.folder, keys=self.keys, now=now)
        self.now = now

    @property
    def root(self) -> bytes:
        """The root that devices are born with."""
        return (self.repository.metadata / "1.root.json").read_bytes()

    def publish(self, *stages: Stage, packed: tuple[Packed, ...] = ()) -> Rollout:
        self.version += 1
        plan = Rollout(model="tiny", version=self.version, time_ms=now_ms(self.now), stages=stages)
        files = {bundle_target(p.digest): p.data for p in packed}
        self.repository.publish(files | {rollout_target("tiny"): msgspec.json.encode(plan)})
        return plan

    def activate(self, packed: Packed) -> Rollout:
        return self.publish(Stage(mode="active", bundle=packed.digest), packed=(packed,))

    def push(self, broker: MemoryWire) -> int:
        return push(self.repository, broker, ledger=self.folder / "ledger.json")


class Device:
    """A gateway's verifying child, its inbox filled by hand."""

    def __init__(self, folder: Path, root: bytes, *, gateway: str = "gw1") -> None:
        folder.mkdir(parents=True)
        (folder / "root.json").write_bytes(root)
        self.folder = folder
        self.inbox = Inbox(folder / "tuf" / "inbox")
        self.refusal: str | None = None
        self.task = Task(
            folder=str(folder / "tuf"), bundles=str(folder / "bundles"),
            trials=str(folder / "trials"), root=str(folder / "root.json"), source="",
            gateway=gateway, models=["tiny"],
        )  # fmt: skip

    def hear(self, kept: dict[str, bytes]) -> None:
        """Take what a broker retains, as far as it was asked for."""
        for topic, payload in kept.items():
            name, chunk = wire.meta_name(topic), wire.chunk_of(topic)
            if name:
                self.inbox.put_meta(name, payload)
            elif chunk:
                self.inbox.put_chunk(chunk, payload)

    def look(self, wall: datetime = NOW) -> Answer:
        return verify(self.task, wall_ms=now_ms(wall), refusal=lambda *_, **__: self.refusal)

    def follow(self, broker: MemoryWire, *, wall: datetime = NOW) -> Answer:
        """Look, ask for what is missing, and look again until nothing is."""
        self.hear(broker.kept)
        for _ in range(6):
            answer = self.look(wall)
            if not answer.wanted:
                return answer
            before = {w.sha256: w.length for w in answer.wanted}
            self.inbox.expect(before)
            self.hear(broker.kept)
            if any(True for _ in self.inbox.missing()):
                return answer
        return answer

    def runs(self, broker: MemoryWire, *, wall: datetime = NOW) -> list[tuple[str, str]]:
        return [(o.mode, o.bundle) for o in self.follow(broker, wall=wall).orders]


def days(number: float) -> timedelta:
    return timedelta(days=number)
