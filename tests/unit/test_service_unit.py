"""The systemd unit is well-formed, and as closed as we say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "edge" / "systemd" / "offbeat.service"
UNITS = [UNIT, ROOT / "console" / "systemd" / "offbeat-console.service"]
EXPOSURE = 1.5  # of 10; what `systemd-analyze security` may say at most

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@needs_systemd
@pytest.mark.parametrize("shipped", UNITS, ids=lambda path: path.stem)
def test_systemd_understands_every_line(shipped: Path, tmp_path: Path) -> None:
    unit = tmp_path / shipped.name
    unit.write_text(shipped.read_text().replace("/usr/local/bin/offbeat", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if shipped.name in line] == []


@needs_systemd
@pytest.mark.parametrize("shipped", UNITS, ids=lambda path: path.stem)
def test_the_exposure_stays_low(shipped: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", shipped],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    if found is None:
        pytest.skip("this systemd cannot judge a unit offline")
    assert float(found[1]) <= EXPOSURE


def test_it_is_a_notify_service_with_a_watchdog() -> None:
    lines = UNIT.read_text().splitlines()
    assert "Type=notify" in lines
    assert any(line.startswith("WatchdogSec=") for line in lines)
