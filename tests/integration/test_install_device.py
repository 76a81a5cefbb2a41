"""install-device.sh on a copy of this machine: an overlay over its root, thrown away afterwards.

The program is a made-up wheel, so that a test takes seconds; .ci/device installs the real one on
Bookworm and Trixie.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAKE = """
import sys
def main():
    print("offbeat {version}" if "--version" in sys.argv else sys.argv[1:])
    return 78 if "check-config" in sys.argv and "wrong" in open(sys.argv[-1]).read() else 0
"""
METADATA = "Metadata-Version: 2.1\nName: offbeat\nVersion: {version}\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
ENTRY = "[console_scripts]\noffbeat = offbeat_fake:main\n"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0
    or any(
        shutil.which(name) is None
        for name in ("unshare", "systemctl", "useradd", "/usr/bin/python3")
    )
    or subprocess.run(
        ["/usr/bin/python3", "-c", "import ensurepip"], check=False, capture_output=True
    ).returncode
    != 0,
    reason="needs root, unshare, systemd and Debian's python3-venv",
)


class Device:
    """The machine's own root under an overlay, in a mount namespace for each command."""

    def __init__(self, folder: Path) -> None:
        self.top, self.root = folder / "top", folder / "root"
        self._work = folder / "work"
        self.given = self.top / "given"  # /given on the device
        for place in (self.top, self.root, self._work, self.given / "edge" / "systemd"):
            place.mkdir(parents=True)
        shutil.copy(ROOT / "install-device.sh", self.given)
        shutil.copy(ROOT / "edge/systemd/offbeat.service", self.given / "edge/systemd")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        layers = f"lowerdir=/,upperdir={self.top},workdir={self._work}"
        script = (
            f"mount -t overlay overlay -o {layers} {self.root} && "
            f"mount -t proc proc {self.root}/proc && mount -t tmpfs none {self.root}/run && "
            f'exec chroot {self.root} "$@"'
        )
        clean = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        return subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", script, "sh", *words],
            capture_output=True, text=True, check=False, env=clean, timeout=120,
        )  # fmt: skip

    def install(self, *words: str) -> str:
        done = self.run("/given/install-device.sh", "install", "--from", "/given/wheels", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def path(self, path: str) -> Path:
        return self.top / path.lstrip("/")

    def wheel(self, version: str) -> None:
        folder = self.given / "wheels"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        info = f"offbeat-{version}.dist-info"
        with zipfile.ZipFile(folder / f"offbeat-{version}-py3-none-any.whl", "w") as file:
            file.writestr("offbeat_fake.py", FAKE.format(version=version))
            file.writestr(f"{info}/METADATA", METADATA.format(version=version))
            file.writestr(f"{info}/WHEEL", WHEEL)
            file.writestr(f"{info}/entry_points.txt", ENTRY)
            file.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    made = Device(tmp_path_factory.mktemp("device"))
    if made.run("true").returncode:
        pytest.skip("this machine lets nobody mount an overlay")
    made.wheel("1.0")
    (made.given / "edge.toml").write_text('[gateway]\nid = "gw1"\n')
    (made.given / "pump.offbeat").write_text("a bundle")
    keys = made.given / "gw1"
    keys.mkdir()
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (keys / name).write_text(name)
    made.install("--config", "/given/edge.toml", "--bundle", "/given/pump.offbeat",
                 "--keys", "/given/gw1")  # fmt: skip
    return made


def test_program_data_keys_and_service_are_there(device: Device) -> None:
    assert device.run("offbeat", "--version").stdout == "offbeat 1.0\n"
    assert device.path("/etc/offbeat/pump.offbeat").read_text() == "a bundle"
    key = device.path("/etc/offbeat/key.pem").stat()
    assert stat.S_IMODE(key.st_mode) == 0o600
    owner = device.run("stat", "-c", "%U", "/etc/offbeat/key.pem").stdout.strip()
    assert owner == "offbeat"
    wanted = "/etc/systemd/system/multi-user.target.wants/offbeat.service"
    assert str(device.path(wanted).readlink()) == "/etc/systemd/system/offbeat.service"
    verified = device.run("systemd-analyze", "verify", "/etc/systemd/system/offbeat.service")
    assert "offbeat.service" not in verified.stderr


def test_an_upgrade_changes_the_program_and_no_data(device: Device) -> None:
    device.path("/etc/offbeat/edge.toml").write_text('[gateway]\nid = "gw1"\n# edited\n')
    device.wheel("2.0")
    said = device.install("--config", "/given/edge.toml", "--keys", "/given/gw1")
    assert "edge.toml stays as it is" in said
    assert "key.pem" not in said
    assert "# edited" in device.path("/etc/offbeat/edge.toml").read_text()
    assert device.run("offbeat", "--version").stdout == "offbeat 2.0\n"


def test_a_broken_program_or_configuration_leaves_what_ran(device: Device) -> None:
    program = device.path("/opt/offbeat/current").readlink()
    (device.given / "empty").mkdir()
    done = device.run("/given/install-device.sh", "install", "--from", "/given/empty")
    assert (done.returncode, "expected a wheel" in done.stderr) == (2, True)
    (next((device.given / "wheels").iterdir())).write_bytes(b"torn")
    done = device.run("/given/install-device.sh", "install", "--from", "/given/wheels")
    assert done.returncode != 0
    assert device.path("/opt/offbeat/current").readlink() == program
    assert len([p for p in device.path("/opt/offbeat").iterdir() if p.is_dir()]) <= 3
    assert device.run("offbeat", "--version").returncode == 0
    device.wheel("2.0")
    device.path("/etc/offbeat/edge.toml").write_text("wrong")
    done = device.run("/given/install-device.sh", "install", "--from", "/given/wheels")
    assert (done.returncode, "the service was left alone" in done.stderr) == (78, True)
    programs = [p for p in device.path("/opt/offbeat").iterdir() if not p.is_symlink()]
    assert len(programs) == 2  # the one before stays, for whoever must go back


def test_uninstall_leaves_data_and_takes_the_rest(device: Device) -> None:
    state = device.path("/var/lib/offbeat/state.db")
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("windows")
    for _ in range(2):
        done = device.run("/given/install-device.sh", "uninstall")
        assert done.returncode == 0, done.stderr
    assert state.read_text() == "windows"
    assert device.path("/etc/offbeat/key.pem").read_text() == "key.pem"
    assert device.run("sh", "-c", "command -v offbeat").returncode != 0
    assert device.run("test", "-e", "/opt/offbeat").returncode != 0
    assert device.run("systemctl", "is-enabled", "offbeat").returncode != 0
