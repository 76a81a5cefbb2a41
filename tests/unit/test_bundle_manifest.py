"""A manifest in perfect form that says the wrong things."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from bundle_parts import forged, members
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge import bundle, canonical
from offbeat_edge import manifest as manifests
from offbeat_edge.detector import DetectorSpec
from offbeat_edge.errors import BundleError
from offbeat_edge.manifest import Manifest, RuntimeCheck
from offbeat_edge.schema import AlertRule, Lineage, Member, ModelSpec, SensorSpec

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**30, -(2**63), 2**64, 0, -1]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=10),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
)


def put(document: Any, path: str, value: object) -> None:  # noqa: ANN401 - any JSON
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        document = document[step]
    document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema", "2.0", "schema: expected 1.x, got 2.0"),
        ("schema", 1.0, "schema: expected major.minor, got 1.0"),
        ("min_edge", "99.0.0", "min_edge: expected at most 0.1.0"),
        ("min_edge", "new", "min_edge: expected a version x.y.z, got 'new'"),
        ("threshold", 0.0, "threshold: expected above 0"),
        ("threshold", "1", "Expected `float`, got `str`"),
        ("epsilon", -0.1, "epsilon: expected 0 <= epsilon < 1, got -0.1"),
        ("model.name", "../x", "model.name: expected"),
        ("model.window", 0, "model.window: expected 1 to 8192, got 0"),
        ("model.window", 2**40, "model.window: expected 1 to 8192"),
        ("model.stride", 5, "model.stride: expected 1 to 4, got 5"),
        ("model.period_ms", 0, "model.period_ms: expected 1 to"),
        ("sensors", [], "sensors: expected 1 to 512, got 0"),
        ("sensors.1.name", "flow", "expected unique names, got 'flow' again"),
        ("sensors.0.name", "\x1b[2J", "expected 1 to 128 printable characters"),
        ("sensors.0.scale", 0.0, "(flow).scale: expected above 0"),
        ("sensors.0.center", 1e300, "(flow).center: expected a number within"),
        ("sensors.0.high", -1000.0, "(flow): expected low <= high"),
        ("sensors.0.cadence_ms", 0, "cadence_ms: expected 1 to"),
        ("sensors.0.scored", "yes", "Expected `bool`, got `str`"),
        ("detector.rows", 5, "detector.rows: expected 1 to 4, got 5"),
        ("detector.center", [0.0], "detector center: expected 2 scored sensors, got 1"),
        ("detector.precision.0.0", 0.0, "detector.precision[0][0]: expected above 0"),
        ("fallback.level_scale.0", 0.0, "fallback scales: expected above 0"),
        ("fallback.threshold", -1.0, "expected a finite threshold above 0"),
        ("alert.clear_ratio", 1.5, "alert.clear_ratio: expected 0 < ratio <= 1, got 1.5"),
        ("alert.clear_ms", -1, "alert.clear_ms: expected 0 to"),
        ("lineage.data_sha256", "abc", "lineage.data_sha256: expected"),
        ("members", {}, "golden.bin: expected only members of the manifest"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(
    manifest: Manifest, path: str, value: object, message: str
) -> None:
    with pytest.raises(BundleError) as caught:
        bundle.parse(forged(manifest, lambda doc: put(doc, path, value)), where="x")
    assert message in str(caught.value)


def test_all_problems_are_told_at_once(manifest: Manifest) -> None:
    def change(document: dict[str, object]) -> None:
        put(document, "threshold", -1.0)
        put(document, "model.stride", 0)

    with pytest.raises(BundleError) as caught:
        bundle.parse(forged(manifest, change), where="x")
    assert [line.split(": ")[2] for line in str(caught.value).splitlines()] == [
        "model.stride",
        "threshold",
    ]


def test_unknown_fields_of_a_later_minor_are_ignored(manifest: Manifest) -> None:
    def change(document: dict[str, object]) -> None:
        put(document, "schema", "1.7")
        put(document, "novelty", {"a": 1})
        put(document, "sensors.0.colour", "red")

    assert bundle.parse(forged(manifest, change), where="x").manifest.schema == "1.7"


def test_an_older_edge_is_told_so_before_anything_else(manifest: Manifest) -> None:
    data = manifests.seal(manifest, members())
    with pytest.raises(BundleError, match=r"min_edge: expected at most 0\.0\.9 \(this edge\)"):
        manifests.decode(data, where="x", edge="0.0.9")


def test_a_manifest_in_another_form_is_refused(manifest: Manifest) -> None:
    data = manifests.seal(manifest, members()).replace(b'":', b'": ', 1)
    with pytest.raises(BundleError, match="x: expected canonical JSON"):
        manifests.decode(data, where="x")


def test_numbers_json_cannot_hold_are_not_written(manifest: Manifest) -> None:
    bad = msgspec.structs.replace(manifest, calibration={"rate": float("nan")})
    with pytest.raises(BundleError, match="manifest: expected finite JSON values"):
        manifests.seal(bad, {})


@given(value=VALUES)
def test_canonical_json_reads_back_what_it_wrote(value: object) -> None:
    data = canonical.dumps(value)
    assert canonical.dumps(canonical.loads(data)) == data


@pytest.mark.parametrize(
    "kind",
    [Manifest, RuntimeCheck, DetectorSpec, ModelSpec, SensorSpec, AlertRule, Lineage, Member],
)
def test_every_field_stands_in_the_docs(kind: type[msgspec.Struct]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "bundle.md").read_text()
    assert [name for name in kind.__struct_fields__ if f"`{name}`" not in page] == []
