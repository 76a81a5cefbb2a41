"""The retraining job's systemd unit and timer."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from offbeat_train import retrain_command

UNITS = Path(__file__).parents[2] / "train" / "systemd"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    for name in ("offbeat-retrain.service", "offbeat-retrain.timer"):
        text = (UNITS / name).read_text().replace("/usr/local/bin/offbeat", "/bin/true")
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *tmp_path.iterdir()],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "offbeat-retrain" in line] == []


def test_its_command_line_is_accepted() -> None:
    text = (UNITS / "offbeat-retrain.service").read_text()
    line = re.search(r"^ExecStart=\S+ retrain (.*)$", text, re.MULTILINE)
    assert line is not None
    parser = argparse.ArgumentParser()
    retrain_command.add_arguments(parser)
    parser.parse_args(line[1].split())
