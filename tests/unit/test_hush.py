"""What a library says to file descriptor 2, below Python's own stderr."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from offbeat_edge.hush import GREETING, without_greeting

MODEL = Path(__file__).parent / "data" / "tiny_4x2.tflite"


def test_the_greeting_is_held_back_and_the_rest_passed_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with without_greeting():
        os.write(2, b"ERROR: first\n" + GREETING + b"ERROR: last\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "ERROR: first\nERROR: last\nafter\n"


def test_what_was_said_before_an_error_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"):
        _say_why_and_fail()
    assert capfd.readouterr().err == "why\n"


def _say_why_and_fail() -> None:
    with without_greeting():
        os.write(2, b"why\n")
        raise ValueError("no")


def test_a_talkative_library_does_not_block() -> None:
    with without_greeting():
        for _ in range(100):
            try:
                os.write(2, b"x" * 4096)
            except BlockingIOError:
                break


def test_no_file_is_left_open() -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    with without_greeting():
        pass
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_model_is_loaded_without_a_word() -> None:
    code = (
        "import sys, pathlib; from offbeat_edge.interpreter import Interpreter;"
        "Interpreter(pathlib.Path(sys.argv[1]).read_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code, MODEL], capture_output=True, check=True)
    assert done.stderr == b""


def test_a_closed_standard_error_is_no_error() -> None:
    code = (
        "import os; os.close(2); from offbeat_edge.hush import without_greeting\n"
        "with without_greeting(): print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"fine\n"
