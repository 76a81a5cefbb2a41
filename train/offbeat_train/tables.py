"""One file into columns: delimited text (plain or compressed) or Parquet.

Rules: only the columns that can matter are read; a column's type comes from
``layout`` and a cell that does not fit it is a missing value with a warning
when that is rare, an error with its line when it is not; a file cut in its
last line loses that line and says so.

>>> table = read_table(Path("pump.csv"))  # doctest: +SKIP
>>> table.columns["flow"]  # float64, NaN where absent  # doctest: +SKIP
"""

from __future__ import annotations

import codecs
import contextlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from offbeat_train.errors import HistoryError
from offbeat_train.layout import BLANKS, FALSE, GROUPED, NULLS, OTHER, TRUE, Kind, Layout, sniff

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

HEAD_BYTES = 256 * 1024  # looked at to find the layout
BAD_SHARE = 0.01  # of rows or cells; beyond it a file is refused, not mended
POINTS = {".": "point", ",": "comma"}
MAX_RETYPES = 64  # columns whose type may turn out different further down
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_NULL_SPELLINGS = sorted({spell for n in NULLS for spell in (n, n.upper(), n.title())} | {"NaN"})


@dataclass(frozen=True, kw_only=True)
class Table:
    """The columns of one file, in their order.

    ``columns`` holds Arrow arrays: ``double`` for numbers and flags,
    ``timestamp`` or ``string`` for times, dictionaries of strings for text;
    ``kinds`` says which.  Row ``i`` stands on line ``skip + i + 1``.
    """

    path: Path
    rows: int
    columns: dict[str, Any]
    kinds: dict[str, Kind]
    skip: int = 0
    cut: bool = False  # the file ended inside a line
    warnings: list[str] = field(default_factory=list)

    def line(self, row: int) -> int | None:
        """Return the line of row ``row`` (from 0), or None for a binary file."""
        return None if self.skip < 0 else self.skip + row + 1

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column of numbers, shape (rows,), NaN where absent."""
        column = self.columns[name]
        values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return np.asarray(values, dtype=np.float64)


def read_table(path: Path) -> Table:
    """Read one file.

    Parameters
    ----------
    path : a delimited text file, compressed or not, or a Parquet file.

    Raises
    ------
    HistoryError : it cannot be opened, or is none of these, or is broken.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(8)
    except OSError as error:
        raise HistoryError(f"cannot be opened: {error.strerror}", path=path) from error
    if not magic:
        raise HistoryError("expected a header and rows, got an empty file", path=path)
    if magic.startswith(b"PAR1"):
        return _read_parquet(path)
    if magic.startswith((b"PK", b"\x93NUMPY", b"\x89HDF", b"\xd0\xcf")):
        raise HistoryError("expected CSV or Parquet, got another binary format", path=path)
    return _read_text(path, magic)


# ------------------------------------------------------------------- Parquet


def _read_parquet(path: Path) -> Table:
    with _arrow_errors(path):
        table = pq.read_table(path)
    columns: dict[str, Any] = {}
    kinds: dict[str, Kind] = {}
    warnings = []
    for name in dict.fromkeys(table.column_names):
        kind = _arrow_kind(table.schema.field(name).type)
        if kind is None:
            warnings.append(f"{path}: column {name!r} is nested or binary and is not read")
            continue
        columns[name], kinds[name] = table.column(name), kind
    return Table(path=path, rows=table.num_rows, columns=columns, kinds=kinds, skip=-1,
                 warnings=warnings)  # fmt: skip


def _arrow_kind(kind: Any) -> Kind | None:  # noqa: ANN401 - Arrow ships no types
    types = pa.types
    if types.is_dictionary(kind):
        return _arrow_kind(kind.value_type)
    if types.is_timestamp(kind) or types.is_date(kind):
        return "time"
    if types.is_boolean(kind):
        return "flag"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_string(kind) or types.is_large_string(kind):
        return "text"
    return "empty" if types.is_null(kind) else None


# ---------------------------------------------------------------------- text


def _read_text(path: Path, magic: bytes) -> Table:
    compression = next((c for m, c in _COMPRESSIONS.items() if magic.startswith(m)), None)
    with _arrow_errors(path), _stream(path, compression) as stream:
        head = stream.read(HEAD_BYTES)
    encoding = _encoding(head)
    text = head.decode(encoding, errors="replace").lstrip("\ufeff")
    if "\x00" in text[:4096]:
        raise HistoryError("expected CSV or Parquet, got another binary format", path=path)
    if len(head) == HEAD_BYTES:
        text = text[: text.rfind("\n") + 1] or text
    try:
        layout = sniff(text)
    except HistoryError as error:
        raise HistoryError(error.problem, path=path) from error
    return _TextReader(path, compression, encoding, layout).read()


