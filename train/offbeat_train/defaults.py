"""Sizes that are chosen from the data, so that nobody has to set them.

Rules: each function looks at normal rows alone and returns one size; the
constants hold for every recording (``docs/benchmarks.md`` says what else was
tried).  Long windows know more of a beat; short histories cannot fill them.

>>> import numpy as np
>>> beat = np.sin(np.arange(3000) * 2 * np.pi / 40.0)[:, None]
>>> choose_window(beat)
56
>>> choose_patch(64), choose_stride(64), judged_rows(64)
(8, 8, 32)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_edge.follow import FollowSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ALERT_BUDGET = 1.0  # false alarms a week and asset that people accept
WINDOW = 64  # steps, for data without a beat
SHORTEST, LONGEST = 8, 256  # steps
ROWS_PER_STEP = 12  # rows of history for each step of the window
BEATS = 1.5  # a window holds this many periods
HELD_BEAT = 0.5  # periods that a window must hold, or there is no beat in it to know again
CLEAR_BEAT = 0.4  # autocorrelation at the period; weaker is no beat
SAME_BEAT = 0.9  # a peak this near to the highest is the same beat, once
LONGEST_LAG = 400  # steps; slower beats do not fit a window
BEAT_ROWS = 20_000  # rows looked at
LSTM_STEPS = 12  # the recurrence is at most this long; patches do the rest
STRIDES = 8  # windows overlap this often
UNITS, LATENT = 32, 16
FOLLOW = FollowSpec(windows=32, factor=1.5, most=2.0)  # how a threshold follows its asset
MOST_COMPONENTS = 128  # numbers that the linear path keeps of a window, at most
SPIKE = 3.0  # scaled units; what goes further tells the linear path no more than that
INPUT_NOISE = 0.3  # variance, scaled units, against which the linear path is robust


class Shares(NamedTuple):
    """How much is kept, and how much is judged."""

    energy: float  # of the windows' variance that the linear path keeps
    judged: float  # of the window, at its end, whose residuals count


USUAL = Shares(energy=0.95, judged=0.5)
# Nothing but its own past tells when a lone sensor is odd: less of it is
# reconstructed, and all of it is looked at.  Where it has a beat, shapes tell.
LONE = Shares(energy=0.75, judged=1.0)


class Linear(NamedTuple):
    """The linear path: window → components → window.

    ``mean`` (T x F,), ``components`` (T x F, rank) orthonormal, ``gains``
    (rank,) in (0, 1): what is kept of each component on the way back.
    """

    mean: Floats
    components: Floats
    gains: Floats


class Spectrum(NamedTuple):
    """The principal components of some windows: what PCA or the linear path is cut from.

    ``mean`` (T x F,), ``variances`` (k,) descending, ``directions`` (T x F, k).
    """

    mean: Floats
    variances: Floats
    directions: Floats

    @classmethod
    def of(cls, windows: Floats) -> Spectrum:
        """Decompose ``windows`` (N, T, F), scaled."""
        flat = windows.reshape(len(windows), -1).astype(np.float64)
        mean: Floats = flat.mean(axis=0)
        flat -= mean
        return cls(mean, *principal(flat))


def choose_window(rows: Floats, longest_run: int | None = None) -> int:
    """Choose the window (steps) for normal ``rows`` (S, F) in order of time.

    Periodic data get ``BEATS`` periods, other data ``WINDOW`` steps, both no
    more than ``ROWS_PER_STEP`` rows of history a step allow, nor than the
    longest stretch without a gap holds twice.
    """
    most = min(LONGEST, len(rows) // ROWS_PER_STEP, (longest_run or len(rows)) // 2)
    period = find_period(rows)
    wanted = WINDOW if period is None else round(BEATS * period)
    return _even(max(SHORTEST, min(wanted, most)))


def shorter_window(window: int) -> int:
    """Choose the next shorter window (steps) to try, where this one found no room.

    >>> shorter_window(256), shorter_window(12)
    (192, 8)
    """
    return _even(window * 3 // 4)


def has_beat(rows: Floats, window: int) -> bool:
    """Tell whether ``rows`` (S, F) repeat, and a window holds enough of that to see it."""
    period = find_period(rows)
    return period is not None and window >= HELD_BEAT * period


def find_period(rows: Floats) -> int | None:
    """Return the lag (steps) at which the sensors together repeat, or None."""
    sample = rows[:BEAT_ROWS]
    together = np.zeros(min(LONGEST_LAG, len(sample) // 3) + 1)
    judged = 0
    for column in sample.T:
        if len(np.unique(column)) <= 2:
            continue
        together += _autocorrelation(column, len(together))
        judged += 1
    if judged == 0 or len(together) < 4:
        return None
    together /= judged
    below = np.flatnonzero(together < CLEAR_BEAT / 2)
    if not below.size:
        return None
    inner = together[1:-1]
    peaks = np.flatnonzero((inner > together[:-2]) & (inner >= together[2:])) + 1
    peaks = peaks[(peaks > below[0]) & (together[peaks] >= CLEAR_BEAT)]
    if not peaks.size:
        return None
    high = peaks[together[peaks] >= SAME_BEAT * together[peaks].max()]
    return int(high[0])


def choose_patch(window: int) -> int:
    """Choose the steps the LSTM takes at once: few, dividing the window."""
    options = [size for size in range(1, window + 1) if window % size == 0]
    return next(size for size in options if window // size <= LSTM_STEPS)


def choose_stride(window: int) -> int:
    """Choose the steps from one window to the next."""
    return max(1, window // STRIDES)


def choose_shares(sensors: int, *, beat: bool) -> Shares:
    """Choose how much a model of so many sensors keeps and judges."""
    return LONE if sensors == 1 and not beat else USUAL


def judged_rows(window: int, shares: Shares = USUAL) -> int:
    """Choose how many of the window's last steps are scored."""
    return max(1, round(window * shares.judged))


