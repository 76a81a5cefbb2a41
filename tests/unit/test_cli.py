"""The command itself: what the user can mend is said in one line, with its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offbeat_edge import cli

if TYPE_CHECKING:
    import pytest


def test_a_folder_that_cannot_be_written_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["simulate", "--duration", "1h", "--out", "/proc/history.csv"]) == 69
    said = capsys.readouterr().err
    assert said.startswith("offbeat simulate: /proc/")
    assert said.count("\n") == 1


def test_a_port_that_does_not_exist_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["broker", "--port", "99999"]) == 75
    said = capsys.readouterr().err
    assert said.startswith("offbeat broker: ")
    assert said.count("\n") == 1
