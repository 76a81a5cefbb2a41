"""Every error the cloud half raises on purpose.

::

    OffbeatError                 (offbeat_edge.errors)
    └── TrainError
        ├── HistoryError         a file that cannot be read as sensor history
        ├── DataError            readable data that no honest model can come from
        ├── ExportError          the network could not become a device's model
        ├── AccuracyError        the integer model lost the float model's accuracy
        ├── RegistryError        a registry that is not what it should be
        │   └── RegistryBusy     another job is at work there
        ├── FleetError           many models cannot be trained at once
        ├── TrackingError        runs that cannot be logged where they should
        ├── LakeError            something in the lake that cannot be read
        │   └── LakeUnavailable  the lake cannot be reached, or refuses us
        └── SpoolError           the recorder's spool cannot be written, or is in use

Messages say what was expected, what was found and where.  The evidence is
kept in attributes.

>>> str(HistoryError("expected a number, got 'abc'", path="a.csv", line=7, column="flow"))
"a.csv, line 7, column 'flow': expected a number, got 'abc'"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offbeat_edge.errors import OffbeatError

if TYPE_CHECKING:
    from pathlib import Path


class TrainError(OffbeatError):
    """Base of the cloud half's expected errors."""


class HistoryError(TrainError):
    """A file that cannot be read as sensor history.

    Parameters
    ----------
    problem : what was expected and what was found.
    path, line, column : where; lines count from 1 and include the header.
    """

    exit_code = 65

    def __init__(
        self,
        problem: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        column: str | None = None,
    ) -> None:
        self.problem = problem
        self.path = path
        self.line = line
        self.column = column
        place = [] if path is None else [str(path)]
        place += [] if line is None else [f"line {line}"]
        place += [] if column is None else [f"column {column!r}"]
        super().__init__(": ".join([", ".join(place), problem] if place else [problem]))


class DataError(TrainError):
    """Readable data that no honest model can come from.

    Parameters
    ----------
    problem : what was expected and what was found.
    needed, got : the figures behind it, where there are such.
    window : the steps of a window, where a shorter one might do.
    """

    exit_code = 65

    def __init__(
        self,
        problem: str,
        *,
        needed: float | None = None,
        got: float | None = None,
        window: int | None = None,
    ) -> None:
        self.needed = needed
        self.got = got
        self.window = window
        super().__init__(problem)


class ExportError(TrainError):
    """The network could not be turned into a model that a device runs."""


class AccuracyError(TrainError):
    """The integer model lost the float model's accuracy.

    Parameters
    ----------
    problem : the sentence with the figures.
    figures : what was measured, by name.
    """

    def __init__(self, problem: str, *, figures: dict[str, float]) -> None:
        self.figures = figures
        super().__init__(problem)


class RegistryError(TrainError):
    """A model registry that is not what it should be."""

    exit_code = 65


class RegistryBusy(RegistryError):  # noqa: N818 - a state, soon over
    """A model that another job is at work on."""

    exit_code = 75


class FleetError(TrainError):
    """Many models that cannot be trained at once."""

    exit_code = 69


class TrackingError(TrainError):
    """Runs that cannot be logged where they should."""

    exit_code = 69


class LakeError(TrainError):
    """Something in the lake that cannot be read.

    Parameters
    ----------
    problem : what was expected and what was found.
    path : where, below the lake's root.
    """

    exit_code = 65

    def __init__(self, problem: str, *, path: str | None = None) -> None:
        self.problem = problem
        self.path = path
        super().__init__(problem if path is None else f"{path}: {problem}")


class LakeUnavailable(LakeError):  # noqa: N818 - reads as what it is
    """The lake cannot be reached, or refuses us; later it may not."""

    exit_code = 75


class SpoolError(TrainError):
    """The recorder's spool cannot be written, or another recorder uses it."""

    exit_code = 75
