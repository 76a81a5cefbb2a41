"""What a long command shows on a terminal, and what it keeps from it."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.progress import TaskID


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keep TensorFlow's talk of absent GPUs, which no setting stops, off the terminal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Bar:
    """A progress bar that a `fit.Progress` is told through."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(), console=console,
        )  # fmt: skip
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Show it."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it as it stands."""
        self._bar.stop()

    def stage(self, text: str) -> None:
        """Begin something; the last thing is done."""
        self._finish()
        self._task = self._bar.add_task(escape(text), total=None, said="")

    def epoch(self, epoch: int, epochs: int, loss: float, validation: float) -> None:
        """Move the bar."""
        if self._task is not None:
            said = f"epoch {epoch + 1}: {loss:.4f}, held out {validation:.4f}"
            self._bar.update(self._task, completed=epoch + 1, total=epochs, said=said)

    def _finish(self) -> None:
        if self._task is not None:
            self._bar.update(self._task, total=1, completed=1)
