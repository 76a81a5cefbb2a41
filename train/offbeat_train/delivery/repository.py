"""The TUF repository: a folder of signed metadata and of targets, named by their hashes.

Rules: what ``metadata/timestamp.json`` leads to is the committed state; a
commit writes everything else first and that file last, so a job killed in
the middle has published nothing.  Time is passed in.  Nothing is written
with fewer signatures than its role demands.

::

    FOLDER/metadata/1.root.json  2.targets.json  2.snapshot.json  timestamp.json
    FOLDER/targets/bundles/<sha256>.<digest>.offbeat
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from offbeat_edge import files
from offbeat_edge.delivery import wire
from offbeat_edge.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from securesystemslib.signer import Key

    from offbeat_train.delivery.keyring import KeyRing

S = TypeVar("S", Root, Targets, Snapshot, Timestamp)

ROLES = ("root", "targets", "snapshot", "timestamp")
LIVES = {
    "root": timedelta(days=365),
    "targets": timedelta(days=90),
    "snapshot": timedelta(days=30),
    "timestamp": timedelta(days=7),
}
RENEW_AT = 0.5  # of a life: from then on a refresh signs anew


class Threshold(NamedTuple):
    """So many signatures of so many keys."""

    needed: int
    keys: int


DEFAULT_THRESHOLDS = {
    "root": Threshold(2, 3),
    "targets": Threshold(2, 3),
    "snapshot": Threshold(1, 1),
    "timestamp": Threshold(1, 1),
}


class Repository:
    """One repository.

    Parameters
    ----------
    folder : as above.
    keys : the private keys at hand.
    now : UTC, whole seconds.
    """

    def __init__(self, folder: Path, *, keys: KeyRing, now: datetime) -> None:
        self.metadata = folder / "metadata"
        self.targets_folder = folder / "targets"
        self._keys = keys
        self.now = now

    def create(self, thresholds: Mapping[str, Threshold]) -> None:
        """Make keys and the first metadata; raises DeliveryError when there is a root."""
        if self.root_versions():
            raise DeliveryError(f"{self.metadata}: expected no repository, got one")
        root = _unsigned(Root(consistent_snapshot=True))
        for role, threshold in thresholds.items():
            for _ in range(threshold.keys):
                root.add_key(self._keys.make(), role)
            root.roles[role].threshold = threshold.needed
        self.metadata.mkdir(parents=True, exist_ok=True)
        self.targets_folder.mkdir(parents=True, exist_ok=True)
        self._put_root(Metadata(root), before=None)
        self._commit(
            Metadata(_unsigned(Targets())), Metadata(_unsigned(Snapshot())), _unsigned(Timestamp())
        )

    def root_versions(self) -> list[int]:
        """Return the versions of the root there are, in order."""
        return sorted(int(p.name.split(".")[0]) for p in self.metadata.glob("*.root.json"))

    def root(self) -> Metadata[Root]:
        """Return the newest root."""
        versions = self.root_versions()
        if not versions:
            raise DeliveryError(f"{self.metadata}: expected a repository; 'offbeat keys init'")
        return self._read(f"{versions[-1]}.root.json", Root)

    def timestamp(self) -> Metadata[Timestamp]:
        """Return the committed timestamp."""
        return self._read("timestamp.json", Timestamp)

    def snapshot(self) -> Metadata[Snapshot]:
        """Return the committed snapshot."""
        version = self.timestamp().signed.snapshot_meta.version
        return self._read(f"{version}.snapshot.json", Snapshot)

    def targets(self) -> Metadata[Targets]:
        """Return the committed targets."""
        version = self.snapshot().signed.meta["targets.json"].version
        return self._read(f"{version}.targets.json", Targets)

    def target(self, path: str) -> bytes | None:
        """Return a committed target's content; None when there is none of that path."""
        info = self.targets().signed.targets.get(path)
        return None if info is None else self._target_path(info).read_bytes()

    def publish(self, add: Mapping[str, bytes], remove: Iterable[str] = ()) -> None:
        """Commit targets by path.

        Raises
        ------
        DeliveryError : too few keys at hand, or a file too large for the wire.
        """
        targets = self.targets()
        for path in remove:
            targets.signed.targets.pop(path, None)
        for path, data in add.items():
            targets.signed.targets[path] = self._put_target(path, data)
        self._commit(targets, self.snapshot(), self.timestamp().signed)

    def refresh(self) -> list[str]:
        """Sign a new timestamp, and what else is past half its life; return their roles.

        What this machine has no keys for is left alone: `due` tells of it.
        """
        roles = ["timestamp", *(r for r in ("snapshot", "targets") if r in self.due())]
        able = [role for role in roles if self._able(role)]
        if "timestamp" not in able:
            self._sign(self.timestamp(), "timestamp")  # says what is missing
        targets = self.targets() if "targets" in able else None
        if targets is not None and "snapshot" not in able and self._able("snapshot"):
            able.append("snapshot")
        snapshot = self.snapshot() if "snapshot" in able else None
        if snapshot is None:
            targets = None  # nobody could name it
        self._commit(targets, snapshot, self.timestamp().signed)
        return able

    def due(self) -> dict[str, datetime]:
        """Return the roles past half of their lives, and when they expire."""
        return {
            role: signed.expires
            for role, signed in self.committed().items()
            if signed.expires - self.now < LIVES[role] * RENEW_AT
        }

    def committed(self) -> dict[str, Signed]:
        """Return every role's metadata in force."""
        return {
            "root": self.root().signed,
            "targets": self.targets().signed,
            "snapshot": self.snapshot().signed,
            "timestamp": self.timestamp().signed,
        }

    def rotate(self, role: str, *, lost: Sequence[str] = ()) -> list[Key]:
        """Replace a role's keys, all or the ``lost`` ones; return the new ones.

        The new root is signed by the old keys' threshold and by the new one's;
        everything below is signed anew.

        Raises
        ------
        DeliveryError : too few root keys at hand, or no such key.
        """
        before = self.root()
        after = self._read(f"{before.signed.version}.root.json", Root)
        old = list(before.signed.roles[role].keyids)
        unknown = [key for key in lost if not any(keyid.startswith(key) for keyid in old)]
        if unknown:
            raise DeliveryError(f"{role}: expected a key of this role, got {unknown[0]}")
        gone = [k for k in old if not lost or any(k.startswith(key) for key in lost)]
        made = [self._keys.make() for _ in gone]
        for keyid in gone:
            after.signed.revoke_key(keyid, role)
        for key in made:
            after.signed.add_key(key, role)
        targets, snapshot, timestamp = self.targets(), self.snapshot(), self.timestamp().signed
        self._put_root(after, before=before)
        self._commit(targets, snapshot, timestamp)
        return made

    def renew_root(self) -> None:
        """Sign the same root anew, for another life."""
        before = self.root()
        self._put_root(self._read(f"{before.signed.version}.root.json", Root), before=before)

    def files(self) -> list[str]:
        """Return the metadata files of the committed state: roots, and one of each other role."""
        snapshot = self.timestamp().signed.snapshot_meta.version
        targets = self.snapshot().signed.meta["targets.json"].version
        roots = [f"{version}.root.json" for version in self.root_versions()]
        return [*roots, f"{targets}.targets.json", f"{snapshot}.snapshot.json", "timestamp.json"]

    def target_files(self) -> dict[str, Path]:
        """Return SHA-256 → file of all committed targets."""
        infos = self.targets().signed.targets.values()
        return {info.hashes["sha256"]: self._target_path(info) for info in infos}

    def sweep(self) -> None:
        """Delete metadata and targets that the committed state does not name."""
        keep = set(self.files())
        for path in self.metadata.glob("*.json"):
            if path.name not in keep:
                path.unlink()
        kept = set(self.target_files().values())
        for path in self.targets_folder.rglob("*"):
            if path.is_file() and path not in kept:
                path.unlink()

    # -- signing and writing

    def _commit(
        self,
        targets: Metadata[Targets] | None,
        snapshot: Metadata[Snapshot] | None,
        timestamp: Timestamp,
    ) -> None:
        """Sign what is given as new versions, the timestamp last."""
        if targets is not None and snapshot is not None:
            self._put(targets, "targets")
            snapshot.signed.meta["targets.json"] = MetaFile(targets.signed.version)
        if snapshot is not None:
            self._put(snapshot, "snapshot")
            timestamp.snapshot_meta = MetaFile(snapshot.signed.version)
        self._put(Metadata(timestamp), "timestamp")

    def _put(self, metadata: Metadata[S], role: str) -> None:
        signed = metadata.signed
        signed.version += 1
        signed.expires = self.now + LIVES[role]
        self._sign(metadata, role)
        name = "timestamp.json" if role == "timestamp" else f"{signed.version}.{role}.json"
        self._write(name, metadata.to_bytes())

    def _sign(self, metadata: Metadata[S], role: str) -> None:
        metadata.signatures.clear()
        root = self.root().signed
        for signer in self._keys.signers(_keys_of(root, role)):
            metadata.sign(signer, append=True)
        _verify(root, role, metadata)

    def _put_root(self, metadata: Metadata[Root], *, before: Metadata[Root] | None) -> None:
        root = metadata.signed
        root.version += 1
        root.expires = self.now + LIVES["root"]
        metadata.signatures.clear()
        keys = {key.keyid: key for key in _keys_of(root, "root")}
        if before is not None:
            keys |= {key.keyid: key for key in _keys_of(before.signed, "root")}
        for signer in self._keys.signers(keys.values()):
            metadata.sign(signer, append=True)
        for judge in (root, *([before.signed] if before else [])):
            _verify(judge, "root", metadata)
        self._write(f"{root.version}.root.json", metadata.to_bytes())

    def _able(self, role: str) -> bool:
        root = self.root().signed
        return len(self._keys.signers(_keys_of(root, role))) >= root.roles[role].threshold

    def _put_target(self, path: str, data: bytes) -> TargetFile:
        if len(data) > wire.TARGET_MAX:
            raise DeliveryError(
                f"{path}: expected at most {wire.TARGET_MAX} bytes, got {len(data)}"
            )
        info = TargetFile.from_data(path, data, ["sha256"])
        _replace(self._target_path(info), data)
        return info

    def _target_path(self, info: TargetFile) -> Path:
        folder, _, name = info.path.rpartition("/")
        return self.targets_folder / folder / f"{info.hashes['sha256']}.{name}"

    def _write(self, name: str, data: bytes) -> None:
        if len(data) > wire.META_MAX:
            raise DeliveryError(f"{name}: expected at most {wire.META_MAX} bytes, got {len(data)}")
        _replace(self.metadata / name, data)

    def _read(self, name: str, kind: type[S]) -> Metadata[S]:
        path = self.metadata / name
        try:
            metadata: Metadata[S] = Metadata.from_bytes(path.read_bytes())
        except (OSError, RepositoryError) as error:
            raise DeliveryError(f"{path}: expected {kind.type} metadata: {error}") from error
        if not isinstance(metadata.signed, kind):
            raise DeliveryError(f"{path}: expected {kind.type} metadata, got another role's")
        return metadata


def _keys_of(root: Root, role: str) -> list[Key]:
    return [root.keys[keyid] for keyid in root.roles[role].keyids]


def _verify(root: Root, role: str, metadata: Metadata[S]) -> None:
    try:
        root.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except RepositoryError as error:
        raise DeliveryError(
            f"{role}: expected {root.roles[role].threshold} signatures of its keys, got fewer:"
            f" are their files here? ({error})"
        ) from error


def _unsigned(signed: S) -> S:
    """Return it as the version before the first."""
    signed.version = 0
    return signed


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, data)
