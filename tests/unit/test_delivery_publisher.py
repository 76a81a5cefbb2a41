"""The publisher's folder: keys that stay secret, commits that are whole or not at all."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from delivery_parts import NOW, PASSPHRASE, MemoryWire, Publisher, bundle, days
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.cli import main
from offbeat_edge.delivery import wire
from offbeat_edge.delivery.assignment import Stage, bundle_target
from offbeat_edge.errors import DeliveryError
from offbeat_train.delivery import plan
from offbeat_train.delivery.keyring import KeyRing, passphrase
from offbeat_train.delivery.repository import LIVES

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.manifest import Manifest


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "publisher")


def test_private_keys_are_encrypted_and_for_their_owner_alone(publisher: Publisher) -> None:
    files = list((publisher.folder / "keys").iterdir())
    assert len(files) == 8  # three of the root, three of targets, two on line
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert b"ENCRYPTED PRIVATE KEY" in file.read_bytes()
    assert stat.S_IMODE((publisher.folder / "keys").stat().st_mode) == 0o700


def test_a_wrong_passphrase_opens_nothing(publisher: Publisher) -> None:
    ring = KeyRing(publisher.folder / "keys", passphrase=b"wrong horse battery")
    with pytest.raises(DeliveryError, match="expected a key under this passphrase"):
        ring.signers(publisher.repository.root().signed.keys.values())


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="expected 12 bytes at least, got 5"):
        KeyRing(tmp_path, passphrase=b"horse")


def test_a_passphrase_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pass"
    file.write_bytes(PASSPHRASE + b"\n")
    file.chmod(0o640)
    with pytest.raises(DeliveryError, match="expected a file of mode 600, got 640"):
        passphrase(file)
    file.chmod(0o600)
    assert passphrase(file) == PASSPHRASE


def test_too_few_keys_publish_nothing(publisher: Publisher, manifest: Manifest) -> None:
    before = publisher.repository.files()
    for keyid in publisher.repository.root().signed.roles["targets"].keyids[:2]:
        publisher.keys.path(keyid).unlink()
    with pytest.raises(DeliveryError, match="targets: expected 2 signatures of its keys"):
        publisher.activate(bundle(manifest))
    assert publisher.repository.files() == before


def test_a_job_killed_before_the_timestamp_has_published_nothing(
    publisher: Publisher, manifest: Manifest
) -> None:
    good = bundle(manifest)
    kept = (publisher.repository.metadata / "timestamp.json").read_bytes()
    publisher.activate(good)
    (publisher.repository.metadata / "timestamp.json").write_bytes(kept)  # as before the last step
    assert publisher.repository.target(bundle_target(good.digest)) is None
    publisher.activate(good)
    assert publisher.repository.target(bundle_target(good.digest)) == good.data


def test_a_job_killed_while_sending_goes_on_where_it_was(
    publisher: Publisher, manifest: Manifest
) -> None:
    class Dies(MemoryWire):
        def __init__(self, after: int) -> None:
            super().__init__()
            self.left = after

        def retain(self, topic: str, payload: bytes) -> None:
            self.left -= 1
            if self.left < 0:
                raise ConnectionError
            super().retain(topic, payload)

    publisher.activate(bundle(manifest, "1"))
    first = MemoryWire()
    publisher.push(first)
    publisher.activate(bundle(manifest, "2"))
    whole = MemoryWire()
    whole.kept = dict(first.kept)
    ledger = (publisher.folder / "ledger.json").read_bytes()
    publisher.push(whole)
    for after in range(8):
        broker = Dies(after)
        broker.kept = dict(first.kept)
        (publisher.folder / "ledger.json").write_bytes(ledger)
        with pytest.raises(ConnectionError):
            publisher.push(broker)
        broker.left = 1000
        publisher.push(broker)
        assert broker.kept == whole.kept


def test_the_timestamp_is_the_last_word_before_the_clearing(
    publisher: Publisher, manifest: Manifest
) -> None:
    broker = MemoryWire()
    publisher.activate(bundle(manifest))
    publisher.push(broker)
    assert broker.log[-1] == wire.meta_topic("timestamp.json")
    first_meta = next(n for n, topic in enumerate(broker.log) if wire.meta_name(topic))
    assert all(wire.chunk_of(topic) for topic in broker.log[:first_meta])


def test_a_refresh_signs_what_is_past_half_its_life(publisher: Publisher) -> None:
    publisher.at(NOW + days(1))
    assert publisher.repository.refresh() == ["timestamp"]
    publisher.at(NOW + LIVES["snapshot"] * 0.6)
    assert publisher.repository.refresh() == ["timestamp", "snapshot"]
    publisher.at(NOW + LIVES["targets"] * 0.6)
    assert publisher.repository.refresh() == ["timestamp", "snapshot", "targets"]
    assert publisher.repository.due() == {}
    publisher.at(NOW + LIVES["root"] * 0.6)
    publisher.repository.refresh()
    assert set(publisher.repository.due()) == {"root"}
    publisher.repository.renew_root()
    assert publisher.repository.due() == {}


def test_a_machine_with_the_timestamps_key_alone_can_refresh_it(publisher: Publisher) -> None:
    root = publisher.repository.root().signed
    for role in ("root", "targets", "snapshot"):
        for keyid in root.roles[role].keyids:
            publisher.keys.path(keyid).unlink()
    publisher.at(NOW + days(60))
    assert publisher.repository.refresh() == ["timestamp"]
    assert set(publisher.repository.due()) == {"snapshot", "targets"}


def test_sweeping_leaves_the_committed_state_alone(
    publisher: Publisher, manifest: Manifest
) -> None:
    repository = publisher.repository
    for version in "123456":
        publisher.publish(
            Stage(mode="active", bundle=bundle(manifest, version).digest),
            packed=(bundle(manifest, version),),
        )
    repository.sweep()
    assert {p.name for p in repository.metadata.iterdir()} == set(repository.files())
    assert repository.target(bundle_target(bundle(manifest, "6").digest))


def test_bundles_nobody_names_any_more_are_no_longer_signed(
    publisher: Publisher, manifest: Manifest
) -> None:
    repository, before = publisher.repository, None
    bundles = [bundle(manifest, str(n)) for n in range(plan.KEEP + 3)]
    for packed in bundles:
        stage = Stage(mode="active", bundle=packed.digest)
        before = plan.assign(before, stage, model="tiny", now_ms=0)
        plan.commit(repository, before, {packed.digest: packed.data})
    named = {path for path in repository.targets().signed.targets if path.startswith("bundles")}
    assert named == {bundle_target(p.digest) for p in bundles[-plan.KEEP - 1 :]}


def test_a_rollback_names_only_what_ran_before(manifest: Manifest) -> None:
    first = plan.assign(None, Stage(mode="active", bundle="a" * 64), model="tiny", now_ms=0)
    second = plan.assign(first, Stage(mode="active", bundle="b" * 64), model="tiny", now_ms=1)
    with pytest.raises(DeliveryError, match="expected a bundle among bbbbbbbb, aaaaaaaa"):
        plan.roll_back(second, "c" * 64, now_ms=2)
    back = plan.roll_back(second, "a" * 8, now_ms=2)
    assert (back.version, back.stages[0].bundle[0], back.keep[0][0]) == (3, "a", "b")


@given(st.binary(max_size=3 * wire.CHUNK_BYTES + 5))
def test_chunks_make_up_the_target(data: bytes) -> None:
    parts = wire.chunks(data)
    assert b"".join(parts) == data
    assert len(parts) == wire.chunk_count(len(data))
    assert all(len(part) <= wire.CHUNK_BYTES for part in parts)


@given(st.text(max_size=80))
def test_no_topic_names_a_file_outside_the_inbox(text: str) -> None:
    name = wire.meta_name(f"{wire.ROOT}/meta/{text}")
    assert name is None or (name == text and "/" not in name and not name.startswith("."))


def test_the_commands_tell_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "pass"
    secret.write_bytes(PASSPHRASE)
    secret.chmod(0o600)
    folder = str(tmp_path / "fleet")
    given = ["--passphrase-file", str(secret)]
    assert main(["keys", "init", folder, *given, "--threshold", "targets=3/2"]) == 78
    assert "expected ROLE=K/N" in capsys.readouterr().err
    assert main(["keys", "init", folder, *given, "--threshold", "targets=1/1"]) == 0
    assert main(["keys", "init", folder, *given]) == 78
    assert "expected no repository, got one" in capsys.readouterr().err
    assert main(["keys", "status", folder]) == 0
    assert "2 of 3 keys, 3 here  version 1" in capsys.readouterr().out
    assert main(["keys", "rotate", folder, "timestamp", *given]) == 0
    assert main(["keys", "renew", folder, *given]) == 0
    assert "root 3" in capsys.readouterr().out
    where = ["--repository", folder, *given]
    assert main(["rollback", "pump", "--to", "a" * 64, *where]) == 78
    assert "expected a published model" in capsys.readouterr().err
