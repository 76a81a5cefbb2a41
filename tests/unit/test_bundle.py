from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from bundle_parts import golden_bytes, members

from offbeat_edge import bundle, canonical, golden
from offbeat_edge import manifest as manifests
from offbeat_edge.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.manifest import Manifest


def test_what_is_written_is_read_back(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "pump.bundle"
    digest = bundle.write(path, manifest, members())
    found = bundle.load(path, digest=digest)
    assert found.digest == digest
    assert msgspec.structs.replace(found.manifest, members={}) == manifest
    assert found.model == members()[bundle.MODEL]
    assert golden.encode(found.golden) == golden_bytes()
    assert found.signature is None
    assert found.size == path.stat().st_size


def test_same_input_gives_same_bytes_whatever_the_order(tmp_path: Path, manifest: Manifest) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    bundle.write(first, manifest, members())
    bundle.write(second, manifest, dict(reversed(members().items())))
    assert first.read_bytes() == second.read_bytes()


def test_identity_is_the_digest_of_the_manifest(tmp_path: Path, manifest: Manifest) -> None:
    digest = bundle.write(tmp_path / "x", manifest, members())
    assert digest == manifests.identity(manifests.seal(manifest, members()))


def test_a_signature_travels_without_changing_the_identity(
    tmp_path: Path, manifest: Manifest
) -> None:
    plain = bundle.write(tmp_path / "plain", manifest, members())
    signed = bundle.write(tmp_path / "signed", manifest, members(), signature=b"s" * 64)
    assert plain == signed
    assert bundle.load(tmp_path / "signed").signature == b"s" * 64


def test_a_listed_member_of_a_later_minor_is_carried(manifest: Manifest, tmp_path: Path) -> None:
    bundle.write(tmp_path / "x", manifest, members(**{"notes.txt": b"later"}))
    assert bundle.load(tmp_path / "x").manifest.members["notes.txt"].size == 5


def test_the_wrong_digest_is_refused(tmp_path: Path, manifest: Manifest) -> None:
    digest = bundle.write(tmp_path / "x", manifest, members())
    with pytest.raises(BundleError, match=f"x: expected bundle {'0' * 64}, got {digest}"):
        bundle.load(tmp_path / "x", digest="0" * 64)


def test_a_refused_bundle_leaves_the_old_file_and_no_litter(
    tmp_path: Path, manifest: Manifest
) -> None:
    path = tmp_path / "x"
    bundle.write(path, manifest, members())
    before = path.read_bytes()
    with pytest.raises(BundleError, match=r"model\.tflite: expected a TFLite model"):
        bundle.write(path, manifest, members(**{bundle.MODEL: b"not a model"}))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_says_where(tmp_path: Path, manifest: Manifest) -> None:
    with pytest.raises(
        BundleError, match=r"absent/x: expected to write the bundle, got: .*No such"
    ):
        bundle.write(tmp_path / "absent" / "x", manifest, members())


def test_a_missing_member_is_named(tmp_path: Path, manifest: Manifest) -> None:
    parts = members()
    del parts[bundle.GOLDEN]
    with pytest.raises(BundleError, match=r"golden\.bin: expected this member, got none"):
        bundle.write(tmp_path / "x", manifest, parts)


def test_golden_windows_of_another_shape_are_refused(tmp_path: Path, manifest: Manifest) -> None:
    wrong = golden.Golden(np.zeros((1, 5, 2)), np.array([0.5]), np.full((1, 2), 0.5))
    with pytest.raises(BundleError, match=r"expected windows of \(4, 2\), got \(5, 2\)"):
        bundle.write(tmp_path / "x", manifest, members(**{bundle.GOLDEN: golden.encode(wrong)}))


def test_a_golden_score_on_the_edge_proves_nothing(tmp_path: Path, manifest: Manifest) -> None:
    edge = golden.Golden(np.zeros((1, 4, 2)), np.array([1.005]), np.full((1, 2), 0.5))
    with pytest.raises(BundleError, match=r"farther than epsilon 0\.01 from 1\.0"):
        bundle.write(tmp_path / "x", manifest, members(**{bundle.GOLDEN: golden.encode(edge)}))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_golden_numbers_are_finite(bad: float) -> None:
    data = golden.encode(golden.Golden(np.zeros((1, 4, 2)), np.array([bad]), np.full((1, 2), 0.5)))
    with pytest.raises(BundleError, match="g: expected finite numbers"):
        golden.decode(data, where="g")


def test_golden_counts_that_lie_are_refused_before_memory_is_taken() -> None:
    data = bytearray(golden_bytes())
    data[12:16] = b"\xff\xff\xff\x7f"  # T
    with pytest.raises(BundleError, match=r"expected .* bytes, got"):
        golden.decode(bytes(data), where="g")


def test_canonical_text_has_one_form() -> None:
    written = canonical.dumps({"é": 1e16, "a": [1, -0.0, None]})
    assert written.decode() == '{"a":[1,-0.0,null],"é":1e+16}'


@pytest.mark.parametrize(
    "text",
    [b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1.50}', b'{"a":NaN}', b'{"a":1e999}',
     b'"\\u00e9"', b'"\\ud800"', b"\xef\xbb\xbf1", "1".encode("utf-16"), b"1\n", b"",
     b"[" * 100_000, b"1" * 5000],
    ids=range(14),
)  # fmt: skip
def test_any_other_form_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical.loads(text)
