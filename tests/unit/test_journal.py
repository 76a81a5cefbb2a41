"""Journal blobs give back what went in, bit by bit, and refuse damage."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.control import Rename
from offbeat_edge.errors import StoreError
from offbeat_edge.journal import JournalDecoder, JournalEncoder
from offbeat_edge.schema import MAX_EVENT_MS, Sample

names = st.text("abc.é", min_size=1, max_size=4)
samples = st.builds(
    Sample,
    asset=names,
    time_ms=st.integers(-MAX_EVENT_MS, MAX_EVENT_MS),
    values=st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    own_time=st.booleans(),
)


def blob(*told: Sample) -> bytes:
    encoder = JournalEncoder()
    encoder.take(told)
    return encoder.encode()


def bits(sample: Sample) -> list[bytes]:
    return [struct.pack("<d", value) for value in sample.values.values()]


silences = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 10**9)), max_size=3)


@given(st.lists(st.tuples(st.lists(samples, max_size=6), silences), max_size=4))
def test_commits_come_back_in_order_and_to_the_bit(
    commits: list[tuple[list[Sample], list[tuple[int, int]]]],
) -> None:
    encoder, decoder = JournalEncoder(), JournalDecoder()
    for batch, quiet in commits:
        encoder.take(batch)
        encoder.silences += quiet
        entry = decoder.decode(encoder.encode())
        encoder.written()
        assert entry.samples == batch
        assert entry.silences == quiet
        assert [list(s.values) for s in entry.samples] == [list(s.values) for s in batch]
        assert [bits(s) for s in entry.samples] == [bits(s) for s in batch]


def test_a_shape_is_defined_once() -> None:
    encoder, decoder = JournalEncoder(), JournalDecoder()
    sample = Sample("p1", 1, {"flow": 1.0})
    encoder.take([sample])
    first = encoder.encode()
    encoder.written()
    encoder.take([sample])
    second = encoder.encode()
    assert decoder.decode(first).samples == [sample]
    assert decoder.decode(second).samples == [sample]
    assert len(second) < len(first)


def test_what_was_not_written_is_in_the_next_blob() -> None:
    encoder = JournalEncoder()
    first, second = Sample("p1", 1, {"flow": 1.0}), Sample("p1", 2, {"flow": 2.0})
    encoder.take([first])
    encoder.encode()
    encoder.take([second])
    assert JournalDecoder().decode(encoder.encode()).samples == [first, second]


@given(st.binary(max_size=64))
def test_damaged_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(StoreError):
        JournalDecoder().decode(data)


def test_a_flipped_bit_is_noticed_or_harmless() -> None:
    sample = Sample("p1", 5, {"flow": math.pi})
    whole = blob(sample)
    refused = 0
    for at in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        try:
            # deflate leaves a few bits without a meaning
            assert JournalDecoder().decode(bytes(damaged)).samples == [sample]
        except StoreError:
            refused += 1
    assert refused > 0.95 * len(whole) * 8


Step = list[Sample] | int | Rename
steps = st.lists(
    st.one_of(
        st.lists(samples, min_size=1, max_size=3),
        st.integers(1, 10**6),
        st.builds(
            Rename,
            id=st.text("ab1", min_size=1, max_size=5),
            time_ms=st.just(10**12),
            asset=st.just("a"),
            to=st.just("b"),
        ),
    ),
    max_size=12,
)


@given(steps)
def test_samples_silences_and_controls_come_back_in_the_order_they_were_told(
    told: list[Step],
) -> None:
    encoder = JournalEncoder()
    for step in told:
        if isinstance(step, int):
            encoder.silences.append((encoder.samples, step))
        elif isinstance(step, list):
            encoder.take(step)
        else:
            encoder.controls.append((encoder.samples, len(encoder.silences), step))
    again = JournalDecoder().decode(encoder.encode())
    assert flat(list(again.steps())) == flat(told)


def flat(steps: list[Step]) -> list[Sample | int | Rename]:
    """Samples one by one: how they were batched is not kept."""
    return [item for step in steps for item in (step if isinstance(step, list) else [step])]


def test_a_time_that_no_date_can_write_is_damage() -> None:
    with pytest.raises(StoreError, match="damaged"):
        JournalDecoder().decode(blob(Sample("p1", 1 << 50, {"flow": 1.0})))
