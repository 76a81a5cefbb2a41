"""What someone who holds the broker, or some of the keys, cannot do to a device."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest
from delivery_parts import NOW, Device, MemoryWire, Packed, Publisher, bundle, days

from offbeat_edge.delivery import wire
from offbeat_edge.delivery.assignment import Stage, bundle_target, rollout_target
from offbeat_edge.errors import DeliveryError
from offbeat_train.delivery.keyring import KeyRing
from offbeat_train.delivery.repository import Repository

if TYPE_CHECKING:
    from pathlib import Path

    from tuf.api.metadata import Metadata

    from offbeat_edge.manifest import Manifest


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "publisher")


@pytest.fixture
def broker() -> MemoryWire:
    return MemoryWire()


@pytest.fixture
def device(publisher: Publisher, tmp_path: Path) -> Device:
    return Device(tmp_path / "device", publisher.root)


@pytest.fixture
def good(manifest: Manifest) -> Packed:
    return bundle(manifest, "1")


@pytest.fixture
def better(manifest: Manifest) -> Packed:
    return bundle(manifest, "2")


def chunk_topics(kept: dict[str, bytes]) -> list[str]:
    return [topic for topic in kept if wire.chunk_of(topic)]


def test_what_was_published_runs(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed
) -> None:
    publisher.activate(good)
    publisher.push(broker)
    answer = device.follow(broker)
    assert answer.error is None
    assert not answer.problems
    assert [(o.mode, o.bundle) for o in answer.orders] == [("active", good.digest)]
    assert (device.folder / "bundles" / f"{good.digest}.offbeat").read_bytes() == good.data


def test_an_old_set_replayed_is_refused(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed, better: Packed
) -> None:
    publisher.activate(good)
    publisher.push(broker)
    old = dict(broker.kept)
    publisher.activate(better)
    publisher.push(broker)
    assert device.runs(broker) == [("active", better.digest)]
    replayed = MemoryWire()
    replayed.kept = old
    answer = device.follow(replayed)
    assert not answer.orders
    assert "New timestamp version" in (answer.error or "")


def test_metadata_that_nobody_renews_activates_nothing_new(
    tmp_path: Path, broker: MemoryWire, good: Packed
) -> None:
    publisher = Publisher(tmp_path / "publisher", now=NOW - days(8))
    publisher.activate(good)
    publisher.push(broker)
    device = Device(tmp_path / "device", publisher.root)
    answer = device.follow(broker)
    assert not answer.orders
    assert "timestamp.json is expired" in (answer.error or "")


def test_a_device_without_a_clock_knows_expiry_by_the_newest_time_it_trusted(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed, better: Packed
) -> None:
    publisher.activate(good)
    publisher.push(broker)
    frozen = dict(broker.kept)
    device.hear(frozen)
    publisher.at(NOW + days(20))
    publisher.activate(better)
    publisher.push(broker)
    assert device.runs(broker) == [("active", better.digest)]  # its clock says NOW: a floor
    late = Device(device.folder.parent / "late", publisher.root)
    shutil.copytree(device.folder / "tuf" / "metadata", late.folder / "tuf" / "metadata")
    shutil.copy(device.folder / "tuf" / "trusted.json", late.folder / "tuf" / "trusted.json")
    publisher.at(NOW + days(10))  # its timestamp expires before what the device has seen
    publisher.repository.refresh()
    publisher.push(broker)
    answer = late.follow(broker)
    assert not answer.orders
    assert "expired" in (answer.error or "")


def test_parts_of_two_sets_are_not_one(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed, better: Packed
) -> None:
    publisher.activate(good)
    publisher.push(broker)
    old = {wire.meta_name(t): data for t, data in broker.kept.items() if wire.meta_name(t)}
    publisher.activate(better)
    publisher.push(broker)
    newest = publisher.repository.files()[-3]
    mixed = dict(broker.kept)
    (old_targets,) = [data for name, data in old.items() if name and "targets" in name]
    mixed[wire.meta_topic(newest)] = old_targets  # under the new one's name
    device.hear(mixed)
    answer = device.look()
    assert not answer.orders
    assert "Expected targets v" in (answer.error or "")


def test_a_stranger_who_may_write_the_topics_activates_nothing(
    publisher: Publisher, device: Device, good: Packed, better: Packed, tmp_path: Path
) -> None:
    """The broker's identity without the keys."""
    stranger, broker = Publisher(tmp_path / "stranger"), MemoryWire()
    stranger.activate(better)
    stranger.push(broker)
    answer = device.follow(broker)
    assert not answer.orders
    assert "UnsignedMetadataError" in (answer.error or "")


def test_a_strangers_root_is_not_followed(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed, tmp_path: Path
) -> None:
    stranger = Publisher(tmp_path / "stranger")
    stranger.repository.rotate("timestamp")
    stranger.activate(good)
    stranger.push(broker)
    answer = device.follow(broker)
    assert not answer.orders
    assert "root was signed by 0/2 keys" in (answer.error or "")


