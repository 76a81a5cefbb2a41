"""The house: which room may know which, and what a device pays for the command."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EDGE = ROOT / "edge" / "offbeat_edge"
CONSOLE = ROOT / "console" / "offbeat_console"
CONSOLE_PURE = ("alarm", "board", "palette", "strips", "told", "trace", "views", "wire")
PURE = (
    "adaptation", "alert", "alertbook", "beyond", "blame", "control", "detector", "engine",
    "follow", "journal", "model", "observed", "outputs", "pace", "refusal", "replay",
    "restored", "schema", "schedule", "scorer", "sensorcheck", "shape", "sketch", "standing",
    "telling", "topics", "upkeep", "watch", "watchstate", "window",
)  # fmt: skip
DEVICE_LIBRARIES = {
    "ai_edge_litert", "msgspec", "numpy", "offbeat_edge", "paho", "tflite_runtime",
}  # fmt: skip
# What an extra adds: imported only where it is configured.
EXTRA_LIBRARIES = {"cryptography", "google", "prometheus_client", "securesystemslib", "tuf"}


def imported(path: Path) -> set[str]:
    """Top-level names of all modules a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", sorted(EDGE.rglob("*.py")), ids=lambda p: p.stem)
def test_the_device_needs_only_its_libraries(path: Path) -> None:
    used = {name.partition(".")[0] for name in imported(path)}
    assert used <= DEVICE_LIBRARIES | EXTRA_LIBRARIES | set(sys.stdlib_module_names)


def test_the_daemon_starts_without_any_extra() -> None:
    code = (
        "import sys; from offbeat_edge import run_command;"
        f"print(sorted({EXTRA_LIBRARIES} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("path", sorted(CONSOLE.rglob("*.py")), ids=lambda p: p.stem)
def test_the_console_knows_the_device_half_alone(path: Path) -> None:
    used = {name.partition(".")[0] for name in imported(path)}
    assert not used & {"offbeat_train", "offbeat_broker"}
    if path.stem in CONSOLE_PURE:
        assert not used & {"nicegui", "paho", "sqlite3", "threading", "time"}


PAYLOAD = [f"payload/{path.stem}" for path in (EDGE / "payload").glob("[a-z]*.py")]


@pytest.mark.parametrize("name", [*PURE, *sorted(PAYLOAD)])
def test_the_core_knows_no_network_clock_thread_or_disk(name: str) -> None:
    forbidden = {"paho", "sqlite3", "socket", "threading", "time", "os", "pathlib", "random"}
    used = {module.partition(".")[0] for module in imported(EDGE / f"{name}.py")}
    assert not used & forbidden


def test_the_command_itself_loads_neither_numpy_nor_a_runtime() -> None:
    code = (
        "import sys; from offbeat_edge import cli; cli.main([]);"
        "heavy = {'numpy', 'paho', 'msgspec', 'ai_edge_litert', 'tensorflow'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