def _encoding(head: bytes) -> str:
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


@contextlib.contextmanager
def _stream(path: Path, compression: str | None) -> Iterator[Any]:
    with pa.OSFile(str(path), "rb") as raw:
        if compression is None:
            yield raw
            return
        with pa.CompressedInputStream(raw, compression) as stream:
            yield stream


class _TextReader:
    """Reads one delimited file, giving way where a column is not what it seemed."""

    def __init__(self, path: Path, compression: str | None, encoding: str, layout: Layout) -> None:
        self.path, self.compression, self.encoding, self.layout = (
            path,
            compression,
            encoding,
            layout,
        )
        self.kinds = dict(zip(layout.names, layout.kinds, strict=True))
        self.as_text = set(layout.thousands)
        self.short_rows: list[tuple[int, int]] = []  # (row, fields)

    def read(self) -> Table:
        table = self._read_typed()
        bad, cut = self._judge_short_rows(table.num_rows)
        warnings = [f"{self.path}: {note}" for note in self.layout.notes] + bad
        columns = {name: table.column(name) for name in table.column_names}
        result = Table(path=self.path, rows=table.num_rows, columns=columns, kinds=self.kinds,
                       skip=self.layout.skip, cut=cut, warnings=warnings)  # fmt: skip
        for name in sorted(self.as_text):
            result = _mend(result, name, self.layout.decimal)
        return result

    def _read_typed(self) -> Any:  # noqa: ANN401 - an Arrow table
        for _ in range(MAX_RETYPES):
            self.short_rows.clear()
            try:
                with _stream(self.path, self.compression) as stream:
                    return pa_csv.read_csv(stream, *self._options())
            except (pa.ArrowInvalid, UnicodeDecodeError) as error:
                self._give_way(error)
            except (pa.ArrowException, OSError, EOFError) as error:
                raise HistoryError(_plain(error), path=self.path) from error
        raise HistoryError(
            f"expected columns of numbers, got text in more than {MAX_RETYPES} of them",
            path=self.path,
        )

    def _give_way(self, error: Exception) -> None:
        """Read a column as text that turned out not to be numbers, or raise."""
        if "UTF8" in str(error) and self.encoding == "utf-8":
            self.encoding = "cp1252"
            return
        found = re.search(r"In CSV column #(\d+)", str(error))
        name = self.layout.names[int(found.group(1))] if found else ""
        if not found or name in self.as_text:
            raise HistoryError(_plain(error), path=self.path) from error
        self.as_text.add(name)

    def _options(self) -> tuple[Any, Any, Any]:
        layout = self.layout
        read = pa_csv.ReadOptions(use_threads=False, skip_rows=layout.skip,
                                  column_names=list(layout.names),
                                  encoding=self.encoding, block_size=8 << 20)  # fmt: skip
        parse = pa_csv.ParseOptions(delimiter=layout.delimiter, invalid_row_handler=self._on_short)
        convert = pa_csv.ConvertOptions(
            column_types={name: self._type(name) for name in layout.names},
            null_values=_NULL_SPELLINGS, strings_can_be_null=True, decimal_point=layout.decimal,
            true_values=_spellings(TRUE), false_values=_spellings(FALSE),
        )  # fmt: skip
        return read, parse, convert

    def _type(self, name: str) -> Any:  # noqa: ANN401 - an Arrow type
        kind = self.kinds[name]
        if name in self.as_text or kind == "time":
            return pa.string()
        if kind in ("number", "empty"):
            return pa.float64()
        return pa.bool_() if kind == "flag" else pa.dictionary(pa.int32(), pa.string())

    def _on_short(self, row: Any) -> str:  # noqa: ANN401 - pyarrow's InvalidRow
        self.short_rows.append((int(row.number), int(row.actual_columns)))
        return "skip"

    def _judge_short_rows(self, rows: int) -> tuple[list[str], bool]:
        """Say which lines were left out; refuse a file where they are many."""
        if not self.short_rows:
            return [], False
        width = len(self.layout.names)
        line, fields = self.short_rows[0]
        total = rows + len(self.short_rows)
        expected = f"expected {width} fields, got {fields}"
        if len(self.short_rows) > max(1, BAD_SHARE * total):
            more = f" (and {len(self.short_rows) - 1} more lines like it)"
            raise HistoryError(expected + more, path=self.path, line=line)
        place = f"{self.path}, line {line}: {expected}; "
        if len(self.short_rows) == 1 and line >= total + self.layout.skip:
            return [f"{place}the file is cut there and that line is left out"], True
        return [f"{place}{len(self.short_rows)} such lines are left out"], False


