r"""Who vouches for a bundle: Ed25519 signatures over its identity.

Rules: what is signed is ``message(identity)``, so the signer needs the digest
alone and the signature means nothing anywhere else; it is 64 raw bytes.  A
bundle is trusted when any one of the configured keys made its signature: two
keys at a time let one follow the other.  Keys are PEM files.  cryptography
is imported when a key is used, and not before.

>>> message("0" * 64)[:33]
b'offbeat bundle, signed\nsha256:000'
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from offbeat_edge.errors import BundleError, TrustError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SIGNATURE_BYTES = 64
KEY_MAX = 16_384  # bytes of a PEM file
EXTRA = "pip install 'offbeat[trust]'"


class _PublicKey(NamedTuple):
    path: str
    key: Ed25519PublicKey


class Keys:
    """The public keys whose signatures count.

    Parameters
    ----------
    paths : PEM files; at least one.

    Raises
    ------
    TrustError : one cannot be read, or cryptography is not installed.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self._keys = [_PublicKey(str(path), _public(Path(path))) for path in paths]

    def check(self, identity: str, signature: bytes | None, *, where: str) -> None:
        """Accept a bundle's signature over its ``identity`` (hex), or raise BundleError."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra

        if signature is None:
            raise BundleError(f"{where}: expected a signature, got none (offbeat sign)")
        for _, key in self._keys:
            try:
                key.verify(signature, message(identity))
            except InvalidSignature:
                continue
            return
        names = ", ".join(Path(path).name for path, _ in self._keys)
        raise BundleError(f"{where}: expected a signature of {names} over {identity}, got another")


class Signer:
    """A private key.

    Raises
    ------
    TrustError : it cannot be read, or cryptography is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._key = _private(path)

    def sign(self, identity: str) -> bytes:
        """Return the signature over a bundle's identity (hex)."""
        return self._key.sign(message(identity))


def message(identity: str) -> bytes:
    """Return the bytes that are signed for a bundle of this identity (hex)."""
    return b"offbeat bundle, signed\nsha256:" + identity.lower().encode()


def generate(path: Path) -> Path:
    """Make a key pair: ``path`` (mode 600) and the public ``path.pub``, which is returned.

    Raises
    ------
    TrustError : a file is there already or cannot be written, or no cryptography.
    """
    _need_library()
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    beside = path.with_name(f"{path.name}.pub")
    for file, data, mode in ((path, private, 0o600), (beside, public, 0o644)):
        _write_new(file, data, mode)
    return beside


def _public(path: Path) -> Ed25519PublicKey:
    _need_library()
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(_read(path))
    except ValueError as error:
        raise TrustError(f"{path}: expected a public key (PEM), got: {error}") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise TrustError(f"{path}: expected an Ed25519 key, got {type(key).__name__}")
    return key


def _private(path: Path) -> Ed25519PrivateKey:
    _need_library()
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError) as error:
        raise TrustError(f"{path}: expected an open private key (PEM), got: {error}") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise TrustError(f"{path}: expected an Ed25519 key, got {type(key).__name__}")
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(KEY_MAX)
    except OSError as error:
        raise TrustError(f"{path}: expected a readable key, got: {error.strerror}") from error


def _write_new(path: Path, data: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, mode), "wb") as file:
            file.write(data)
    except OSError as error:
        raise TrustError(f"{path}: expected to write a new key, got: {error.strerror}") from error


def _need_library() -> None:
    if find_spec("cryptography") is None:
        raise TrustError(f"signatures need cryptography, which is absent: {EXTRA}")
