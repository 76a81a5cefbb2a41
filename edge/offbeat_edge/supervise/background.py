"""One task beside the loop, in a thread that nobody waits for at the end.

>>> task = Background(lambda: 6 * 7)
>>> while not task.done: pass
>>> task.result()
42
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Background(Generic[T]):
    """Runs a function once.

    Parameters
    ----------
    task : must touch nothing that the loop touches meanwhile.
    """

    def __init__(self, task: Callable[[], T]) -> None:
        self._task = task
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether there is a result, or an error."""
        return not self._thread.is_alive()

    def result(self) -> T:
        """Return what the task returned, or raise what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._task())
        except BaseException as error:  # noqa: BLE001 - raised in result()
            self._error = error
