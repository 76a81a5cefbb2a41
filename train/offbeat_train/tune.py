"""Search the sizes that ``fit`` otherwise chooses from the data.

Rules: a trial is a whole `fit`; what counts is the share of faults injected
into held-out rows that it catches at its own threshold, so no label and no
test row has a say; the defaults are the first trial and stay where nothing
beats them by more than `MARGIN`; a trial that ``fit`` refuses is passed over.
The winner's figures on those rows are a little flattering: it was chosen on
them.

>>> best = search(lambda chosen: 0.5, window=64, trials=2, seed=0, told=lambda trial: None)
>>> best.number, best.chosen
(0, Chosen(window=None, stride=None, units=None))
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from offbeat_train.errors import AccuracyError, DataError, ExportError, TrainError

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna import Trial

    from offbeat_train.fit import FitOptions, Fitted, Progress
    from offbeat_train.health import Health
    from offbeat_train.history import History

MARGIN = 0.01  # of the injected faults; a smaller lead is chance
WINDOWS = (0.5, 0.75, 1.0, 1.5, 2.0)  # times the window that the data suggest
UNIT = 8  # a window is a multiple of so many steps, so that patches divide it
LEAST_WINDOW = 8
UNITS = ((16,), (32,), (64,), (32, 16))
OVERLAPS = (4, 8, 16)  # windows that a step is in
DEFAULT = {"window": 1.0, "units": "32", "overlap": 8}


class Tried(NamedTuple):
    """One trial: ``caught`` is None where ``fit`` refused, and ``refused`` says why."""

    number: int
    chosen: Chosen
    caught: float | None
    refused: str | None = None


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial sets, in the words of ``FitOptions``; None is the default."""

    window: int | None = None
    stride: int | None = None
    units: tuple[int, ...] | None = None


def search(
    caught: Callable[[Chosen], float],
    *,
    window: int,
    trials: int,
    seed: int,
    told: Callable[[Tried], None],
) -> Tried:
    """Try ``trials`` choices, the defaults first; return the one to take.

    Parameters
    ----------
    caught : fits with a choice; gives the share of injected faults caught.
    window : what the data suggest, steps.
    seed : of the search.
    told : hears of each trial as it ends.

    Raises
    ------
    TrainError : optuna is not installed, or the first trial was refused.
    """
    optuna = _optuna()
    found: list[Tried] = []

    def once(chosen: Chosen) -> float:
        again = [one.caught for one in found if one.chosen == chosen and one.caught is not None]
        return again[0] if again else caught(chosen)

    def objective(trial: Trial) -> float:
        found.append(_try(trial, once, window))
        told(found[-1])
        share = found[-1].caught
        if share is None:
            raise optuna.TrialPruned
        return share

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(DEFAULT)
    study.optimize(objective, n_trials=trials)
    return _best(found)


def tuned(
    history: History,
    health: Health,
    options: FitOptions,
    trials: int,
    *,
    on: Progress,
    told: Callable[[Tried], None],
) -> tuple[Fitted, Tried]:
    """Search for a history; return the best fit and its trial.

    What ``options`` set already stays as it is; ``told`` hears of each trial as it ends.
    """
    from offbeat_train.fit import fit  # noqa: PLC0415 - TensorFlow, and only for this
    from offbeat_train.split import divide  # noqa: PLC0415

    prepared, _ = divide(history, health, period_ms=options.period_ms, window=options.window,
                         stride=options.stride)  # fmt: skip

    fits: dict[Chosen, Fitted] = {}  # of the defaults, and of the best so far

    def caught(chosen: Chosen) -> float:
        fitted = fit(history, _with(options, chosen), on=on, health=health)
        share = fitted.comparison.network
        if all(share > other.comparison.network for other in fits.values()):
            fits.update({chosen: fitted})
            for late in list(fits)[1:-1]:
                del fits[late]
        return share

    best = search(caught, window=prepared.plan.window, trials=trials, seed=options.seed, told=told)
    return fits[best.chosen], best


def _with(options: FitOptions, chosen: Chosen) -> FitOptions:
    return replace(
        options,
        window=options.window or chosen.window,
        stride=options.stride or (None if options.window else chosen.stride),
        units=options.units or chosen.units,
    )


def _try(trial: Trial, caught: Callable[[Chosen], float], window: int) -> Tried:
    factor = trial.suggest_categorical("window", WINDOWS)
    units = trial.suggest_categorical("units", [",".join(map(str, one)) for one in UNITS])
    overlap = trial.suggest_categorical("overlap", OVERLAPS)
    if trial.number == 0:
        chosen = Chosen()
    else:
        steps = max(LEAST_WINDOW, round(window * factor / UNIT) * UNIT)
        chosen = Chosen(
            window=steps,
            stride=max(1, steps // overlap),
            units=tuple(int(one) for one in units.split(",")),
        )
    try:
        return Tried(trial.number, chosen, caught(chosen))
    except (AccuracyError, DataError, ExportError) as error:
        if trial.number == 0:
            raise
        return Tried(trial.number, chosen, None, str(error))


def _best(found: list[Tried]) -> Tried:
    first = found[0]
    best = max(found, key=lambda one: -1.0 if one.caught is None else one.caught)
    lead = (best.caught or 0.0) - (first.caught or 0.0)
    return best if lead > MARGIN else first


def _optuna() -> Any:  # noqa: ANN401 - the module
    try:
        import optuna  # noqa: PLC0415 - an extra: only when it is asked for
    except ImportError as error:
        raise TrainError(
            f"--tune: expected optuna (pip install 'offbeat[tune]'), got: {error}"
        ) from error
    return optuna