def test_keys_of_other_roles_do_not_count(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed
) -> None:
    """Targets signed with the timestamp's and the snapshot's key."""
    publisher.activate(good)
    repository, root = publisher.repository, publisher.repository.root().signed
    files = repository.files()
    forged = repository.targets()
    forged.signatures.clear()
    keys = [root.keys[root.roles[role].keyids[0]] for role in ("timestamp", "snapshot")]
    for signer in publisher.keys.signers(keys):
        forged.sign(signer, append=True)
    publisher.push(broker)
    broker.kept[wire.meta_topic(files[-3])] = forged.to_bytes()
    answer = device.follow(broker)
    assert not answer.orders
    assert "targets was signed by 0/2 keys" in (answer.error or "")


def resign(publisher: Publisher, metadata: Metadata, role: str, how_many: int) -> bytes:  # type: ignore[type-arg]
    """Sign as a thief of so many of a role's keys would."""
    root = publisher.repository.root().signed
    metadata.signatures.clear()
    keys = [root.keys[keyid] for keyid in root.roles[role].keyids]
    for signer in publisher.keys.signers(keys)[:how_many]:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def test_a_stolen_targets_key_below_the_threshold_signs_nothing(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed, better: Packed
) -> None:
    """The thief has the online keys too, and one of the targets keys."""
    publisher.activate(good)
    publisher.push(broker)
    evil = Publisher.__new__(Publisher)
    evil.folder, evil.keys, evil.version = publisher.folder, publisher.keys, 1
    evil.at(NOW)
    evil.activate(better)
    evil.push(broker)
    targets = evil.repository.targets()
    name = wire.meta_topic(evil.repository.files()[-3])
    broker.kept[name] = resign(publisher, targets, "targets", 1)
    answer = device.follow(broker)
    assert not answer.orders
    assert "targets was signed by 1/2 keys" in (answer.error or "")


def test_stolen_timestamp_and_snapshot_keys_bring_no_model_of_their_own(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed, better: Packed
) -> None:
    """They can name older targets, which a device that saw newer ones refuses."""
    publisher.activate(good)
    repository = publisher.repository
    old = (repository.metadata / repository.files()[-3]).read_bytes()
    old_version = repository.targets().signed.version
    publisher.activate(better)
    publisher.push(broker)
    assert device.runs(broker) == [("active", better.digest)]
    snapshot, timestamp = repository.snapshot(), repository.timestamp()
    snapshot.signed.version += 1
    snapshot.signed.meta["targets.json"].version = old_version
    timestamp.signed.version += 1
    timestamp.signed.snapshot_meta.version = snapshot.signed.version
    broker.kept |= {
        wire.meta_topic(f"{old_version}.targets.json"): old,
        wire.meta_topic(f"{snapshot.signed.version}.snapshot.json"): resign(
            publisher, snapshot, "snapshot", 1
        ),
        wire.meta_topic("timestamp.json"): resign(publisher, timestamp, "timestamp", 1),
    }
    answer = device.follow(broker)
    assert not answer.orders
    assert "BadVersionNumberError" in (answer.error or "")


def test_new_keys_undo_a_thief_who_ran_the_version_numbers_up(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed, better: Packed
) -> None:
    publisher.activate(good)
    publisher.push(broker)
    timestamp = publisher.repository.timestamp()
    timestamp.signed.version = 1_000_000
    broker.kept[wire.meta_topic("timestamp.json")] = resign(publisher, timestamp, "timestamp", 1)
    assert device.runs(broker) == [("active", good.digest)]
    publisher.activate(better)
    publisher.push(broker)
    assert device.follow(broker).error
    publisher.repository.rotate("timestamp")
    publisher.repository.rotate("snapshot")
    publisher.push(broker)
    assert device.runs(broker) == [("active", better.digest)]


@pytest.mark.parametrize("damage", ["truncated", "swapped", "longer", "empty"])
def test_a_damaged_chunk_is_no_bundle(  # noqa: PLR0917 - fixtures
    publisher: Publisher,
    broker: MemoryWire,
    device: Device,
    good: Packed,
    better: Packed,
    damage: str,
) -> None:
    publisher.activate(good)
    publisher.push(broker)
    honest = dict(broker.kept)
    for topic in chunk_topics(broker.kept):
        data = broker.kept[topic]
        broker.kept[topic] = {
            "truncated": data[:-1],
            "swapped": bytes(reversed(data)),
            "longer": data + b"!",
            "empty": b"",
        }[damage]
    answer = device.follow(broker)
    assert not answer.orders
    assert not (device.folder / "bundles").exists()
    broker.kept = honest
    assert device.runs(broker) == [("active", good.digest)]  # it waited for the right ones


def test_another_signed_bundle_under_a_name_is_refused(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed, better: Packed
) -> None:
    """Both are signed targets, but the document names the other."""
    publisher.publish(
        Stage(mode="active", bundle=good.digest), packed=(Packed(better.data, good.digest),)
    )
    publisher.push(broker)
    answer = device.follow(broker)
    assert not answer.orders
    assert "expected bundle" in answer.problems["tiny"]


