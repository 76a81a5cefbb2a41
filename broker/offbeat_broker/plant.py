"""A plant of pumps, physically coupled: what eight sensors of each would say.

Rules: pure.  ``Plant(seed=…, pumps=…).history(…)`` depends on its arguments
alone, and a history cut in two equals the whole (thermal memory is rolled in
before the start).  Physical faults enter the equations below as a ``Wear``;
faults of instruments are applied to the readings by ``faults``.

The equations, n being speed over rated speed: the pump lifts
``H = H0 n² - (k + clog) Q²``, the line needs ``H = Hs + R Q²``, so flow and
pressure follow from speed and line.  Shaft power ``Q H / eta`` plus friction
makes the current, the current's square warms the motor, speed and friction
warm the bearing, and the distance from the best operating point shakes it.

>>> plant = Plant(seed=7, pumps=2)
>>> plant.history(start_ms=0, duration_ms=60_000, period_ms=10_000).values.shape
(2, 6, 8)
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_broker import faults
from offbeat_broker.duty import Duty, duty
from offbeat_broker.signals import HOUR_MS, daily_noise, lag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offbeat_broker.faults import Fault, Wear
    from offbeat_broker.signals import Floats, Ints

MIN_PERIOD_MS = 100
MAX_PUMPS = 1000
MEMORY_MS = 30 * HOUR_MS  # rolled in before the start; the slowest lag is one hour
SIGMA_DAYS = 7  # of normal history from which a sensor's sigma is measured
TOLERANCE = 0.012  # standard deviation between two pumps of one type
RAMP_S = 25.0  # the drive's soft start: two lags of this length
RUNNING = 0.3  # of the rated speed: above, a pump counts as running


class Sensor(NamedTuple):
    """One instrument: its unit, its noise (standard deviation) and its decimals."""

    unit: str
    noise: float
    decimals: int


SENSORS: dict[str, Sensor] = {
    "speed": Sensor("rpm", 1.5, 0),
    "current": Sensor("A", 0.15, 2),
    "flow": Sensor("m3/h", 0.35, 2),
    "pressure": Sensor("bar", 0.015, 3),
    "bearing_temp": Sensor("degC", 0.12, 1),
    "motor_temp": Sensor("degC", 0.12, 1),
    "fluid_temp": Sensor("degC", 0.06, 2),
    "vibration": Sensor("mm/s", 0.02, 3),
}


class Pump(NamedTuple):
    """Constants of one pump; every pump of a plant is of one type, within tolerance."""

    rated_rpm: float
    head: float  # H0, m at rated speed and no flow
    slope: float  # k, m/(m3/h)²
    line: float  # R, m/(m3/h)²
    static: float  # Hs, m
    volts: float  # W per A, all phases
    shake: float  # vibration at rated speed, mm/s


class History(NamedTuple):
    """Readings on a regular grid; a reading that never came is NaN."""

    assets: tuple[str, ...]
    sensors: tuple[str, ...]
    time_ms: Ints  # (N,) epoch milliseconds
    values: Floats  # (assets, N, sensors) in each sensor's unit


class Plant:
    """Pumps named ``pump1`` … ``pumpN`` under a common daily rhythm.

    Parameters
    ----------
    seed : any integer >= 0; decides everything
    pumps : how many, 1 … 1000
    """

    def __init__(self, *, seed: int, pumps: int = 3) -> None:
        if seed < 0:
            raise ValueError(f"seed: expected an integer of at least 0, got {seed}")
        if not 1 <= pumps <= MAX_PUMPS:
            raise ValueError(f"pumps: expected 1 to {MAX_PUMPS}, got {pumps}")
        self.seed = seed
        self.assets = tuple(f"pump{i + 1}" for i in range(pumps))
        self.sensors = tuple(SENSORS)
        self._pumps = [_draw_pump(seed, i) for i in range(pumps)]

    @cached_property
    def sigma(self) -> dict[str, float]:
        """Each sensor's standard deviation in normal running, in its unit."""
        week = self.history(
            start_ms=0, duration_ms=SIGMA_DAYS * 24 * HOUR_MS, period_ms=60_000
        ).values
        running = week[week[:, :, 0] > RUNNING * np.max(week[:, :, 0])]
        return dict(zip(self.sensors, running.std(axis=0).tolist(), strict=True))

    def running(self, asset: str, time_ms: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Say at which of the (N,) moments the pump is asked to run."""
        return np.asarray(duty(self.seed, self.assets.index(asset), time_ms).speed > 0.0)

    def history(
        self,
        *,
        start_ms: int,
        duration_ms: int,
        period_ms: int,
        schedule: Sequence[Fault] = (),
        assets: Sequence[str] | None = None,
    ) -> History:
        """Return the pumps' readings from ``start_ms`` for ``duration_ms``.

        Parameters
        ----------
        start_ms, duration_ms, period_ms : event time; one reading each period
        schedule : faults; those of other assets or times have no effect
        assets : which pumps; all without it
        """
        if period_ms < MIN_PERIOD_MS:
            raise ValueError(f"period: expected at least {MIN_PERIOD_MS} ms, got {period_ms} ms")
        if duration_ms < period_ms:
            raise ValueError(
                f"duration: expected at least one period ({period_ms} ms), got {duration_ms} ms"
            )
        time_ms = np.arange(start_ms, start_ms + duration_ms, period_ms, dtype=np.int64)
        chosen = self.assets if assets is None else tuple(assets)
        values = np.empty((len(chosen), len(time_ms), len(SENSORS)))
        for i, asset in enumerate(chosen):
            own = [fault for fault in schedule if fault.asset == asset]
            values[i] = self._readings(self.assets.index(asset), time_ms, period_ms, own)
        return History(chosen, self.sensors, time_ms, values)

    def _readings(self, pump: int, time_ms: Ints, period_ms: int, own: Sequence[Fault]) -> Floats:
        """Return one pump's (N, sensors) readings."""
        before = MEMORY_MS // period_ms
        early = time_ms[0] - period_ms * np.arange(before, 0, -1, dtype=np.int64)
        time = np.concatenate([early, time_ms])
        noise = daily_noise(time, period_ms, key=(self.seed, pump, 3), channels=len(SENSORS) + 2)
        sigma = self.sigma if own else {}
        wear = faults.wear(own, time, sigma)
        state = _physics(
            self._pumps[pump],
            duty(self.seed, pump, time),
            wear,
            noise=noise[len(SENSORS) :],
            period_s=period_ms / 1000.0,
        )
        clean = _read(state[:, before:], noise[: len(SENSORS), before:])
        return _rounded(faults.misread(own, time_ms, clean, self.sensors, sigma))


def _draw_pump(seed: int, index: int) -> Pump:
    """Draw the constants of one pump of the common type."""
    off = 1.0 + TOLERANCE * np.random.default_rng([seed, index, 0]).standard_normal(7)
    rated_flow = 60.0 * off[2]
    return Pump(
        rated_rpm=1480.0,
        head=45.0 * off[0],
        slope=13.0 / rated_flow**2,
        line=28.0 * off[1] / rated_flow**2,
        static=4.0,
        volts=330.0 * off[4],
        shake=1.7 * off[5] ** 3,
    )


def _physics(pump: Pump, asked: Duty, wear: Wear, *, noise: Floats, period_s: float) -> Floats:
    """Return the true (sensors, N) state, in the order of ``SENSORS``."""
    ramp = RAMP_S / period_s
    n = lag(lag(asked.speed, steps=ramp), steps=ramp)
    n = np.where(n < 0.02, 0.0, n)
    rough = wear.cavitation * np.abs(1.0 + 0.5 * noise[0])
    lifted = np.maximum(pump.head * n**2 * (1.0 - 0.03 * np.minimum(rough, 4.0)) - pump.static, 0.0)
    through = np.sqrt(lifted / (pump.slope * (1.0 + wear.clogging) + pump.line * asked.resistance))
    head = pump.static + pump.line * asked.resistance * through**2
    flow = np.maximum(through * (1.0 + 0.02 * wear.cavitation * noise[1]) - wear.leak * n, 0.0)
    # What a leak lets out before the meter no longer loads the line.
    head = head - 0.5 * pump.line * asked.resistance * (through**2 - flow**2)
    on = n > 0.0
    per_speed = np.divide(through, 60.0 * n, out=np.ones_like(n), where=on)
    eta = 0.74 - 0.35 * (per_speed - 0.85) ** 2
    power = 2.725 * through * head / eta + 900.0 * n**2 + 350.0 * n * (1.0 + wear.friction)
    current = power / pump.volts + 6.0 * n
    vibration = on * (0.06 + pump.shake * n**2 + 2.5 * n * (per_speed - 0.85) ** 2)
    vibration = vibration * np.exp(0.03 * noise[0])
    vibration = vibration + n * (wear.shaking * np.exp(0.05 * noise[1]) + 0.35 * rough)
    bearing_heat = 21.0 * n + 8.0 * wear.friction * n + 1.2 * vibration
    return np.stack(
        [
            pump.rated_rpm * n,
            current,
            flow,
            head * 0.0981,
            asked.ambient + lag(bearing_heat, steps=1200.0 / period_s),
            asked.ambient + lag(0.038 * current**2, steps=2100.0 / period_s),
            asked.inlet + lag(2.0 * n**2 / np.maximum(per_speed, 0.3), steps=500.0 / period_s),
            vibration,
        ]
    )


def _read(state: Floats, noise: Floats) -> Floats:
    """Return (N, sensors) readings with the instruments' noise."""
    scale = np.array([[sensor.noise] for sensor in SENSORS.values()])
    seen = state + scale * noise
    seen[0] = np.where(state[0] > 0.0, seen[0], 0.0)  # an encoder at rest says 0
    for name in ("current", "flow", "vibration"):
        row = list(SENSORS).index(name)
        seen[row] = np.abs(seen[row])
    return seen.T


def _rounded(readings: Floats) -> Floats:
    """Round (N, sensors) readings to each instrument's last digit."""
    return np.stack(
        [np.round(readings[:, i], sensor.decimals) for i, sensor in enumerate(SENSORS.values())],
        axis=1,
    )
