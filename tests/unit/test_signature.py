"""A bundle is trusted by signature: anything else is refused before it is parsed."""

from __future__ import annotations

import argparse
import stat
from typing import TYPE_CHECKING

import pytest
from bundle_parts import forged, members
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offbeat_edge import archive, bundle, canonical, cli, sign_command
from offbeat_edge.errors import BundleError, TrustError
from offbeat_edge.signature import Keys, Signer, generate

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.manifest import Manifest


@pytest.fixture
def key(tmp_path: Path) -> Path:
    generate(tmp_path / "release.key")
    return tmp_path / "release.key"


@pytest.fixture
def signed(tmp_path: Path, manifest: Manifest, key: Path) -> Path:
    path = tmp_path / "x.bundle"
    bundle.write(path, manifest, members())
    bundle.sign(path, Signer(key).sign)
    return path


def public(key: Path) -> Keys:
    return Keys([key.with_name(f"{key.name}.pub")])


def unpacked(path: Path) -> dict[str, bytes]:
    return archive.unpack(path.read_bytes(), where="x")


def test_a_signed_bundle_is_taken_and_keeps_its_identity(
    signed: Path, key: Path, tmp_path: Path, manifest: Manifest
) -> None:
    plain = bundle.write(tmp_path / "plain.bundle", manifest, members())
    assert bundle.load(signed, keys=public(key)).digest == plain


def test_no_signature_is_refused(tmp_path: Path, manifest: Manifest, key: Path) -> None:
    bundle.write(tmp_path / "x.bundle", manifest, members())
    with pytest.raises(BundleError, match="expected a signature, got none"):
        bundle.load(tmp_path / "x.bundle", keys=public(key))


def test_another_keys_signature_is_refused(signed: Path, tmp_path: Path) -> None:
    generate(tmp_path / "other.key")
    with pytest.raises(BundleError, match=r"expected a signature of other\.key\.pub"):
        bundle.load(signed, keys=public(tmp_path / "other.key"))


def test_one_key_may_follow_another(signed: Path, key: Path, tmp_path: Path) -> None:
    generate(tmp_path / "next.key")
    both = Keys([tmp_path / "next.key.pub", key.with_name("release.key.pub")])
    before = bundle.load(signed, keys=both).digest
    bundle.sign(signed, Signer(tmp_path / "next.key").sign)
    assert bundle.load(signed, keys=both).digest == before
    with pytest.raises(BundleError):
        bundle.load(signed, keys=public(key))


def test_a_changed_manifest_under_an_old_signature_is_refused_unparsed(
    signed: Path, key: Path, manifest: Manifest
) -> None:
    changed = forged(manifest, lambda document: document.update(schema="not even a version"))
    parts = archive.unpack(changed, where="x")
    parts[bundle.SIGNATURE] = unpacked(signed)[bundle.SIGNATURE]
    with pytest.raises(BundleError, match="expected a signature of"):
        bundle.parse(archive.pack(parts), where="x", keys=public(key))


def test_a_changed_member_is_refused_though_the_manifest_is_signed(signed: Path, key: Path) -> None:
    parts = unpacked(signed)
    model = bytearray(parts[bundle.MODEL])
    model[100] ^= 1
    parts[bundle.MODEL] = bytes(model)
    with pytest.raises(BundleError, match="expected SHA-256"):
        bundle.parse(archive.pack(parts), where="x", keys=public(key))


def test_a_signature_moved_to_another_bundle_is_refused(
    signed: Path, key: Path, manifest: Manifest
) -> None:
    other = forged(manifest, lambda document: document.update(epsilon=0.011))
    assert canonical.loads(unpacked(signed)[bundle.MANIFEST]) != other
    parts = archive.unpack(other, where="x")
    parts[bundle.SIGNATURE] = unpacked(signed)[bundle.SIGNATURE]
    with pytest.raises(BundleError, match="expected a signature of"):
        bundle.parse(archive.pack(parts), where="x", keys=public(key))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forgery=st.binary(max_size=128))
def test_no_other_bytes_pass_for_a_signature(signed: Path, key: Path, forgery: bytes) -> None:
    parts = unpacked(signed)
    if forgery == parts[bundle.SIGNATURE]:
        return
    parts[bundle.SIGNATURE] = forgery
    with pytest.raises(BundleError):
        bundle.parse(archive.pack(parts), where="x", keys=public(key))


def test_private_keys_are_closed_to_others_and_never_overwritten(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(TrustError, match="expected to write a new key"):
        generate(key)


@pytest.mark.parametrize("text", [b"", b"nonsense", b"-----BEGIN PUBLIC KEY-----\nAA==\n"])
def test_what_is_no_key_is_told(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "k").write_bytes(text)
    for load in (lambda: Keys([tmp_path / "k"]), lambda: Signer(tmp_path / "k")):
        with pytest.raises(TrustError, match=r"expected .* key \(PEM\)"):
            load()
    with pytest.raises(TrustError, match="No such file"):
        Keys([tmp_path / "absent"])


def test_a_key_of_another_kind_is_told(tmp_path: Path) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "ec.pub").write_bytes(
        curve.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    with pytest.raises(TrustError, match="expected an Ed25519 key, got"):
        Keys([tmp_path / "ec.pub"])


def test_the_command_makes_keys_and_signs(
    tmp_path: Path, manifest: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    path, key = tmp_path / "x.bundle", tmp_path / "k"
    digest = bundle.write(path, manifest, members())
    assert cli.main(["sign", "--new-key", str(key)]) == 0
    assert cli.main(["sign", str(path), "--key", str(key)]) == 0
    assert f"sha256:{digest}" in capsys.readouterr().out
    assert bundle.load(path, keys=public(key)).digest == digest
    assert "PRIVATE" not in capsys.readouterr().out


def test_the_command_says_what_it_lacks(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    sign_command.add_arguments(parser)
    with pytest.raises(TrustError, match="expected BUNDLE and --key"):
        sign_command.run(parser.parse_args([str(tmp_path / "x")]))
