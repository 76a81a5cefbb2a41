from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from bundle_parts import answered

from offbeat_edge import bundle
from offbeat_edge.cli import main
from offbeat_edge.follow import FollowSpec

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.manifest import Manifest


@pytest.fixture
def path(tmp_path: Path, manifest: Manifest) -> Path:
    flow, heat = manifest.sensors
    often = msgspec.structs.replace(heat, quiet_steps=9, sentinels=(-999.0,), absent=(-999.0,))
    told = msgspec.structs.replace(
        manifest,
        sensors=(flow, often),
        calibration={"rows": 5000, "method": "quantile", "evil": "\x1b[2J"},
        follow=FollowSpec(windows=15, factor=1.5, most=2.0),
    )
    bundle.write(tmp_path / "x.bundle", *answered(told))
    return tmp_path / "x.bundle"


def test_people_are_told_what_is_in_a_bundle(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    for line in (
        f"tiny 1, {path}",
        f"  digest        {bundle.load(path).digest}",
        "  signature     none",
        "  grid          a step every 1 s, a window of 4 steps (4 s) every 2 s, a missing",
        "  follows       1.5 x an asset's mean score of 1 min, up to 2",
        "-50 ..     1 s    6 steps      9 steps        -999        yes",
        "  rows          5000",
        "  seed          0",
        "  good, exact: golden scores equal to the bit",
    ):
        assert line in text
    assert "\x1b" not in text


def test_machines_get_one_json_object(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--json", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "1.0"
    assert found["digest"] == bundle.load(path).digest
    assert found["known_answer"]["ok"] is True
    assert found["manifest"]["sensors"][0]["name"] == "flow"
    assert {"name": "TANH", "version": 2, "uses": 16, "per_channel": False} in found["operators"]


def test_a_bundle_with_other_answers_than_it_should_is_told_and_refused(
    tmp_path: Path, manifest: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    listed, parts = answered(manifest)
    (check,) = listed.runtimes
    lie = msgspec.structs.replace(check, scores_sha256="0" * 64)
    bundle.write(tmp_path / "x", msgspec.structs.replace(listed, runtimes=(lie,)), parts)
    assert main(["inspect", str(tmp_path / "x")]) == 78
    assert "  BAD, exact: golden scores not equal to the bit" in capsys.readouterr().out


def test_a_broken_file_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").write_bytes(b"PK\x03\x04")
    assert main(["inspect", str(tmp_path / "x")]) == 78
    told = capsys.readouterr()
    assert told.out == ""
    assert "x: truncated in the header of a member at byte 0" in told.err
