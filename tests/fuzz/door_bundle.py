"""The bundle: its archive, its manifest, its golden windows, its model file."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path

sys.path += [str(Path(__file__).parent.parent / place) for place in ("unit", "integration")]

import numpy as np
from bundle_parts import golden_bytes
from rig import make_bundle

from offbeat_edge import archive, bundle, canonical, golden, modelfile
from offbeat_edge import manifest as manifests
from offbeat_edge.errors import BundleError


def _bundle_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.offbeat"
        make_bundle(path)
        return path.read_bytes()


WHOLE = _bundle_file()
MEMBERS = archive.unpack(WHOLE, where="seed")
STUB = b"\x00\x00\x00\x00TFL3"  # a model as far as the bundle reader looks
MANIFEST = manifests.decode(MEMBERS[bundle.MANIFEST], where="seed")
SMALL = {bundle.MODEL: STUB, bundle.GOLDEN: golden_bytes()}
SEALED = manifests.seal(MANIFEST, SMALL)
LITTLE = archive.pack({**SMALL, bundle.MANIFEST: SEALED})


def unpacked(data: bytes) -> None:
    try:
        members = archive.unpack(data, where="x")
    except BundleError as error:
        assert str(error).startswith("x: ")  # noqa: PT017 - a target is no test
        return
    assert archive.pack(members) == data


def whole(data: bytes) -> None:
    try:
        bundle.parse(data, where="x")
    except BundleError as error:
        assert str(error).startswith("x: ")  # noqa: PT017


def manifest(data: bytes) -> None:
    """A document in perfect form around whatever the bytes say, members' digests set right."""
    with contextlib.suppress(BundleError):
        manifests.decode(data, where="x")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(document, dict) and isinstance(document.get("members"), dict):
        document["members"] = json.loads(SEALED)["members"]
    try:
        again = canonical.dumps(document)
    except (ValueError, TypeError, RecursionError):
        return
    whole(archive.pack({**SMALL, bundle.MANIFEST: again}))


def golden_windows(data: bytes) -> None:
    try:
        found = golden.decode(data, where="x")
    except BundleError:
        return
    assert np.isfinite(found.windows).all()


def model_file(data: bytes) -> None:
    for read in (modelfile.read, modelfile.linear_path):
        try:
            read(data, where="x")
        except BundleError as error:
            assert str(error).startswith("x: ")  # noqa: PT017


SMALL_MODEL = Path(__file__).parents[1] / "unit" / "data" / "small_lstm.tflite"
MODELS = (MEMBERS[bundle.MODEL], SMALL_MODEL.read_bytes())
GOLDENS = (golden_bytes(), MEMBERS[bundle.GOLDEN])
