r"""How a delimited text file is laid out, from its first lines.

Rules: nothing is assumed that can be seen; a header is a first line that
has text above a column of numbers or times, or holds neither (or which
just counts 0, 1, 2 ...); comment lines (``#``) and blank lines before it
are skipped.  Pure: text in, layout out.

>>> sniff("t;flow\n2024-01-01 00:00:00;1,5\n2024-01-01 00:00:01;1,6\n").decimal
','
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from offbeat_train.errors import HistoryError

SAMPLE_LINES = 200  # lines looked at
DELIMITERS = (";", "\t", "|", ",", "^", "~", " ")  # in order of preference
NULLS = ("", "nan", "na", "n/a", "#n/a", "null", "none", "nil", "-", "--", "?", "inf", "-inf",
         "bad", "missing")  # fmt: skip
TRUE = ("true", "yes", "on")
FALSE = ("false", "no", "off")

Kind = Literal["number", "flag", "time", "text", "empty"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
_COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?$")
OTHER = {".": ",", ",": "."}  # what may stand between thousands, by the decimal point
BLANKS = " '\u2019\u00a0\u202f"  # and what always may
# Numbers with thousands set apart, by the decimal point; a regular expression of RE2 as well.
GROUPED = {
    point: rf"^[+-]?[1-9][0-9]{{0,2}}([{other}{BLANKS}][0-9]{{3}})+([{point}][0-9]+)?$"
    for point, other in OTHER.items()
}
_GROUPED = {point: re.compile(pattern) for point, pattern in GROUPED.items()}
_THREE = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}$")  # decimals, or a thousand set apart
_TIME = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]+\d{1,2}:\d{2}.*)?$|\d{8}T\d{4,6}"
    r"|\d{4}(-\d{2}){5}$"
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a reader must know before it reads.

    ``skip`` is the number of lines before the first row of data, so row
    ``i`` (from 0) stands on line ``skip + i + 1``.
    """

    delimiter: str
    decimal: Literal[".", ","]
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    skip: int
    notes: tuple[str, ...] = ()
    thousands: tuple[str, ...] = ()  # columns in which they are set apart


def sniff(head: str) -> Layout:
    """Find the layout of a text file.

    Parameters
    ----------
    head : the first lines; a last line without its end is left out when
        there are others.

    Raises
    ------
    HistoryError : there is no line with anything in it.
    """
    lines = head.splitlines()
    if len(lines) > 2 and not head.endswith(("\n", "\r")):
        lines.pop()
    start = _first_line(lines)
    sample = lines[start : start + SAMPLE_LINES]
    if not sample:
        raise HistoryError("expected a header and rows, got an empty file")
    delimiter = _delimiter(sample)
    rows = [row for row in csv.reader(sample, delimiter=delimiter) if row]
    decimal = _decimal(rows[1:])
    return _with_header(rows, delimiter, decimal, start)


def kind_of(cells: list[str], decimal: str = ".") -> Kind:
    """Tell what a column holds from some of its cells; the majority decides.

    >>> kind_of(["1", "2.5", "n/a"])
    'number'
    """
    votes = Counter(_cell_kind(cell.strip(), decimal) for cell in cells)
    votes.pop("empty", None)
    return votes.most_common(1)[0][0] if votes else "empty"


def _cell_kind(cell: str, decimal: str) -> Kind:
    if cell.lower() in NULLS:
        return "empty"
    plain = _NUMBER.match(cell) or (decimal == "," and _COMMA_NUMBER.match(cell))
    if plain or _GROUPED[decimal].match(cell):
        return "number"
    if cell.lower() in TRUE or cell.lower() in FALSE:
        return "flag"
    return "time" if _TIME.match(cell) else "text"


def _first_line(lines: list[str]) -> int:
    for index, line in enumerate(lines):
        if line.strip() and not line.startswith("#"):
            return index
    return len(lines)


