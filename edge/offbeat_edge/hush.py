"""Keep a library's greeting off the terminal.

TFLite runtimes say on standard error, once a process and below Python, that
they found their delegate, and no setting stops them.  It would stand between
progress and log lines.

>>> with without_greeting():  # doctest: +SKIP
...     runtime.Interpreter(model_content=model)
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

GREETING = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
STDERR = 2
HELD_BYTES = 1 << 16  # a pipe's usual room; what a library says beyond it is lost
_one_at_a_time = threading.Lock()  # or a second thread would restore the first one's pipe


@contextmanager
def without_greeting() -> Iterator[None]:
    """Hold back standard error until the end of the block; pass all on but the greeting."""
    with _one_at_a_time:
        try:
            kept = os.dup(STDERR)
        except OSError:  # it is closed: nothing to keep quiet
            yield
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        reader = _divert()
        try:
            yield
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)
            _pass_on(reader)


def _divert() -> int:
    """Point standard error at a pipe that never blocks; return the end to read."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    os.dup2(writer, STDERR)
    os.close(writer)
    return reader


def _pass_on(reader: int) -> None:
    """Write what was held, greeting apart, where it belongs."""
    with suppress(BlockingIOError):  # nothing was said, and a child still holds the pipe
        said = os.read(reader, HELD_BYTES).replace(GREETING, b"")
        if said:
            os.write(STDERR, said)
    os.close(reader)
