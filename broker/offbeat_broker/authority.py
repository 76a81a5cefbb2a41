"""A private certificate authority: EC P-256 keys, X.509, a revocation list.

Rules: pure but for the randomness of keys and serial numbers; time is passed
in; what comes out is PEM, and no text here ever holds a key.  A certificate
is for one use: a device's cannot pose as a broker, nor the broker's as a
device.

>>> from datetime import datetime, timezone
>>> now = datetime(2026, 1, 1, tzinfo=timezone.utc)
>>> authority = Authority.new(now=now)
>>> authority.device("gw1", now=now).not_after.date().isoformat()
'2028-04-05'
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AUTHORITY_LIFE = timedelta(days=7305)  # 20 years
LIFE = timedelta(days=825)  # of a server's or a device's certificate
CLOCK_SKEW = timedelta(hours=1)  # certificates start this much earlier
BROKER = "offbeat broker"  # common name; clients look at the alternative names
_HASH = hashes.SHA256()


class Pair(NamedTuple):
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes
    serial: int
    not_after: datetime  # UTC


class Revoked(NamedTuple):
    """A certificate that is no longer to be trusted."""

    serial: int
    since: datetime  # UTC


class Authority:
    """Signs; made by ``new`` or from what ``new`` gave.

    Parameters
    ----------
    certificate : PEM.
    key : PEM, PKCS #8, not encrypted.

    Raises
    ------
    ValueError, TypeError : when one of them is not what it should be.
    """

    def __init__(self, *, certificate: bytes, key: bytes) -> None:
        private = serialization.load_pem_private_key(key, password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise TypeError(f"expected an EC key, got {type(private).__name__}")
        self.certificate = certificate
        self._cert = x509.load_pem_x509_certificate(certificate)
        self._key = private
        if self._cert.public_key() != private.public_key():
            raise ValueError("expected the key of the authority's certificate, got another")

    @classmethod
    def new(cls, *, now: datetime) -> Authority:
        """Make a new authority, self-signed, good for ``AUTHORITY_LIFE``."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("offbeat authority")
        builder = _builder(name, key.public_key(), now=now, not_after=now + AUTHORITY_LIFE)
        builder = builder.issuer_name(name)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        builder = builder.add_extension(_usage(signs=True), True)
        certificate = builder.sign(key, _HASH)
        return cls(certificate=_pem(certificate), key=_key_pem(key))

    @property
    def key(self) -> bytes:
        """The private key, PEM: the one secret that lets everybody in."""
        return _key_pem(self._key)

    @property
    def not_after(self) -> datetime:
        """The end of the authority, UTC; nothing it signs lives longer."""
        return self._cert.not_valid_after_utc

    def server(self, hosts: Sequence[str], *, now: datetime, name: str = BROKER) -> Pair:
        """Sign a new key for a server that is reached under these names and addresses."""
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        return self._sign(name, ExtendedKeyUsageOID.SERVER_AUTH, names, now)

    def device(self, name: str, *, now: datetime) -> Pair:
        """Sign a new key for a client; ``name`` is its common name."""
        return self._sign(name, ExtendedKeyUsageOID.CLIENT_AUTH, None, now)

    def revocations(self, revoked: Iterable[Revoked], *, number: int, now: datetime) -> bytes:
        """Return the revocation list, PEM.

        It is good as long as the authority: OpenSSL refuses *everybody* once
        a list has expired, and an authority kept offline cannot renew it.
        """
        builder = x509.CertificateRevocationListBuilder()
        builder = builder.issuer_name(self._cert.subject).last_update(now - CLOCK_SKEW)
        builder = builder.next_update(self.not_after)
        builder = builder.add_extension(x509.CRLNumber(number), False)
        builder = builder.add_extension(self._issued_by(), False)
        for serial, since in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, _HASH).public_bytes(serialization.Encoding.PEM)

    def _sign(
        self,
        name: str,
        use: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
        now: datetime,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        not_after = min(now + LIFE, self.not_after)
        builder = _builder(_name(name), key.public_key(), now=now, not_after=not_after)
        builder = builder.issuer_name(self._cert.subject)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_usage(signs=False), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), False)
        if names is not None:
            builder = builder.add_extension(names, False)
        builder = builder.add_extension(self._issued_by(), False)
        certificate = builder.sign(self._key, _HASH)
        return Pair(
            _pem(certificate),
            _key_pem(key),
            certificate.serial_number,
            certificate.not_valid_after_utc,
        )

    def _issued_by(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())


def revoked_serials(crl: bytes) -> set[int]:
    """Return the serial numbers of a revocation list, PEM."""
    return {entry.serial_number for entry in x509.load_pem_x509_crl(crl)}


def _builder(
    name: x509.Name, public: ec.EllipticCurvePublicKey, *, now: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
