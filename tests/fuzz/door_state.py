"""What lies on the device's disk: journal entries and the engine's snapshot.

SQLite and deflate have checksums, so bytes that rot are seen before they come
here; what is tried is that none of them, however chosen, does more harm than
a state that is lost and said to be.
"""

from __future__ import annotations

import contextlib
import zlib

import msgspec
from door_bundle import MANIFEST

from offbeat_edge.control import Feedback, Logged, Maintenance, encode
from offbeat_edge.control import decode as decode_control
from offbeat_edge.engine import Engine
from offbeat_edge.errors import StoreError
from offbeat_edge.journal import Entry, JournalDecoder, JournalEncoder, inflate
from offbeat_edge.model import Model
from offbeat_edge.schema import Sample

NOW = 1_750_000_000_000  # ms
ENTRY = [
    Sample("p1", NOW, {"flow": 1.5, "heat": 2.0}),
    Sample("p1", NOW + 1000, {"flow": 1.5}, own_time=False),
    Sample("p2", NOW, {"heat": -0.0}),
]
WORK = Maintenance(id="1", asset="p1", start_ms=NOW, end_ms=NOW + 60_000, time_ms=NOW, by="ana")
VERDICT = Feedback(id="2", asset="p1", verdict="expected", time_ms=NOW)


def _encoded(entry: Entry) -> bytes:
    encoder = JournalEncoder()
    encoder.take(entry.samples)
    encoder.silences, encoder.controls = entry.silences, entry.controls
    return encoder.encode()


BLOBS = (
    _encoded(Entry(ENTRY, [(1, 250), (3, 500)], [(2, 1, WORK)])),
    _encoded(Entry([], [(0, 1)], [(0, 0, VERDICT), (0, 1, VERDICT)])),
)
# The fallback scores: what a runtime makes of windows is not the question here.
MODEL = Model(
    manifest=MANIFEST, digest="0" * 64, config_digest="0" * 64, interpreter=None, lateness_ms=2000
)


def journal(data: bytes) -> None:
    """Bytes as they are, and as the content of a blob that was deflated well: read and walked."""
    for blob in (data, zlib.compress(data, 1)):
        with contextlib.suppress(StoreError):
            entry = JournalDecoder().decode(blob)
            _encoded(entry)
            _walk(entry)


def _walk(entry: Entry) -> None:
    engine = plain_engine()
    for step in entry.steps():
        if isinstance(step, list):
            engine.feed(step)
        elif isinstance(step, int):
            engine.idle(step)
        else:
            engine.control(step)


def control(data: bytes) -> None:
    """One line of the control log."""
    with contextlib.suppress(StoreError):
        logged = decode_control(data)
        assert decode_control(encode(logged)) == logged


def plain_engine() -> Engine:
    return Engine(site="default", gateway="gw1", route=lambda _: MODEL)


def minute(start_ms: int) -> list[Sample]:
    """Sixteen seconds of one asset, with a bump, a hole and a step back."""
    wild = {3: 40.0, 4: 40.0, 5: 40.0, 6: 40.0}
    times = [*range(9), 12, 13, 14, 13, 15]
    return [
        Sample("p1", start_ms + t * 1000, {"flow": wild.get(t, 10.0), "heat": 20.0}) for t in times
    ]


def _snapshots() -> tuple[bytes, ...]:
    """Of an engine that is new, warming, in an alert, and in silence."""
    engine, found = plain_engine(), []
    for step in range(4):
        engine.feed(minute(NOW + step * 16_000)[: 6 + step * 4])
        found.append(engine.snapshot())
    engine.idle(1_000_000)
    return (*found, engine.snapshot())


def snapshot(data: bytes) -> None:
    """Restore, then live on: feed, fall silent, and be saved again."""
    engine = plain_engine()
    try:
        engine.restore(data)
    except (msgspec.MsgspecError, ValueError):
        return
    newest = [w.aligner.state.newest for w in engine.watches.values()]
    start = next((n for n in newest if n is not None and abs(n) < 1 << 42), NOW)
    engine.feed(minute(start + 1000))
    engine.idle(1000)
    engine.feed(minute(start + 90_000))
    engine.restore(engine.snapshot())


def inflated(data: bytes) -> None:
    with contextlib.suppress(StoreError):
        inflate(data)


def contents() -> tuple[bytes, ...]:
    """The journal's seeds: blobs, and what is in them."""
    return (*BLOBS, *(zlib.decompress(blob) for blob in BLOBS))


SNAPSHOTS = _snapshots()
CONTROLS = tuple(
    encode(Logged(received_ms=NOW, at={"p1": 5000}, control=said)) for said in (WORK, VERDICT)
)