def _delimiter(lines: list[str]) -> str:
    """Take the delimiter under which most lines have the same many fields."""
    best, best_share = ",", 0.0
    for candidate in DELIMITERS:
        counts = [len(row) for row in csv.reader(lines, delimiter=candidate) if row]
        width, times = Counter(counts).most_common(1)[0]
        share = times / len(counts)
        if width > 1 and share > best_share + 0.05 and (counts[0] == width or share == 1.0):
            best, best_share = candidate, share
    return best


def _decimal(rows: list[list[str]]) -> Literal[".", ","]:
    """Take the decimal point of most columns; one that may be set apart for thousands counts half.

    >>> _decimal([["7,42", "1.426"], ["7,43", "1.427"]])
    ','
    """
    width = max((len(row) for row in rows), default=0)
    votes: Counter[str] = Counter()
    for index in range(width):
        cells = [row[index].strip() for row in rows if index < len(row)]
        for point in OTHER:
            votes[point] += _vote(cells, point)
    return "," if votes[","] > votes["."] else "."


def _vote(cells: list[str], point: str) -> int:
    """Say how surely a column has this decimal point: 2, 1 where thousands look the same, or 0."""
    plain = _COMMA_NUMBER if point == "," else _NUMBER
    for cell in cells:
        grouped = _GROUPED[point].match(cell)
        decimals = point in cell and not _THREE.match(cell)
        if (decimals and (plain.match(cell) or grouped)) or (
            grouped and cell.count(OTHER[point]) > 1
        ):
            return 2
    known = [cell for cell in cells if cell.lower() not in NULLS]
    return int(bool(known) and all(point in cell and _THREE.match(cell) for cell in known))


def _with_header(
    rows: list[list[str]], delimiter: str, decimal: Literal[".", ","], start: int
) -> Layout:
    width = Counter(len(row) for row in rows).most_common(1)[0][0]
    named = len(rows[0]) == width and _is_header(rows, decimal)
    body = [row for row in (rows[1:] if named else rows) if len(row) == width]
    columns = [[row[i] for row in body] for i in range(width)]
    names, notes = _names(rows[0], width) if named else _made_up(width, start)
    return Layout(
        delimiter=delimiter,
        decimal=decimal,
        names=names,
        kinds=tuple(kind_of(cells, decimal) for cells in columns),
        skip=start + int(named),
        notes=notes,
        thousands=tuple(
            name for name, cells in zip(names, columns, strict=True)
            if any(_GROUPED[decimal].match(cell.strip()) for cell in cells)
        ),
    )  # fmt: skip


def _is_header(rows: list[list[str]], decimal: str) -> bool:
    """Tell whether a cell of the first line is text above numbers or times."""
    first, body = rows[0], rows[1:]
    if first == [str(index) for index in range(len(first))] and len(first) > 1:
        return True
    kinds = [_cell_kind(cell.strip(), decimal) for cell in first]
    below = [kind_of([row[i] for row in body if len(row) > i], decimal) for i in range(len(first))]
    if any(kind == "text" and under != "text" for kind, under in zip(kinds, below, strict=True)):
        return True
    return not set(kinds) & {"number", "time"}


def _names(first: list[str], width: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names: list[str] = []
    notes: list[str] = []
    for index in range(width):
        plain = first[index].strip().lstrip("\ufeff") or f"column_{index + 1}"
        name, copy = plain, 2
        while name in names:
            name, copy = f"{plain}_{copy}", copy + 1
        if name != plain:
            notes.append(f"two columns are called {plain!r}; the later one is read as {name!r}")
        names.append(name)
    return tuple(names), tuple(notes)


def _made_up(width: int, start: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names = tuple(f"column_{index + 1}" for index in range(width))
    note = f"line {start + 1} is already data, so there is no header: columns are called {names[0]}"
    return names, (f"{note} ... {names[-1]}" if width > 1 else note,)
