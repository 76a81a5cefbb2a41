"""The verifying child as the daemon sees it: started, looked at, never waited for.

Rules: task and answer are files, so no pipe can fill up; a child that takes
too long is killed; whatever it dies of is an answer with an ``error``.

>>> child = Child(task, folder=state / "tuf")  # doctest: +SKIP
>>> child.poll() is None  # still at work  # doctest: +SKIP
True
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from offbeat_edge.delivery.task import Answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from offbeat_edge.delivery.task import Task

# -P: the working directory must not lend its modules to the child.
PROGRAM = (sys.executable, "-P", "-m", "offbeat_edge.delivery.verify")
TIMEOUT_S = 900.0  # many bundles over HTTPS, their golden windows on a slow board
ANSWER_MAX = 4 << 20  # bytes
SHOWN = 400  # characters of its last words


class Child:
    """One run of the verifier.

    Parameters
    ----------
    task : what to do.
    folder : for its files; made when needed.
    program : the child's command.
    monotonic : seconds.

    Raises
    ------
    OSError : it cannot be started.
    """

    def __init__(
        self,
        task: Task,
        *,
        folder: Path,
        program: tuple[str, ...] = PROGRAM,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "answer.json", folder / "answer.err"
        self._now = monotonic
        self._until = monotonic() + TIMEOUT_S
        task_file = folder / "task.json"
        task_file.write_bytes(msgspec.json.encode(task))
        with (
            task_file.open("rb") as given,
            self._out.open("wb") as out,
            self._err.open("wb") as err,
        ):
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                program, stdin=given, stdout=out, stderr=err
            )

    def poll(self) -> Answer | None:
        """Return its answer once it has ended."""
        if self._process.poll() is None:
            if self._now() < self._until:
                return None
            self.close()
            return Answer(error=f"expected an answer in {TIMEOUT_S:.0f} s, got none")
        return self._read()

    def close(self) -> None:
        """End it, whatever it is doing."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _read(self) -> Answer:
        code = self._process.returncode
        try:
            with self._out.open("rb") as file:
                data = file.read(ANSWER_MAX)
            return msgspec.json.decode(data, type=Answer)
        except (OSError, msgspec.MsgspecError):
            return Answer(error=f"expected an answer, got exit code {code}: {self._last_words()}")

    def _last_words(self) -> str:
        try:
            return self._err.read_text(errors="replace").strip()[-SHOWN:]
        except OSError:
            return ""
