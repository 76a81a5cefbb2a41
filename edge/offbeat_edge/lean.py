"""msgspec with the standard library's typing, and half a megabyte less.

Rules: where typing_extensions is installed, as beside ai-edge-litert, msgspec
prefers it, though Python 3.11 has all that is wanted of it; beside
tflite-runtime there is none.  It is out of sight while msgspec is loaded, and
for nothing else; what is loaded already stays.

>>> load()
>>> "msgspec" in sys.modules
True
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, cast

HIDDEN = "typing_extensions"


def load() -> None:
    """Import msgspec, with `HIDDEN` out of sight."""
    hide = HIDDEN not in sys.modules
    if hide:
        cast("dict[str, Any]", sys.modules)[HIDDEN] = None  # an import of it fails, as documented
    try:
        importlib.import_module("msgspec")
    finally:
        if hide:
            del sys.modules[HIDDEN]
