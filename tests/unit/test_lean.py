"""What the device does not load."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
from offbeat_edge import lean
lean.load()
assert "msgspec" in sys.modules and "typing_extensions" not in sys.modules
sys.modules["typing_extensions"] = kept = type(sys)("typing_extensions")
lean.load()
assert sys.modules["typing_extensions"] is kept
"""


def test_msgspec_is_loaded_without_typing_extensions_and_what_is_there_stays() -> None:
    subprocess.run((sys.executable, "-c", LOADED), check=True, timeout=60)
