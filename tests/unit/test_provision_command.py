"""`offbeat provision` as it is typed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography", reason="the extra `provision` is not installed")

from offbeat_edge import cli

if TYPE_CHECKING:
    from pathlib import Path


def test_from_nothing_to_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = str(tmp_path / "site")
    assert (
        cli.main(["provision", "init", site, "--host", "broker.plant", "--host", "10.0.0.7"]) == 0
    )
    assert cli.main(["provision", "gateway", site, "gw1", "--topic", "plant/#"]) == 0
    assert cli.main(["provision", "source", site, "plc1", "--topic", "plant/a/#"]) == 0
    assert cli.main(["provision", "person", site, "ana", "--rights", "operator"]) == 0
    assert cli.main(["provision", "trainer", site, "nightly"]) == 0
    assert cli.main(["provision", "console", site, "web"]) == 0
    assert cli.main(["provision", "revoke", site, "plc1"]) == 0
    capsys.readouterr()
    assert cli.main(["provision", "status", site]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "authority", "server", "ana", "gw1", "nightly", "plc1", "web"
    ]  # fmt: skip
    assert "10.0.0.7" in lines[1]
    assert lines[5].split() == ["plc1", "revoked", "source", "plant/a/#"]


def test_all_that_is_wrong_is_said_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = str(tmp_path / "site")
    cli.main(["provision", "init", site, "--host", "broker.plant"])
    assert cli.main(["provision", "gateway", site, "fleet", "--topic", "#"]) == 78
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert all(line.startswith("offbeat provision: ") for line in told)


@pytest.mark.parametrize("host", ["", "a b", "x" * 300, "http://broker"])
def test_a_host_that_cannot_be_one_is_refused(
    tmp_path: Path, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["provision", "init", str(tmp_path / "site"), "--host", host]) == 78
    assert "--host: expected" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_an_authority_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["provision", "status", str(tmp_path)]) == 78
    assert "offbeat provision init makes it" in capsys.readouterr().err


def test_an_unwritable_place_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["provision", "init", str(tmp_path / "file" / "x"), "--host", "a"]) == 78
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_device_need_not_have_cryptography() -> None:
    code = (
        "import sys; from offbeat_edge import cli; cli.main([]);"
        "print('cryptography' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
