"""Files that try: each refused by `bundle.load` with the reason, nothing unpacked."""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
import zipfile
from typing import TYPE_CHECKING

import pytest
from bundle_parts import golden_bytes, members, packed

from offbeat_edge import archive, bundle
from offbeat_edge import manifest as manifests
from offbeat_edge.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.manifest import Manifest


@pytest.fixture
def parts(manifest: Manifest) -> dict[str, bytes]:
    return {**members(), bundle.MANIFEST: manifests.seal(manifest, members())}


def zipped(
    parts: list[tuple[zipfile.ZipInfo | str, bytes]], method: int = zipfile.ZIP_STORED
) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive_:
        warnings.simplefilter("ignore", UserWarning)  # duplicate names are the point
        for name, data in parts:
            archive_.writestr(name, data, method)
    return file.getvalue()


def refused(data: bytes) -> str:
    with pytest.raises(BundleError) as caught:
        bundle.parse(data, where="x.bundle")
    assert str(caught.value).startswith("x.bundle: ")
    return str(caught.value)


def test_a_zip_bomb_is_never_inflated(parts: dict[str, bytes]) -> None:
    bomb = zipped([(bundle.MODEL, bytes(50_000_000)), *parts.items()], zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    assert "model.tflite: expected a stored member, got compression 8" in refused(bomb)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/b", "..", ".hidden", "C:\\x", "a\x00b", "é", "A"]
)
def test_a_name_with_a_path_is_refused(parts: dict[str, bytes], name: str) -> None:
    info = zipfile.ZipInfo("placeholder")
    info.filename = name
    assert "expected member names of" in refused(zipped([(info, b""), *parts.items()]))


def test_an_empty_name_is_refused(parts: dict[str, bytes]) -> None:
    assert "expected member names of" in refused(archive.pack({**parts, "": b""}))


def test_a_symlink_is_refused(parts: dict[str, bytes]) -> None:
    data = archive.pack(parts)
    mode = struct.pack("<I", 0o100644 << 16)
    link = struct.pack("<I", (stat.S_IFLNK | 0o777) << 16)
    assert "expected plain files of mode 100644, got mode 120777" in refused(
        data.replace(mode, link)
    )


def test_two_members_of_one_name_are_refused(parts: dict[str, bytes]) -> None:
    double = zipped([*parts.items(), (bundle.MODEL, b"0000TFL3 other")])
    assert refused(double)  # an ordinary zip is refused for its dates already
    one = archive.pack({bundle.MODEL: b"x"})
    body = one[: one.index(b"PK\x01\x02")]
    assert "expected one member, got two of that name" in refused(body + body)


def test_a_member_the_manifest_does_not_list_is_refused(parts: dict[str, bytes]) -> None:
    message = refused(archive.pack({**parts, "run.sh": b"#!"}))
    assert "run.sh: expected only members of the manifest" in message


def test_too_many_members_are_refused(parts: dict[str, bytes]) -> None:
    many = {**parts, **{f"m{i}": b"" for i in range(20)}}
    assert "expected at most 16 members" in refused(archive.pack(many))


def test_a_file_without_a_manifest_is_refused() -> None:
    assert "expected a member manifest.json" in refused(archive.pack(members()))


def test_another_model_under_the_old_manifest_is_refused(parts: dict[str, bytes]) -> None:
    swapped = parts[bundle.MODEL][:-1] + b"\x01"
    message = refused(archive.pack({**parts, bundle.MODEL: swapped}))
    assert "model.tflite: expected SHA-256" in message


def test_a_member_of_another_size_is_refused(parts: dict[str, bytes]) -> None:
    message = refused(archive.pack({**parts, bundle.GOLDEN: golden_bytes() + b"x"}))
    size = len(golden_bytes())
    assert f"golden.bin: expected {size} bytes, got {size + 1}" in message


def test_bytes_after_the_end_are_refused(manifest: Manifest) -> None:
    assert "got 4 more at the end" in refused(packed(manifest) + b"tail")


def test_bytes_before_the_start_are_refused(manifest: Manifest) -> None:
    assert "expected a zip file" in refused(b"#!/bin/sh\n" + packed(manifest))


def test_an_archive_comment_is_refused(manifest: Manifest) -> None:
    data = packed(manifest)
    assert refused(data[:-2] + b"\x02\x00hi")


def test_every_truncation_is_refused(manifest: Manifest) -> None:
    data = packed(manifest)
    for length in range(0, len(data), 7):
        assert refused(data[:length])


def test_an_endless_signature_is_refused(parts: dict[str, bytes]) -> None:
    message = refused(archive.pack({**parts, bundle.SIGNATURE: bytes(bundle.SIGNATURE_MAX + 1)}))
    assert "manifest.sig: expected at most 4096 bytes, got 4097" in message


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(BundleError, match=f"expected at most {bundle.BUNDLE_MAX} bytes"):
        bundle.load(path)


def test_a_fifo_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BundleError, match="fifo: expected a regular file"):
        bundle.load(tmp_path / "fifo")


@pytest.mark.parametrize("name", ["absent", "", "folder"])
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BundleError, match="expected a"):
        bundle.load(tmp_path / name)