def _mend(table: Table, name: str, decimal: str) -> Table:
    """Turn a text column into numbers, or leave it text where it mostly is."""
    texts = pc.utf8_trim_whitespace(table.columns[name])
    if table.kinds[name] == "flag":
        lowered = pc.utf8_lower(texts)
        texts = pc.if_else(pc.is_in(lowered, pa.array(TRUE)), "1", texts)
        texts = pc.if_else(pc.is_in(lowered, pa.array(FALSE)), "0", texts)
    joined = _joined_thousands(texts, decimal)
    numbers = _to_numbers(joined, decimal)
    known = np.asarray(pc.is_valid(texts).to_numpy(zero_copy_only=False), dtype=bool)
    bad = np.flatnonzero(known & np.isnan(numbers))
    if bad.size > BAD_SHARE * max(1, int(known.sum())) and bad.size > 1:
        if table.kinds[name] == "number":
            raise HistoryError(
                f"expected a number, got {texts[int(bad[0])].as_py()!r} "
                f"({bad.size} such cells of {table.rows})",
                path=table.path, line=table.line(int(bad[0])), column=name,
            )  # fmt: skip
        coded = {**table.columns, name: texts.dictionary_encode()}
        return replace(table, columns=coded, kinds={**table.kinds, name: "text"})
    if (row := _ambiguous(texts, joined, decimal)) is not None:
        table.warnings.append(
            f"{table.path}, line {table.line(row)}, column {name!r}: {texts[row].as_py()!r} is "
            f"read as {joined[row].as_py()}: decimals have a {POINTS[decimal]} in this file"
        )
    for row in bad[:1]:
        table.warnings.append(
            f"{table.path}, line {table.line(int(row))}, column {name!r}: expected a number, got "
            f"{texts[int(row)].as_py()!r}; {bad.size} such cells are read as missing"
        )
    columns = {**table.columns, name: pa.chunked_array([pa.array(numbers, from_pandas=True)])}
    return replace(table, columns=columns, kinds={**table.kinds, name: "number"})


def _to_numbers(texts: Any, decimal: str) -> NDArray[np.float64]:  # noqa: ANN401
    if decimal == ",":
        texts = pc.replace_substring(texts, ",", ".")
    pattern = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
    clean = pc.if_else(
        pc.match_substring_regex(texts, pattern), texts, pa.scalar(None, pa.string())
    )
    clean = pc.utf8_ltrim(clean, "+")
    return np.asarray(pc.cast(clean, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _joined_thousands(texts: Any, decimal: str) -> Any:  # noqa: ANN401
    """Take out what sets thousands apart.

    A point does where numbers have a decimal comma (and the other way round),
    unless the column has more than a few numbers in which it does not.
    """
    other, grouped = OTHER[decimal], pc.match_substring_regex(texts, GROUPED[decimal])
    pointed = pc.match_substring(texts, other)
    plain = pc.match_substring_regex(texts, rf"^[+-]?[0-9]*[{other}][0-9]*$")
    doubtful = pc.sum(pc.and_(plain, pc.invert(grouped))).as_py() or 0
    apart = doubtful > BAD_SHARE * (pc.sum(pointed).as_py() or 0)
    blanks = BLANKS if apart else other + BLANKS
    return pc.if_else(grouped, pc.replace_substring_regex(texts, f"[{blanks}]", ""), texts)


def _ambiguous(texts: Any, joined: Any, decimal: str) -> int | None:  # noqa: ANN401
    """Find the first number that were another if its thousands were not joined."""
    one = pc.equal(pc.count_substring(texts, OTHER[decimal]), 1)
    whole = pc.invert(pc.match_substring(texts, decimal))
    rows = pc.indices_nonzero(pc.and_(pc.and_(one, whole), pc.not_equal(texts, joined)))
    return int(rows[0].as_py()) if len(rows) else None


def _spellings(words: tuple[str, ...]) -> list[str]:
    return [spell for word in words for spell in (word, word.upper(), word.title())]


@contextlib.contextmanager
def _arrow_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        raise HistoryError(_plain(error), path=path) from error


def _plain(error: BaseException) -> str:
    """Put a foreign error into one line, with the common ones in our words."""
    text = " ".join(str(error).split())
    lowered = text.lower()
    if "truncated" in lowered or "footer" in lowered or "couldn't deserialize" in lowered:
        return f"the file is cut short or damaged ({text})"
    return f"cannot be read ({text})"
