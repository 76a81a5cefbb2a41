"""The bundle: one file with a model and everything needed to run and check it.

Rules: a zip of stored members (``archive``) whose identity is the SHA-256 of
``manifest.json`` (``manifest``).  The same input gives the same bytes.  A
file is either exactly what ``write`` makes or refused with a `BundleError`
that names the file and the member; nothing is unpacked to disk and nothing
is run.  Reading costs at most three times ``BUNDLE_MAX`` of memory.

>>> digest = write(path, manifest, {MODEL: model, GOLDEN: golden})  # doctest: +SKIP
>>> load(path, digest=digest).manifest.model.name  # doctest: +SKIP
'pump'
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from offbeat_edge import archive, files, golden
from offbeat_edge import manifest as manifests
from offbeat_edge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_edge.manifest import Manifest
    from offbeat_edge.schema import Member

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"  # detached Ed25519 over the identity: ``signature``
MODEL = "model.tflite"
GOLDEN = "golden.bin"

MEMBER_MAX = 48 * 1024 * 1024  # bytes
BUNDLE_MAX = 64 * 1024 * 1024  # bytes, the whole file
SIGNATURE_MAX = 4096  # bytes


class Verifier(Protocol):
    """What is needed of ``signature.Keys``."""

    def check(self, identity: str, signature: bytes | None, *, where: str) -> None:
        """Accept a signature or raise BundleError."""
        ...


class Bundle(NamedTuple):
    """A verified bundle in memory."""

    manifest: Manifest
    digest: str  # identity: SHA-256 of the manifest, hex
    model: bytes
    golden: golden.Golden
    signature: bytes | None
    size: int  # bytes of the file


def write(
    path: str | os.PathLike[str],
    manifest: Manifest,
    members: dict[str, bytes],
    *,
    signature: bytes | None = None,
) -> str:
    """Write a bundle, replacing ``path`` atomically; returns its identity.

    Parameters
    ----------
    path : where; the directory must exist.
    manifest : its ``members`` are filled in here.
    members : content by name, ``MODEL`` and ``GOLDEN`` at least.
    signature : over the identity of ``manifest.seal(manifest, members)``.

    Raises
    ------
    BundleError : ``load`` would refuse it, or the file cannot be written.
    """
    sealed = manifests.seal(manifest, members)
    packed = {**members, MANIFEST: sealed}
    if signature is not None:
        packed[SIGNATURE] = signature
    data = archive.pack(packed)
    digest = parse(data, where=str(path)).digest
    _replace(Path(path), data)
    return digest


def sign(path: str | os.PathLike[str], signer: Callable[[str], bytes]) -> str:
    """Put a signature into a bundle file, replacing any; returns the bundle's identity.

    Parameters
    ----------
    path : the bundle.
    signer : identity (hex) → signature.

    Raises
    ------
    BundleError : the file is not a good bundle, or cannot be written.
    """
    data = _read(Path(path))
    digest = parse(data, where=str(path)).digest
    members = {**archive.unpack(data, where=str(path)), SIGNATURE: signer(digest)}
    _replace(Path(path), archive.pack(members))
    return digest


def load(
    path: str | os.PathLike[str], *, digest: str | None = None, keys: Verifier | None = None
) -> Bundle:
    """Read and verify a bundle.

    Parameters
    ----------
    path : the file.
    digest : the identity it must have, hex; None trusts the file as it is.
    keys : one of them must have signed it; None asks for no signature.

    Raises
    ------
    BundleError : the file cannot be read, or is not the bundle it should be.
    """
    return parse(_read(Path(path)), where=str(path), digest=digest, keys=keys)


def parse(
    data: bytes, *, where: str, digest: str | None = None, keys: Verifier | None = None
) -> Bundle:
    """Verify a bundle's bytes; ``where`` names them in errors."""
    _check_size(len(data), where)
    found = archive.unpack(data, where=where)
    if MANIFEST not in found:
        raise BundleError(f"{where}: expected a member {MANIFEST}, got {', '.join(found)}")
    identity = manifests.identity(found[MANIFEST])
    if digest is not None and not hmac.compare_digest(identity, digest.lower()):
        raise BundleError(f"{where}: expected bundle {digest}, got {identity}")
    signature = _signature(found, where)
    if keys is not None:
        keys.check(identity, signature, where=where)
    manifest = manifests.decode(found.pop(MANIFEST), where=f"{where}: {MANIFEST}")
    _check_members(found, manifest.members, where)
    return Bundle(
        manifest=manifest,
        digest=identity,
        model=_model(found[MODEL], f"{where}: {MODEL}"),
        golden=_golden(found[GOLDEN], manifest, f"{where}: {GOLDEN}"),
        signature=signature,
        size=len(data),
    )


def _check_size(size: int, where: str) -> None:
    if size > BUNDLE_MAX:
        raise BundleError(f"{where}: expected at most {BUNDLE_MAX} bytes, got {size}")


def _signature(found: dict[str, bytes], where: str) -> bytes | None:
    signature = found.pop(SIGNATURE, None)
    if signature is not None and len(signature) > SIGNATURE_MAX:
        raise BundleError(
            f"{where}: {SIGNATURE}: expected at most {SIGNATURE_MAX} bytes, got {len(signature)}"
        )
    return signature


def _check_members(found: dict[str, bytes], listed: dict[str, Member], where: str) -> None:
    absent = sorted({MODEL, GOLDEN, *listed} - found.keys())
    if absent:
        raise BundleError(f"{where}: {absent[0]}: expected this member, got none")
    for name, data in found.items():
        if name not in listed:
            raise BundleError(f"{where}: {name}: expected only members of the manifest")
        _check_member(data, listed[name], f"{where}: {name}")


def _check_member(data: bytes, member: Member, where: str) -> None:
    if len(data) > MEMBER_MAX:
        raise BundleError(f"{where}: expected at most {MEMBER_MAX} bytes, got {len(data)}")
    if len(data) != member.size:
        raise BundleError(f"{where}: expected {member.size} bytes, got {len(data)}")
    found = hashlib.sha256(data).hexdigest()
    if not hmac.compare_digest(found, member.sha256):
        raise BundleError(f"{where}: expected SHA-256 {member.sha256}, got {found}")


def _model(data: bytes, where: str) -> bytes:
    if data[4:8] != b"TFL3":
        raise BundleError(f"{where}: expected a TFLite model (TFL3), got {data[4:8]!r}")
    return data


def _golden(data: bytes, manifest: Manifest, where: str) -> golden.Golden:
    found = golden.decode(data, where=where)
    shape = (manifest.model.window, len(manifest.sensors))
    if found.windows.shape[1:] != shape:
        raise BundleError(f"{where}: expected windows of {shape}, got {found.windows.shape[1:]}")
    if not golden.decisive(found.scores, epsilon=manifest.epsilon).all():
        raise BundleError(
            f"{where}: expected scores farther than epsilon {manifest.epsilon} from 1.0,"
            " got one that any runtime may put on either side"
        )
    return found


def read(path: str | os.PathLike[str]) -> bytes:
    """Return a file's bytes, unverified; raises BundleError when it is none or too large."""
    return _read(Path(path))


def _read(path: Path) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO someone left there must not hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BundleError(f"{path}: expected a regular file, got something else")
            _check_size(status.st_size, str(path))
            return file.read(BUNDLE_MAX + 1)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: expected a readable bundle, got: {error}") from error


def _replace(path: Path, data: bytes) -> None:
    try:
        files.replace(path, data)
    except OSError as error:
        raise BundleError(f"{path}: expected to write the bundle, got: {error}") from error
