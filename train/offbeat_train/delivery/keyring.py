"""Private keys: one encrypted file each, which may lie on different machines.

Rules: Ed25519, PKCS #8 under a passphrase that comes from a file; files are
made 0600 and never overwritten.  A folder may hold only some of the keys: a
machine that refreshes timestamps needs that one alone, and the root keys
belong on no machine at all.

>>> ring = KeyRing(folder, passphrase=b"...")  # doctest: +SKIP
>>> ring.make("root").keyid[:8]  # doctest: +SKIP
'3f1a9c02'
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from offbeat_edge.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from securesystemslib.signer import Key, Signer

PASSPHRASE_MIN = 12  # bytes
PASSPHRASE_MAX = 4096  # bytes
SHORT = 16  # hex digits of a key id in a file's name


class KeyRing:
    """The keys of one folder.

    Parameters
    ----------
    folder : of ``<key id>.pem`` files; made 0700 when needed.
    passphrase : opens them all.
    """

    def __init__(self, folder: Path, *, passphrase: bytes) -> None:
        if len(passphrase) < PASSPHRASE_MIN:
            raise DeliveryError(
                f"passphrase: expected {PASSPHRASE_MIN} bytes at least, got {len(passphrase)}"
            )
        self._folder = folder
        self._passphrase = passphrase
        self._opened: dict[str, Signer] = {}  # opening one takes a moment, by design

    def make(self) -> Key:
        """Make a key and keep its private half; return the public one."""
        private = Ed25519PrivateKey.generate()
        public: Key = CryptoSigner(private).public_key
        encrypted = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(self._passphrase),
        )
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path(public.keyid), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encrypted)
            file.flush()
            os.fsync(file.fileno())
        return public

    def path(self, keyid: str) -> Path:
        """Return where a key lies, or would."""
        return self._folder / f"{keyid[:SHORT]}.pem"

    def signers(self, keys: Iterable[Key]) -> list[Signer]:
        """Return signers of those of the public keys whose private half is here.

        Raises
        ------
        DeliveryError : a file that is no key, or not under this passphrase.
        """
        return [self._signer(key) for key in keys if self.path(key.keyid).exists()]

    def _signer(self, key: Key) -> Signer:
        if key.keyid not in self._opened:
            self._opened[key.keyid] = self._open(key)
        return self._opened[key.keyid]

    def _open(self, key: Key) -> Signer:
        path = self.path(key.keyid)
        try:
            private = serialization.load_pem_private_key(path.read_bytes(), self._passphrase)
            signer = CryptoSigner(private)
        except (OSError, ValueError, TypeError) as error:
            raise DeliveryError(f"{path}: expected a key under this passphrase: {error}") from error
        if signer.public_key.keyid != key.keyid:
            raise DeliveryError(f"{path}: expected key {key.keyid}, got another")
        return signer


def passphrase(path: Path) -> bytes:
    """Read a passphrase's first line; raises DeliveryError when others may read it too."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            words = file.read(PASSPHRASE_MAX + 1).splitlines()
    except OSError as error:
        raise DeliveryError(f"{path}: expected a passphrase, got: {error.strerror}") from error
    if mode & 0o077:
        raise DeliveryError(f"{path}: expected a file of mode 600, got {mode & 0o777:o}")
    return words[0].strip() if words else b""
