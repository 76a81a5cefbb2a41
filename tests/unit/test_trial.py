"""A bundle is tried once, in a child; what fails runs on statistics and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from bundle_parts import ABORTS_AT, TINY, answered, members

from offbeat_edge import bundle
from offbeat_edge.knownanswer import check_in_child
from offbeat_edge.model import open_model
from offbeat_edge.trial import refusal

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.knownanswer import KnownAnswer
    from offbeat_edge.manifest import Manifest


@pytest.fixture
def path(tmp_path: Path, manifest: Manifest) -> Path:
    bundle.write(tmp_path / "x.bundle", *answered(manifest))
    return tmp_path / "x.bundle"


def test_a_good_bundle_is_tried_once_and_remembered(path: Path, tmp_path: Path) -> None:
    tried: list[str] = []

    def check(name: str, *, digest: str) -> KnownAnswer:
        tried.append(name)
        return check_in_child(name, digest=digest)

    loaded = bundle.load(path)
    for _ in range(2):
        assert refusal(str(path), loaded, folder=tmp_path / "trials", check=check) is None
    assert tried == [str(path)]


def test_wrong_answers_are_refused_every_time(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "x.bundle"
    bundle.write(path, manifest, members())  # golden scores that nobody computed
    for _ in range(2):
        told = refusal(str(path), bundle.load(path), folder=tmp_path / "trials")
        assert told is not None
        assert "golden scores" in told


def test_a_model_that_aborts_the_process_is_refused_and_statistics_take_over(
    tmp_path: Path, manifest: Manifest
) -> None:
    path = tmp_path / "x.bundle"
    fatal = bytearray(TINY)
    fatal[ABORTS_AT[0]] ^= ABORTS_AT[1]
    bundle.write(path, manifest, members(**{bundle.MODEL: bytes(fatal)}))
    loaded = bundle.load(path)
    told = refusal(str(path), loaded, folder=tmp_path / "trials")
    assert told is not None
    model = open_model(loaded, config_digest="c", refused=told)
    assert model.degraded == told
    judged = model.judge(np.array([[[10.0, 20.0]] * 4, [[90.0, 90.0]] * 4]))
    assert judged.score[0] < 1.0 < judged.score[1]


def test_a_disk_that_takes_nothing_costs_a_trial_no_more(path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert refusal(str(path), bundle.load(path), folder=tmp_path / "file" / "trials") is None
