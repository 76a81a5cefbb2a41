"""The registry: whole versions, one champion, one job at a time, whatever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from offbeat_train.errors import RegistryError
from offbeat_train.retrain.shelf import Shelf

if TYPE_CHECKING:
    from pathlib import Path


def add(shelf: Shelf, name: str) -> None:
    with shelf.adding(name) as draft:
        (draft / "bundle.offbeat").write_bytes(b"bundle of " + name.encode())


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "registry", "pump")


def test_an_empty_registry_has_neither_versions_nor_a_champion(shelf: Shelf) -> None:
    assert shelf.versions() == []
    assert shelf.champion() is None
    assert shelf.job() is None


def test_a_version_appears_whole(shelf: Shelf) -> None:
    with shelf.held(), shelf.adding("1") as draft:
        (draft / "bundle.offbeat").write_bytes(b"bundle")
        assert shelf.versions() == []
    assert [version.name for version in shelf.versions()] == ["1"]


def test_a_version_that_failed_half_way_never_was(shelf: Shelf) -> None:
    with shelf.held(), pytest.raises(OSError, match="disk"), shelf.adding("1"):
        raise OSError("disk")
    with shelf.held():
        assert shelf.versions() == []
        assert not list(shelf.folder.glob(".draft*"))


def test_the_champion_changes_hands_once(shelf: Shelf) -> None:
    with shelf.held():
        add(shelf, "1")
        add(shelf, "2")
        shelf.crown("1", instead_of=None)
        shelf.crown("2", instead_of="1")
        shelf.crown("2", instead_of="1")
    champion = shelf.champion()
    assert champion is not None
    assert champion.name == "2"
    assert (shelf.folder / "champion").read_text() == "2\n"


def test_a_version_compared_with_another_champion_is_not_crowned(shelf: Shelf) -> None:
    for name in "123":
        add(shelf, name)
    shelf.crown("1", instead_of=None)
    shelf.crown("2", instead_of="1")
    with pytest.raises(RegistryError, match="expected '1', with which '3' was compared, got '2'"):
        shelf.crown("3", instead_of="1")


def test_a_champion_without_a_bundle_is_an_error(shelf: Shelf) -> None:
    add(shelf, "1")
    shelf.crown("1", instead_of=None)
    (shelf.folder / "1" / "bundle.offbeat").unlink()
    with pytest.raises(RegistryError, match="expected a version with a bundle, got '1'"):
        shelf.champion()


def test_two_jobs_do_not_work_on_one_model(shelf: Shelf) -> None:
    with shelf.held(), pytest.raises(RegistryError, match="another job"), shelf.held():
        pass
    with shelf.held():
        pass


def test_a_taken_name_gets_a_number(shelf: Shelf) -> None:
    add(shelf, "1")
    add(shelf, shelf.free("1"))
    assert shelf.free("1") == "1.3"
    assert [version.name for version in shelf.versions()] == ["1", "1.2"]


@pytest.mark.parametrize("name", ["", "../etc", "Pump", ".job", "a" * 65])
def test_a_name_that_is_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="expected a name"):
        Shelf(tmp_path, name)


def test_a_plan_outlives_the_job_until_it_ends(shelf: Shelf) -> None:
    with shelf.held():
        shelf.begin(b"plan")
    with shelf.held():
        assert shelf.job() == b"plan"
        shelf.end()
        shelf.end()
        assert shelf.job() is None


KILLED = """
import os, signal, sys
from pathlib import Path
from offbeat_train.retrain.shelf import Shelf
shelf = Shelf(Path(sys.argv[1]), "pump")
with shelf.held():
    shelf.begin(b"plan")
    with shelf.adding("1") as draft:
        (draft / "bundle.offbeat").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_job_leaves_its_plan_and_no_version_and_no_lock(shelf: Shelf) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, shelf.folder.parent], check=False, env=dict(os.environ)
    )
    assert done.returncode == -signal.SIGKILL
    assert list(shelf.folder.glob(".draft*"))
    with shelf.held():
        assert shelf.job() == b"plan"
        assert shelf.versions() == []
        assert not list(shelf.folder.glob(".draft*"))
