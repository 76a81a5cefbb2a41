from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from bundle_parts import ABORTS_AT, SMALL, TINY, answered, members

from offbeat_edge import bundle, golden, knownanswer
from offbeat_edge.errors import BundleError, ModelError, RuntimeUnavailable
from offbeat_edge.interpreter import Interpreter
from offbeat_edge.schema import Runtime

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from offbeat_edge.manifest import Manifest


class OffBy:
    """The real model, every reconstruction a little off, on a runtime of that name."""

    def __init__(self, off: float, version: str) -> None:
        self._real = Interpreter(TINY)
        self._off = off
        self.runtime = msgspec.structs.replace(self._real.runtime, version=version)

    def reconstruct(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._real.reconstruct(windows) + self._off


class Fails:
    runtime = Runtime(name="ai-edge-litert", version="0", arch="x", delegate="none")

    def reconstruct(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        raise ModelError(f"out of luck with {len(windows)} windows")


@pytest.fixture
def path(tmp_path: Path, manifest: Manifest) -> Path:
    bundle.write(tmp_path / "x.bundle", *answered(manifest))
    return tmp_path / "x.bundle"


def test_where_it_was_made_the_answer_is_exact(path: Path) -> None:
    found = knownanswer.check(bundle.load(path))
    assert (found.ok, found.tier, found.max_diff) == (True, "exact", 0.0)


def test_one_bit_off_is_bad_where_exactness_was_recorded(path: Path) -> None:
    loaded = bundle.load(path)
    here = Interpreter(TINY).runtime.version
    found = knownanswer.check(loaded, OffBy(1e-12, here))
    assert (found.ok, found.tier) == (False, "exact")
    assert found.reason == "golden scores not equal to the bit"


def test_elsewhere_a_little_off_is_good(path: Path) -> None:
    found = knownanswer.check(bundle.load(path), OffBy(1e-3, "elsewhere"))
    assert (found.ok, found.tier) == (True, "bounded")
    assert found.max_diff is not None
    assert 0.0 < found.max_diff <= 0.01


def test_elsewhere_more_than_epsilon_off_is_bad(path: Path) -> None:
    found = knownanswer.check(bundle.load(path), OffBy(0.5, "elsewhere"))
    assert (found.ok, found.tier) == (False, "bounded")
    assert "epsilon 0.01" in found.reason


def test_scores_that_are_not_numbers_are_bad(path: Path) -> None:
    found = knownanswer.check(bundle.load(path), OffBy(np.nan, "elsewhere"))
    assert not found.ok
    assert found.max_diff is None


def test_a_failing_invocation_is_a_bundle_error(path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.tflite: out of luck with"):
        knownanswer.check(bundle.load(path), Fails())


def test_a_manifest_that_lies_about_shapes_is_refused_before_the_model_runs(
    tmp_path: Path, manifest: Manifest
) -> None:
    lie = msgspec.structs.replace(manifest, model=msgspec.structs.replace(manifest.model, window=6))
    windows = golden.Golden(np.zeros((1, 6, 2)), np.array([0.5]), np.full((1, 2), 0.5))
    bundle.write(tmp_path / "x", lie, members(**{bundle.GOLDEN: golden.encode(windows)}))
    with pytest.raises(BundleError, match="expected windows of 6 steps x 2 sensors"):
        knownanswer.check(bundle.load(tmp_path / "x"), Fails())


def test_a_model_whose_parts_stand_side_by_side_is_run(tmp_path: Path, manifest: Manifest) -> None:
    wide = msgspec.structs.replace(manifest.model, window=8)
    windows = golden.Golden(np.zeros((1, 8, 2)), np.array([0.5]), np.full((1, 2), 0.5))
    parts = members(**{bundle.MODEL: SMALL, bundle.GOLDEN: golden.encode(windows)})
    bundle.write(tmp_path / "x", msgspec.structs.replace(manifest, model=wide), parts)
    assert knownanswer.check(bundle.load(tmp_path / "x")).max_diff is not None


def test_the_child_gives_the_same_answer(path: Path) -> None:
    loaded = bundle.load(path)
    found = knownanswer.check_in_child(path, timeout_s=60, digest=loaded.digest)
    assert found == knownanswer.check(loaded)


def test_the_child_is_held_to_the_digest(path: Path) -> None:
    with pytest.raises(BundleError, match=r"x\.bundle: expected bundle 000"):
        knownanswer.check_in_child(path, timeout_s=60, digest="0" * 64)


def test_a_model_that_aborts_its_process_does_not_abort_ours(
    tmp_path: Path, manifest: Manifest
) -> None:
    at, mask = ABORTS_AT
    poison = bytearray(TINY)
    poison[at] ^= mask
    path = tmp_path / "poison.bundle"
    bundle.write(path, *answered(manifest, model=bytes(poison)))
    with pytest.raises(BundleError, match=r"poison\.bundle: .*got a crash of the runtime"):
        knownanswer.check_in_child(path, timeout_s=60)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("kill -SEGV $$", "crash of the runtime .Segmentation fault."),
        ("echo out of paper >&2; exit 3", "got exit code 3: out of paper"),
        ("echo not json", "got exit code 0"),
        ('echo \'{"error":"no"}\'; exit 78', "^no$"),
        ('echo \'{"answer":{"ok":1}}\'', "got exit code 0"),
    ],
)
def test_a_child_that_misbehaves_is_a_bundle_error(script: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        knownanswer.check_in_child("x", timeout_s=60, program=("/bin/sh", "-c", script))


def test_a_child_that_hangs_is_a_bundle_error() -> None:
    with pytest.raises(BundleError, match=r"x: expected an answer in 0\.2 s, got none"):
        knownanswer.check_in_child("x", timeout_s=0.2, program=("/bin/sh", "-c", "exec sleep 60"))


def test_a_missing_runtime_is_not_the_bundles_fault() -> None:
    script = 'echo \'{"error":"none","kind":"RuntimeUnavailable"}\'; exit 78'
    with pytest.raises(RuntimeUnavailable, match="none"):
        knownanswer.check_in_child("x", timeout_s=60, program=("/bin/sh", "-c", script))
