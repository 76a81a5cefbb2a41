"""``offbeat retrain``, killed at its work, is ended by the next run as if nothing had been."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit"))

from retrain_parts import SENSORS, plant_rows
from rig import wait_for

from offbeat_edge import bundle
from offbeat_train.lake import Writer, open_lake
from offbeat_train.lake.rows import Rows
from offbeat_train.retrain.shelf import DRAFT, JOB, Shelf

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow
LONG_S = 300.0
SIZES = "--period 60s --window 16 --units 4 --epochs 1 --budget 6"


@pytest.fixture
def lake(tmp_path: Path) -> str:
    uri = str(tmp_path / "lake")
    writer = Writer(open_lake(uri).store)
    for asset, (times, values) in plant_rows(pumps=1, days=4).items():
        writer.rows("0000000000000001-a", asset, Rows(times, values, SENSORS))
    return uri


def job(lake: str, registry: Path) -> subprocess.Popen[str]:
    words = ["retrain", "--lake", lake, "--registry", str(registry), "--model", "pump"]
    return subprocess.Popen(
        [sys.executable, "-m", "offbeat_edge.cli", *words, *SIZES.split()],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def ended(lake: str, registry: Path) -> Shelf:
    process = job(lake, registry)
    told, _ = process.communicate()
    assert process.returncode == 0, told
    return Shelf(registry, "pump")


def killed(lake: str, registry: Path, when: Callable[[], bool]) -> None:
    process = job(lake, registry)
    wait_for(lambda: when() or process.poll() is not None, "the moment", timeout_s=LONG_S)
    assert process.poll() is None, "it ended before it could be killed"
    process.kill()
    process.communicate()


def test_a_killed_job_is_ended_by_the_next_to_the_same_bits(lake: str, tmp_path: Path) -> None:
    undisturbed = ended(lake, tmp_path / "calm")
    folder = tmp_path / "killed" / "pump"
    killed(lake, folder.parent, (folder / JOB).exists)
    killed(lake, folder.parent, lambda: any(folder.glob(f"{DRAFT}*/*")))
    shelf = ended(lake, folder.parent)
    (one,), (other,) = undisturbed.versions(), shelf.versions()
    assert shelf.job() is None
    assert not list(folder.glob(f"{DRAFT}*"))
    expected, got = (bundle.load(version.bundle).manifest for version in (one, other))
    assert got.lineage.data_sha256 == expected.lineage.data_sha256
    assert got.members == expected.members
    assert (shelf.champion() is None) == (undisturbed.champion() is None)
