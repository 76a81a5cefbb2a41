"""Messages that must change no alert, without end: broken ones, and ones that only look whole.

Rules: a function of the seed.  Bytes made by mutation may turn out to be a
valid reading, which may rightly change alerts: a message that gives a sample
of a watched asset within its time is left out and counted in ``whole``.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from mutate import mutated
from rig import START_MS, Reading

from offbeat_edge.config import Source
from offbeat_edge.payload.decoder import Decoder

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS = (
    b'{"ts": 1760000100000, "flow": 10.0, "heat": 20.25}',
    b'[{"ts": "2025-10-09T08:53:20Z", "flow": 1}, {"t": 1760000000, "heat": 2}]',
    b"flow,host=p1 flow=10,heat=20u 1760000000000000000\n",
    b"12.5",
)
YEAR_MS = 31_557_600_000
TYPES = (None, "12.5", True, [1.0], {"a": 1}, 10**400, float("nan"), float("-inf"), "\ud800")


class Hostile:
    """A source of hostile messages on the topics ``plant/p0`` and ``plant/p1``, and others."""

    def __init__(self, seed: int, *, most: int = 400) -> None:
        self.whole = 0  # mutations left out, because they were valid readings
        self._chance = random.Random(seed)
        self._most = most  # bytes of a mutated payload
        self._decoder = Decoder((Source(topic="plant/{asset}"),), max_payload_bytes=1 << 18)

    def messages(self, count: int) -> Iterator[Reading]:
        """Yield so many."""
        kinds = (
            self._mutated, self._mutated, self._mutated, self._of_wrong_types,
            self._of_wrong_times, self._of_no_known_sensor, self._of_no_asset, self._nested,
        )  # fmt: skip
        for _ in range(count):
            yield self._chance.choice(kinds)()

    def _topic(self) -> str:
        return f"plant/p{self._chance.randrange(2)}"

    def _mutated(self) -> Reading:
        while True:
            payload = mutated(self._chance.choice(SEEDS), self._chance, most=self._most)
            samples, _ = self._decoder.decode("plant/p0", payload, START_MS, retained=False)
            if not any({"flow", "heat"} & sample.values.keys() for sample in samples):
                return Reading(self._topic(), payload)
            self.whole += 1

    def _of_wrong_types(self) -> Reading:
        values = {"ts": START_MS, "flow": self._chance.choice(TYPES), "heat": None}
        return Reading(self._topic(), json.dumps(values).encode())

    def _of_wrong_times(self) -> Reading:
        """One sample from far away; no two of them confirm each other."""
        far = START_MS + self._chance.choice([-30, 1, 5, 30, 80]) * YEAR_MS
        stamp = far + self._chance.randrange(YEAR_MS // 2)
        return Reading(self._topic(), b'{"ts": %d, "flow": 99.0, "heat": 99.0}' % stamp)

    def _of_no_known_sensor(self) -> Reading:
        name = f"s{self._chance.randrange(1000)}"
        return Reading(
            f"plant/x{self._chance.randrange(100_000)}", b'{"%b": 1.5}' % name.encode()
        )  # fmt: skip

    def _of_no_asset(self) -> Reading:
        path = self._chance.choice(["plant/Ä", "plant/A B", "plant/" + "a" * 65, "plant/p 1"])
        return Reading(path, SEEDS[0])

    def _nested(self) -> Reading:
        depth = self._chance.choice([10, 100, 100, 2000])
        return Reading(self._topic(), b'{"flow":' * depth + b"1" + b"}" * depth)
