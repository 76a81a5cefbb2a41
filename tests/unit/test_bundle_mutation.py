"""Whatever happens to the bytes: refused with a `BundleError`, or the very same bundle."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundle_parts import TINY, golden_bytes, members, packed
from chance import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_bundle_manifest import VALUES

from offbeat_edge import archive, bundle, canonical, golden, modelfile
from offbeat_edge import manifest as manifests
from offbeat_edge.errors import BundleError

if TYPE_CHECKING:
    from offbeat_edge.manifest import Manifest

SMALL = (Path(__file__).parent / "data" / "small_lstm.tflite").read_bytes()
# The fixture is frozen data, so that sharing it between examples is safe.
shared = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(300)
)
FLIPS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=2
)


def flipped(data: bytes, flips: list[tuple[float, int]]) -> bytes:
    changed = bytearray(data)
    for place, mask in flips:
        changed[int(place * len(data))] ^= mask
    return bytes(changed)


def paths(document: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:  # noqa: ANN401
    """Every place in a JSON document."""
    if isinstance(document, dict):
        inner = [paths(value, (*above, key)) for key, value in document.items()]
    elif isinstance(document, list):
        inner = [paths(value, (*above, index)) for index, value in enumerate(document)]
    else:
        inner = []
    return [*([above] if above else []), *(path for found in inner for path in found)]


@shared
@given(flips=FLIPS)
def test_one_or_two_changed_bytes_are_seen(
    manifest: Manifest, flips: list[tuple[float, int]]
) -> None:
    good = packed(manifest)
    changed = flipped(good, flips)
    if changed == good:
        bundle.parse(changed, where="x")
        return
    with pytest.raises(BundleError, match=r"^x: "):
        bundle.parse(changed, where="x")


@shared
@given(data=st.data())
def test_any_value_anywhere_in_a_well_formed_manifest_is_taken_or_refused(
    manifest: Manifest, data: st.DataObject
) -> None:
    document: Any = canonical.loads(manifests.seal(manifest, members()))
    *steps, last = data.draw(st.sampled_from(paths(document)))
    place = document
    for step in steps:
        place = place[step]
    if data.draw(st.booleans()):
        place[last] = data.draw(VALUES)
    else:
        del place[last]
    whole = archive.pack({**members(), bundle.MANIFEST: canonical.dumps(document)})
    with contextlib.suppress(BundleError):
        bundle.parse(whole, where="x")


@shared
@given(flips=FLIPS)
def test_any_golden_bytes_are_read_or_refused(flips: list[tuple[float, int]]) -> None:
    with contextlib.suppress(BundleError):
        golden.decode(flipped(golden_bytes(), flips), where="x")


@shared
@given(flips=FLIPS, cut=st.floats(0, 1))
def test_any_model_bytes_are_read_or_refused(flips: list[tuple[float, int]], cut: float) -> None:
    for model, read in ((TINY, modelfile.read), (SMALL, modelfile.linear_path)):
        changed = flipped(model, flips)
        with contextlib.suppress(BundleError):
            read(changed[: int(cut * len(changed))], where="x")


@shared
@given(junk=st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(junk: bytes) -> None:
    with pytest.raises(BundleError):
        bundle.parse(junk, where="x")
    with pytest.raises(BundleError):
        bundle.parse(b"PK\x03\x04" + junk, where="x")