def test_a_bundle_of_another_model_is_refused(
    publisher: Publisher, broker: MemoryWire, device: Device, manifest: Manifest
) -> None:
    other = bundle(manifest, name="fan")
    publisher.activate(other)
    publisher.push(broker)
    answer = device.follow(broker)
    assert not answer.orders
    assert "expected model tiny, got fan" in answer.problems["tiny"]


def test_a_bundle_whose_golden_windows_do_not_reproduce_is_refused(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed
) -> None:
    publisher.activate(good)
    publisher.push(broker)
    device.refusal = "golden scores differ"
    answer = device.follow(broker)
    assert not answer.orders
    assert "golden scores differ" in answer.problems["tiny"]
    assert not (device.folder / "bundles").exists()


def test_an_older_document_signed_anew_is_refused(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed, better: Packed
) -> None:
    """Even where the targets keys themselves say so: a version never falls."""
    publisher.activate(good)
    publisher.activate(better)
    publisher.push(broker)
    assert device.runs(broker) == [("active", better.digest)]
    publisher.version = 0
    publisher.activate(good)
    publisher.push(broker)
    answer = device.follow(broker)
    assert not answer.orders
    assert "expected version 2 or later, got 1" in answer.problems["tiny"]


def test_what_nobody_asked_for_takes_no_room(publisher: Publisher, device: Device) -> None:
    """Endless data: large files, many files, chunks of unknown targets."""
    inbox = device.inbox
    assert not inbox.put_meta("timestamp.json", b"x" * (wire.META_MAX + 1))
    for number in range(wire.MAX_META_FILES + 50):
        inbox.put_meta(f"{number + 1}.root.json", b"x")
    assert len(list((device.folder / "tuf/inbox/meta").iterdir())) == wire.MAX_META_FILES
    assert not inbox.put_chunk(wire.Chunk("ab" * 32, 0), b"x")
    inbox.expect({"ab" * 32: 10, "cd" * 32: wire.TARGET_MAX + 1})
    assert not inbox.put_chunk(wire.Chunk("ab" * 32, 1), b"x")
    assert not inbox.put_chunk(wire.Chunk("cd" * 32, 0), b"x" * wire.CHUNK_BYTES)
    assert inbox.put_chunk(wire.Chunk("ab" * 32, 0), b"x" * 10)


def test_a_device_that_was_away_walks_through_every_root(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed, better: Packed
) -> None:
    publisher.activate(good)
    publisher.push(broker)
    assert device.runs(broker) == [("active", good.digest)]
    for role in ("root", "timestamp", "targets", "root", "snapshot", "root"):
        publisher.repository.rotate(role)
    publisher.activate(better)
    publisher.push(broker)
    assert publisher.repository.root().signed.version == 7
    assert device.runs(broker) == [("active", better.digest)]


def test_a_lost_root_key_is_replaced_by_the_others(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed
) -> None:
    lost = publisher.repository.root().signed.roles["root"].keyids[0]
    publisher.keys.path(lost).unlink()
    publisher.repository.rotate("root", lost=[lost])
    publisher.activate(good)
    publisher.push(broker)
    root = publisher.repository.root().signed
    assert lost not in root.roles["root"].keyids
    assert len(root.roles["root"].keyids) == 3
    assert device.runs(broker) == [("active", good.digest)]


def test_two_lost_root_keys_cannot_be_replaced(publisher: Publisher) -> None:
    lost = publisher.repository.root().signed.roles["root"].keyids[:2]
    for keyid in lost:
        publisher.keys.path(keyid).unlink()
    with pytest.raises(DeliveryError, match="root: expected 2 signatures"):
        publisher.repository.rotate("root", lost=lost)


def test_a_rotated_key_no_longer_counts(
    publisher: Publisher, broker: MemoryWire, device: Device, good: Packed, tmp_path: Path
) -> None:
    """The thief kept copies of all keys but the root's, from before the rotation."""
    stolen = tmp_path / "stolen"
    shutil.copytree(publisher.folder, stolen)
    for role in ("timestamp", "snapshot", "targets"):
        publisher.repository.rotate(role)
    publisher.push(broker)
    assert device.runs(broker) == []
    thief = Publisher.__new__(Publisher)
    thief.folder, thief.version = stolen, 50
    thief.keys = KeyRing(stolen / "keys", passphrase=b"correct horse battery")
    thief.repository, thief.now = Repository(stolen, keys=thief.keys, now=NOW), NOW
    thief.activate(good)
    for _ in range(5):
        thief.repository.refresh()
    roots = {t: d for t, d in broker.kept.items() if t.endswith(".root.json")}
    thief.push(broker)
    broker.kept |= roots
    answer = device.follow(broker)
    assert not answer.orders
    assert answer.error


def test_targets_are_named_by_document_and_digest() -> None:
    assert rollout_target("pump") == "rollout/pump.json"
    assert bundle_target("ab") == "bundles/ab.offbeat"
    assert msgspec.json.encode(Stage(mode="active", bundle="a" * 64))
