"""The tutorial, to the letter: its commands run as they stand, on a recording that is made up.

One liberty: training is cut short.  In a network namespace of its own, so that
the broker's usual port is free.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from math import sin
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMESPACE = ["unshare", "--net", "--pid", "--fork", "sh", "-ec"]
ROWS, LIVE_ROWS, SPOILT_FROM = 1500, 300, 150
FIT, SHORT = "offbeat fit history.csv", " --epochs 2 --units 8"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip", "mosquitto_sub"))),
        reason="needs root, unshare, ip and Mosquitto's clients",
    ),
]


def recording(path: Path, first: int, rows: int, spoilt_from: int | None = None) -> None:
    """Write a rig of three sensors; from some row on the flow no longer follows the speed."""
    chance = random.Random(first)
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    with path.open("w", newline="") as file:
        out = csv.writer(file, delimiter=";")
        out.writerow(["when", "speed", "flow", "bearing heat"])
        for n in range(first, first + rows):
            speed = 1000 + 200 * sin(n / 40) + chance.gauss(0, 3)
            flow = speed / 25 + chance.gauss(0, 0.2)
            if spoilt_from is not None and n - first >= spoilt_from:
                flow = 30.0 + chance.gauss(0, 0.2)
            heat = 45 + speed / 200 + chance.gauss(0, 0.05)
            at = (begin + timedelta(seconds=10 * n)).strftime("%Y-%m-%d %H:%M:%S")
            out.writerow([at, f"{speed:.2f}", f"{flow:.3f}", f"{heat:.3f}"])


def test_it_ends_in_an_alert_on_data_of_ones_own(tmp_path: Path) -> None:
    recording(tmp_path / "history.csv", 0, ROWS)
    recording(tmp_path / "today.csv", ROWS, LIVE_ROWS, SPOILT_FROM)
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) >= 8
    script = tmp_path / "tutorial.sh"
    assert FIT in blocks[0]
    script.write_text("set -eu\n" + "".join(blocks).replace(FIT, FIT + SHORT))
    names = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    names["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [*NAMESPACE, "ip link set lo up && exec timeout 200 bash tutorial.sh"],
        cwd=tmp_path, env=names, capture_output=True, text=True, check=False,
    )  # fmt: skip
    log = (tmp_path / "edge.log").read_text() if (tmp_path / "edge.log").exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + log
    alert = json.loads((tmp_path / "alert.json").read_text())
    assert (alert["asset"], alert["kind"]) == ("machine1", "anomaly")
    assert alert["contributions"][0]["sensor"] == "flow"
    assert alert["message"] in done.stdout  # what replay had announced
    assert "<svg" in (tmp_path / "before.html").read_text()
