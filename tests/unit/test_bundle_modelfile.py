from __future__ import annotations

import struct
from pathlib import Path

import msgspec
import numpy as np
import pytest
from bundle_parts import TINY

from offbeat_edge import modelfile
from offbeat_edge.errors import BundleError
from offbeat_edge.modelfile import ModelFile, Op
from offbeat_edge.schema import Runtime

OLD = Runtime(name="tflite-runtime", version="2.14.0", arch="aarch64", delegate="none")
SMALL = (Path(__file__).parent / "data" / "small_lstm.tflite").read_bytes()
NEW = Runtime(name="ai-edge-litert", version="2.3.0", arch="aarch64", delegate="none")


def one(op: Op) -> ModelFile:
    return ModelFile(ops=(op,), inputs=(), outputs=())


def test_operators_and_ends_are_read_without_a_runtime() -> None:
    found = modelfile.read(TINY, where="tiny")
    assert {op.name: op.uses for op in found.ops if op.version == 2} == {
        "ADD": 12, "CONCATENATION": 2, "LOGISTIC": 8, "MUL": 22, "SPLIT": 9,
        "STRIDED_SLICE": 8, "TANH": 16,
    }  # fmt: skip
    assert [(port.type, port.shape) for port in found.inputs] == [
        ("int8", (1, 4, 2)),
        ("int16", (1, 4, 2)),
    ]
    assert not any(op.per_channel for op in found.ops)


def test_our_own_model_loads_on_both_runtimes() -> None:
    found = modelfile.read(TINY, where="tiny")
    assert modelfile.unloadable(found, OLD) == []
    assert modelfile.unloadable(found, NEW) == []


def test_an_operator_version_only_the_new_runtime_has_is_told() -> None:
    model = one(Op(name="FULLY_CONNECTED", version=12, uses=1, per_channel=False))
    assert modelfile.unloadable(model, OLD) == [
        "FULLY_CONNECTED: expected version <= 10 for tflite-runtime, got 12"
    ]
    assert modelfile.unloadable(model, NEW) == []


def test_weights_per_channel_crash_the_old_runtime_on_arm_and_nowhere_else() -> None:
    model = one(Op(name="FULLY_CONNECTED", version=4, uses=1, per_channel=True))
    assert "got per channel" in modelfile.unloadable(model, OLD)[0]
    assert modelfile.unloadable(model, NEW) == []
    intel = msgspec.structs.replace(OLD, arch="x86_64")
    assert modelfile.unloadable(model, intel) == []


def test_an_operator_out_of_the_table_is_refused() -> None:
    # ADD's code is the default 0 and not in the file; TANH's stands there twice.
    at = TINY.index((28).to_bytes(4, "little"))
    loop = TINY[:at] + (119).to_bytes(4, "little") + TINY[at + 4 :]
    with pytest.raises(BundleError, match="x: expected a known operator, got builtin code 119"):
        modelfile.read(loop, where="x")


@pytest.mark.parametrize("data", [b"", b"1234", bytes(64), b"\xff" * 64, TINY[:400]])
def test_offsets_out_of_the_file_are_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="x: expected"):
        modelfile.read(data, where="x")


def named() -> tuple[int, bytes]:
    """Where SMALL's note of its linear path starts, and the two numbers it begins with."""
    path = modelfile.linear_path(SMALL, where="small")
    assert path is not None
    rest = b"".join(
        (matrix.values - modelfile.FINER * np.rint(matrix.values / modelfile.FINER))
        .astype(np.int8)
        .tobytes()
        for matrix in path[:2]
    )
    at = SMALL.index(rest) - 8
    return at, SMALL[at : at + 8]


def test_the_linear_path_is_read_to_fifteen_bits() -> None:
    path = modelfile.linear_path(SMALL, where="small")
    assert path is not None
    inward, outward, judged, _ = path
    assert judged.tolist() == [True, True]
    assert inward.values.shape == (2, 16)
    assert outward.values.shape == (16, 2)
    for matrix in path[:2]:
        assert 127 * modelfile.FINER <= np.abs(matrix.values).max() < 128 * modelfile.FINER
        assert (matrix.values % modelfile.FINER).any()
    # Twice through is through once: components that are orthogonal, with gains a little below 1.
    kept = (inward.values * inward.scale) @ (outward.values * outward.scale)
    np.testing.assert_allclose(kept, np.diag(np.diagonal(kept)), atol=1e-3)
    assert 0.8 < np.diagonal(kept).min() <= np.diagonal(kept).max() < 1.0


def test_what_parts_side_by_side_mean_is_read() -> None:
    path = modelfile.linear_path(SMALL, where="small")
    assert path is not None
    assert path.reaches is not None
    at = SMALL.index(struct.pack("<2f", *path.reaches))
    for reach in (0.0, -1.0, float("nan"), float("inf")):
        broken = SMALL[:at] + struct.pack("<f", reach) + SMALL[at + 4 :]
        with pytest.raises(BundleError, match="x: expected parts with reaches above 0"):
            modelfile.linear_path(broken, where="x")


def test_a_model_that_names_no_linear_path_has_none() -> None:
    assert modelfile.linear_path(TINY, where="tiny") is None


@pytest.mark.parametrize(
    ("numbers", "message"),
    [((0, 0), "int8 matrix"), ((-1, 1), "index below"), ((10**6, 1), "index below")],
)
def test_a_linear_path_of_other_tensors_is_refused(numbers: tuple[int, int], message: str) -> None:
    at, _ = named()
    broken = SMALL[:at] + struct.pack("<2i", *numbers) + SMALL[at + 8 :]
    with pytest.raises(BundleError, match=f"x: expected an? .*{message}"):
        modelfile.linear_path(broken, where="x")


def test_a_linear_path_that_does_not_fit_together_is_refused() -> None:
    at, own = named()
    broken = SMALL[:at] + own[:4] + own[:4] + SMALL[at + 8 :]
    with pytest.raises(BundleError, match="there and back"):
        modelfile.linear_path(broken, where="x")


@pytest.mark.parametrize("data", [b"", b"1234", b"\xff" * 64, SMALL[:400]])
def test_a_linear_path_out_of_the_file_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="x: expected"):
        modelfile.linear_path(data, where="x")
