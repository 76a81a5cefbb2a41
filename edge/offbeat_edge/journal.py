"""Accepted samples and controls ↔ compact blobs: what one commit appends to the disk.

Rules: a blob is written once and read only after a crash, so it is small
first and quick second.  Rows that name the same sensors share a *shape*,
defined in the blob that first uses it; numbers lie in columns, float64 split
into byte planes, deflated.  Values come back bit by bit.  Shapes live until
the journal is truncated: then both ends begin anew.  The format grows at its
end only, so that the journal of an earlier release can be walked.  Samples go
into their columns long before the commit: there they weigh a tenth of what
their objects would.

>>> from offbeat_edge.schema import MAX_EVENT_MS, Sample
>>> encoder = JournalEncoder()
>>> encoder.take([Sample("p1", 1000, {"flow": 1.5})])
>>> encoder.silences.append((1, 250))
>>> list(JournalDecoder().decode(encoder.encode()).steps())
[[Sample(asset='p1', time_ms=1000, values={'flow': 1.5}, own_time=True)], 250]
"""

from __future__ import annotations

import zlib
from array import array
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from offbeat_edge.control import Control
from offbeat_edge.errors import StoreError
from offbeat_edge.schema import MAX_EVENT_MS, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

MAX_BLOB_BYTES = 64 << 20  # inflated; far above any commit of one second
LOOSE_SAMPLES = 256  # objects kept before they go into columns; fewer at a time cost more each
DEFLATE_LEVEL = 1  # higher levels gain 3 % for three times the time

Shape = tuple[str, tuple[str, ...]]  # asset, sensors in the order of the values
Silence = tuple[int, int]  # after so many samples of the entry, connected ms without a word
Told = tuple[int, int, Control]  # after so many samples and so many silences, a control


class _Blob(msgspec.Struct, array_like=True):
    """One commit's rows, before deflation."""

    silences: list[Silence]
    shapes: dict[int, Shape]  # defined here for the first time
    rows: bytes  # uint32 shape of each row
    stamped: bytes  # 1 byte a row: the gateway's stamp, not the source's
    times: bytes  # int64 ms, differences, in byte planes
    values: bytes  # float64, all rows one after the other, in byte planes
    controls: list[Told] = []


class Entry(NamedTuple):
    """What one blob holds: what the engine was told."""

    samples: list[Sample]
    silences: list[Silence]
    controls: list[Told]

    def steps(self) -> Iterator[list[Sample] | int | Control]:
        """Yield samples, silences (ms) and controls in the very order of the first time."""
        told = heard = 0
        for position, silences, control in self.controls:
            yield from _between(self, told, heard, position, silences)
            yield control
            told, heard = position, silences
        yield from _between(self, told, heard, len(self.samples), len(self.silences))


def _between(
    entry: Entry, sample: int, silence: int, last_sample: int, last_silence: int
) -> Iterator[list[Sample] | int]:
    """Yield what came between two controls."""
    for position, elapsed_ms in entry.silences[silence:last_silence]:
        if position > sample:
            yield entry.samples[sample:position]
        yield elapsed_ms
        sample = position
    if last_sample > sample:
        yield entry.samples[sample:last_sample]