def without_spikes(windows: Floats) -> Floats:
    """Cut windows (N, T, F), scaled, for the linear path to learn from.

    A single spike of a hundred deviations has more variance than all else
    together: components would be about spikes, and about nothing else.
    """
    return np.clip(windows, -SPIKE, SPIKE)


def linear_path(known: Spectrum, shares: Shares = USUAL) -> Linear:
    """Fit the best linear denoiser of the windows behind a spectrum.

    A component of variance d comes back with the gain d / (d + noise): what
    a linear autoencoder trained on noisy inputs would learn.  So a normal
    shape of abnormal size leaves a residual too, which plain principal
    components would reconstruct perfectly.
    """
    rank = _kept(known.variances, shares)
    kept = known.variances[:rank]
    return Linear(mean=known.mean, components=known.directions[:, :rank].copy(),
                  gains=kept / (kept + INPUT_NOISE))  # fmt: skip


def choose_rank(windows: Floats, shares: Shares = USUAL) -> int:
    """Choose the components of the linear path of ``windows`` (N, T, F), scaled."""
    flat = windows.reshape(len(windows), -1).astype(np.float64)
    flat -= flat.mean(axis=0)
    variances: Floats = np.linalg.eigvalsh(_smaller(flat))[::-1].astype(np.float64)
    return _kept(variances[_solid(variances)], shares)


def principal(away: Floats) -> tuple[Floats, Floats]:
    """Return variances (descending) and directions (size, k) of centred rows (N, size).

    Works on the smaller of the two product matrices, so that wide windows
    of few rows stay cheap.
    """
    count, size = away.shape
    values, vectors = np.linalg.eigh(_smaller(away))
    values, vectors = values[::-1], vectors[:, ::-1]
    if count >= size:
        return np.maximum(values, 0.0), np.ascontiguousarray(vectors)
    solid = _solid(values)
    values, vectors = values[solid], vectors[:, solid]
    directions = away.T @ vectors / np.sqrt(values * count)
    return values, directions


def _smaller(away: Floats) -> Floats:
    count, size = away.shape
    product: Floats = away.T @ away if count >= size else away @ away.T
    product /= count
    return product


def _solid(values: Floats) -> NDArray[np.bool_]:
    """Tell which of descending variances are more than rounding."""
    return np.asarray(values > max(values[0], 0.0) * 1e-10)


def _kept(variances: Floats, shares: Shares) -> int:
    return min(_rank(variances, shares.energy), MOST_COMPONENTS)


def _rank(values: Floats, energy: float) -> int:
    total = float(values.sum())
    if total <= 0.0:
        return 1
    return min(int(np.searchsorted(np.cumsum(values) / total, energy)) + 1, len(values))


def _autocorrelation(column: Floats, lags: int) -> Floats:
    away = column - column.mean()
    size = 1 << int(2 * len(away) - 1).bit_length()
    spectrum = np.fft.rfft(away, size)
    raw = np.fft.irfft(spectrum * np.conj(spectrum), size)[:lags]
    biased = raw / max(float(raw[0]), np.finfo(np.float64).tiny)
    return np.asarray(biased * len(away) / (len(away) - np.arange(lags)), dtype=np.float64)


def _even(window: int) -> int:
    """Round to a length that patches divide well."""
    unit = 4 if window < 48 else 8 if window < 128 else 16
    return max(SHORTEST, window // unit * unit)
