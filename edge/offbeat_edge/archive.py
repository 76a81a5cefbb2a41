"""A zip file that can be written in one way only.

Rules: members are stored, never compressed; one fixed time, mode and order;
no comments, extra fields or data between members.  The reader takes a file
apart from front to back and then demands that packing its members gives the
same bytes: whatever else a zip can say (symlinks, duplicates, two
directories, a tail) has no place to hide.  Any unzip tool opens it.

>>> sorted(unpack(pack({"b.bin": b"22", "a.bin": b"1"}), where="x.bundle"))
['a.bin', 'b.bin']
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

from offbeat_edge.errors import BundleError

MEMBERS_MAX = 16  # members
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")  # no separators, no leading dot

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION = 10  # stored members need zip 1.0
_MADE_BY = 3 << 8 | 20  # Unix
_DATE = 1 << 5 | 1  # 1980-01-01, the zip epoch
_MODE = 0o100644 << 16  # a plain file
_NO_FLAGS = _STORED = _MIDNIGHT = 0


class _Part(NamedTuple):
    name: str
    data: bytes
    end: int  # offset of the byte after it


def pack(members: dict[str, bytes]) -> bytes:
    """Pack ``members`` (name to content), sorted by name."""
    body, directory = bytearray(), bytearray()
    for name in sorted(members):
        data, label = members[name], name.encode()
        head = (_NO_FLAGS, _STORED, _MIDNIGHT, _DATE, zlib.crc32(data), len(data), len(data))
        directory += _CENTRAL.pack(
            b"PK\x01\x02", _MADE_BY, _VERSION, *head, len(label), 0, 0, 0, 0, _MODE, len(body)
        )
        directory += label
        body += _LOCAL.pack(b"PK\x03\x04", _VERSION, *head, len(label), 0) + label + data
    count = len(members)
    end = _END.pack(b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + end)


def unpack(data: bytes, *, where: str) -> dict[str, bytes]:
    """Take apart what ``pack`` wrote.

    Raises
    ------
    BundleError : anything else; ``where`` (a file name) starts the message.
    """
    if data[:4] != b"PK\x03\x04":
        raise BundleError(f"{where}: expected a zip file, got a file starting {data[:4]!r}")
    members: dict[str, bytes] = {}
    at = 0
    while data[at : at + 4] == b"PK\x03\x04":
        part = _part(data, at, where)
        if part.name in members:
            raise BundleError(f"{where}: {part.name}: expected one member, got two of that name")
        if len(members) == MEMBERS_MAX:
            raise BundleError(f"{where}: expected at most {MEMBERS_MAX} members, got more")
        members[part.name] = part.data
        at = part.end
    again = pack(members)
    if again != data:
        raise BundleError(f"{where}: {_difference(data, again, at)}")
    return members


def _part(data: bytes, at: int, where: str) -> _Part:
    if len(data) < at + _LOCAL.size:
        raise BundleError(f"{where}: truncated in the header of a member at byte {at}")
    fields = _LOCAL.unpack_from(data, at)
    flags, method = fields[2], fields[3]
    packed, size, label_length, extra = fields[7:11]
    start = at + _LOCAL.size + label_length
    name = data[at + _LOCAL.size : start].decode("ascii", errors="backslashreplace")
    if not NAME.fullmatch(name):
        raise BundleError(
            f"{where}: expected member names of a-z, 0-9, _, . and - without a path, got {name!r}"
        )
    if method != _STORED:
        raise BundleError(f"{where}: {name}: expected a stored member, got compression {method}")
    if flags or extra or packed != size:
        raise BundleError(
            f"{where}: {name}: expected a plain stored member, got extra zip features"
        )
    end = start + size
    if end > len(data):
        got = len(data) - start
        raise BundleError(f"{where}: {name}: truncated, expected {size} bytes, got {got}")
    return _Part(name=name, data=data[start:end], end=end)


def _difference(data: bytes, again: bytes, directory: int) -> str:
    """Say in one line why ``data`` is not the one form ``again``."""
    if data.startswith(again):
        return f"expected {len(again)} bytes, got {len(data) - len(again)} more at the end"
    if again.startswith(data):
        return f"truncated, expected {len(again)} bytes, got {len(data)}"
    if len(data) >= directory + _CENTRAL.size and data[directory:].startswith(b"PK\x01\x02"):
        mode = _CENTRAL.unpack_from(data, directory)[15] >> 16
        if mode != _MODE >> 16:
            return f"expected plain files of mode {_MODE >> 16:o}, got mode {mode:o}"
    at = next(i for i, (a, b) in enumerate(zip(data, again, strict=False)) if a != b)
    return f"expected members stored as offbeat writes them, got a difference at byte {at}"