class JournalEncoder:
    """What was told since the last commit → blobs; remembers shapes the journal defines.

    Attributes
    ----------
    silences, controls : since the last commit; whoever takes them adds them.
    """

    def __init__(self) -> None:
        self._known: dict[Shape, int] = {}
        self._begin()

    def _begin(self) -> None:
        self.silences: list[Silence] = []
        self.controls: list[Told] = []
        self._fresh: dict[int, Shape] = {}
        self._loose: list[Sample] = []
        self._rows, self._stamped = array("I"), bytearray()
        self._times, self._values = array("q"), array("d")

    def __bool__(self) -> bool:
        """Whether anything was told since the last commit."""
        return bool(self.samples or self.silences or self.controls)

    @property
    def samples(self) -> int:
        """How many samples were taken since the last commit."""
        return len(self._rows) + len(self._loose)

    def take(self, samples: Sequence[Sample]) -> None:
        """Take samples in order of arrival."""
        self._loose += samples
        if len(self._loose) > LOOSE_SAMPLES:
            self._pack()

    def encode(self) -> bytes:
        """Return the blob of one commit; call ``written`` once it is on disk."""
        self._pack()
        times = np.frombuffer(self._times, np.int64)
        blob = _Blob(
            self.silences,
            self._fresh,
            self._rows.tobytes(),
            bytes(self._stamped),
            _planes(np.diff(times, prepend=np.int64(0))),
            _planes(np.frombuffer(self._values, np.float64)),
            self.controls,
        )
        return zlib.compress(msgspec.msgpack.encode(blob), DEFLATE_LEVEL)

    def written(self) -> None:
        """The last blob is on disk: its shapes need no further definition."""
        self._begin()

    def _pack(self) -> None:
        """Lay samples into their columns."""
        samples, self._loose = self._loose, []
        self._rows.fromlist([self._shape(sample) for sample in samples])
        self._stamped += bytes(not sample.own_time for sample in samples)
        self._times.fromlist([sample.time_ms for sample in samples])
        self._values.fromlist([value for sample in samples for value in sample.values.values()])

    def _shape(self, sample: Sample) -> int:
        shape = (sample.asset, tuple(sample.values))
        number = self._known.get(shape)
        if number is None:
            number = self._known[shape] = len(self._known)
            self._fresh[number] = shape
        return number


class JournalDecoder:
    """Blobs → entries, in the order in which they were written."""

    def __init__(self) -> None:
        self._shapes: dict[int, Shape] = {}

    def decode(self, data: bytes) -> Entry:
        """Return what one commit held; raises StoreError on damaged bytes."""
        try:
            return self._rows(msgspec.msgpack.decode(inflate(data), type=_Blob))
        except (msgspec.DecodeError, ValueError, KeyError, IndexError) as error:
            message = f"expected a journal entry, got {len(data)} damaged bytes: {error}"
            raise StoreError(message) from error

    def _rows(self, blob: _Blob) -> Entry:
        self._shapes.update(blob.shapes)
        times = np.cumsum(_unplanes(blob.times, np.dtype(np.int64))).tolist()
        values = _unplanes(blob.values, np.dtype(np.float64)).tolist()
        if any(abs(time_ms) > MAX_EVENT_MS for time_ms in times):
            raise ValueError("an event time that no date can write")
        samples, at = [], 0
        rows = np.frombuffer(blob.rows, np.uint32).tolist()
        for row, time_ms, stamped in zip(rows, times, blob.stamped, strict=True):
            asset, sensors = self._shapes[row]
            numbers = values[at : at + len(sensors)]
            at += len(sensors)
            samples.append(
                Sample(asset, time_ms, dict(zip(sensors, numbers, strict=True)), not stamped)
            )
        return Entry(samples, blob.silences, blob.controls)


def inflate(data: bytes) -> bytes:
    """Undo ``zlib.compress`` within MAX_BLOB_BYTES; raises StoreError."""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, MAX_BLOB_BYTES)
    except zlib.error as error:
        raise StoreError(f"expected deflated bytes, got damaged ones: {error}") from error
    if not inflater.eof:
        raise StoreError(f"expected at most {MAX_BLOB_BYTES} whole bytes, got a cut or larger blob")
    return inflated


def _planes(column: NDArray[np.generic]) -> bytes:
    """Lay the first bytes of all numbers side by side, then the second ones."""
    return column.view(np.uint8).reshape(-1, 8).T.tobytes()


def _unplanes(data: bytes, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    return np.frombuffer(data, np.uint8).reshape(8, -1).T.copy().view(dtype).reshape(-1)
