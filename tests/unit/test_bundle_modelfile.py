from __future__ import annotations

import msgspec
import pytest
from bundle_parts import TINY

from offbeat_edge import modelfile
from offbeat_edge.errors import BundleError
from offbeat_edge.modelfile import ModelFile, Op
from offbeat_edge.schema import Runtime

OLD = Runtime(name="tflite-runtime", version="2.14.0", arch="aarch64", delegate="none")
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
