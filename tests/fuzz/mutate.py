"""Bytes near valid ones: the mutators of the fuzzer and of the tests.

Rules: a result is a function of the input and of ``chance`` alone; never
longer than asked.

>>> import random
>>> mutated(b'{"ts": 1, "flow": 2.5}', random.Random(4), most=64) != b'{"ts": 1, "flow": 2.5}'
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

TOKENS = (
    b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"=", b" ", b"\n", b"#", b"\x00", b"\xff",
    b"NaN", b"-Infinity", b"1e308", b"1e999", b"-0.0", b"null", b"true", b"\\u0000", b"\\ud800",
    b"9223372036854775808", b"18446744073709551616", b"1700000000", b"4102444800000",
    b"2023-11-14T22:13:20Z", b"\xef\xbb\xbf", "é".encode(), b"\xed\xa0\x80", b"+", b"/", b"..",
    b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\xdd\xff\xff\xff\xff", b"\xc1", b"PK\x03\x04",
)  # fmt: skip
STEPS = 5  # changes made to one input, at most
RUN = 9  # bytes in a row that a change touches, at most


def mutated(data: bytes, chance: random.Random, *, most: int) -> bytes:
    """Change ``data`` in one to STEPS places; ``most`` bytes at most."""
    body = bytearray(data)
    for _ in range(chance.randint(1, STEPS)):
        chance.choice(CHANGES)(body, chance)
    return bytes(body[:most])


def inputs(seeds: Sequence[bytes], count: int, chance: random.Random, *, most: int) -> list[bytes]:
    """``count`` inputs: mutations of seeds, and of what mutation has led to."""
    pool = list(seeds)
    made = []
    for _ in range(count):
        data = mutated(chance.choice(pool), chance, most=most)
        made.append(data)
        if chance.random() < 0.1:
            pool.append(data)
    return made


def _place(body: bytearray, chance: random.Random) -> slice:
    start = chance.randrange(len(body) + 1)
    return slice(start, start + chance.randint(0, RUN))


def _flip(body: bytearray, chance: random.Random) -> None:
    if body:
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)


def _byte(body: bytearray, chance: random.Random) -> None:
    if body:
        body[chance.randrange(len(body))] = chance.choice((0, 1, 127, 128, 255, 45, 48, 57))


def _token(body: bytearray, chance: random.Random) -> None:
    body[_place(body, chance)] = chance.choice(TOKENS)


def _cut(body: bytearray, chance: random.Random) -> None:
    del body[_place(body, chance)]


def _copy(body: bytearray, chance: random.Random) -> None:
    """Repeat a part elsewhere, sometimes often: nests and lists grow by it."""
    start = chance.randrange(len(body) + 1)
    part = body[start : start + chance.randint(1, 40)]
    at = chance.randrange(len(body) + 1)
    body[at:at] = part * chance.choice((1, 1, 1, 2, 50))


def _number(body: bytearray, chance: random.Random) -> None:
    """A little-endian number where offsets and counts may be."""
    width = chance.choice((1, 2, 4, 8))
    value = chance.choice((0, 1, -1, 1 << (8 * width - 1), len(body), chance.randrange(300)))
    at = chance.randrange(len(body) + 1)
    body[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")


def _end(body: bytearray, chance: random.Random) -> None:
    del body[chance.randrange(len(body) + 1) :]


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip, _byte, _token, _token, _token, _cut, _copy, _number, _end,
)  # fmt: skip
