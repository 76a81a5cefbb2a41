"""Tables into Structs, strictly, with every problem at once.

Rules: an unknown key is a problem and names the nearest known one; a value of
the wrong type or out of bounds is a problem; reading goes on after each, so
that one run shows all.  Values of unknown keys are never repeated: they may
be secrets.  The environment lies over the file: ``OFFBEAT_MQTT__PORT`` is
``mqtt.port``, ``OFFBEAT_MODEL__0__BUNDLE`` is the first ``[[model]]``'s.

>>> class Point(msgspec.Struct):
...     width: int = 0
>>> reader = Reader("demo.toml")
>>> reader.table(Point, {"widht": 1}, "point")
Point(width=0)
>>> reader.problems
["demo.toml: point.widht: unknown key, the nearest is 'width'"]
"""

from __future__ import annotations

import re
import tomllib
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo, fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PREFIX = "OFFBEAT_"
MAX_SHOWN = 60  # characters of a wrong value in a message
MAX_TABLES = 1000  # entries of one list of tables

S = TypeVar("S", bound=msgspec.Struct)


class EnvText(str):
    """A value from the environment: text that stands for its key's type."""

    __slots__ = ("variable",)
    variable: str


class Reader:
    """Reads the tables of one file; problems collect in ``problems``."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.problems: list[str] = []

    def problem(self, where: str, what: str) -> None:
        """Add one problem of the key ``where`` ("section.key")."""
        self.problems.append(f"{self._file}: {where}: {what}" if where else f"{self._file}: {what}")

    def table(self, cls: type[S], table: object, where: str) -> S | None:
        """Read one table; None when a required key is missing or wrong."""
        if not isinstance(table, dict):
            self.problem(where, f"expected a table, got {shown(table)}")
            return None
        known = {field.encode_name: field for field in fields(cls)}
        self._unknown(known, table, where)
        values: dict[str, Any] = {}
        for key, field in known.items():
            path = f"{where}.{key}" if where else key
            if key in table:
                self._take(values, field, table[key], path)
            elif field.required:
                self.problem(path, f"expected {expected(field.type)}, got nothing")
        if any(field.required and field.name not in values for field in known.values()):
            return None
        return cls(**values)

    def _unknown(self, known: Iterable[str], table: dict[str, object], where: str) -> None:
        for key in table:
            if key not in known:
                path = f"{where}.{key}" if where else key
                self.problem(_short(path), f"unknown key, {nearest(key, known)}")

    def _take(self, values: dict[str, Any], field: FieldInfo, raw: object, where: str) -> None:
        nested, many = struct_of(field.type)
        if nested is None:
            self._scalar(values, field, raw, where)
        elif many:
            values[field.name] = self._tables(nested, raw, where)
        else:
            read = self.table(nested, raw, where)
            if read is not None:
                values[field.name] = read

    def _tables(self, cls: type[S], raw: object, where: str) -> tuple[S, ...]:
        if not isinstance(raw, list):
            self.problem(where, f"expected a list of tables ([[{where}]]), got {shown(raw)}")
            return ()
        if len(raw) > MAX_TABLES:
            self.problem(where, f"expected at most {MAX_TABLES} tables, got {len(raw)}")
            return ()
        read = [self.table(cls, item, f"{where}[{index}]") for index, item in enumerate(raw)]
        return tuple(item for item in read if item is not None)

    def _scalar(self, values: dict[str, Any], field: FieldInfo, raw: object, where: str) -> None:
        try:
            values[field.name] = _convert(raw, field.type)
        except (msgspec.ValidationError, ValueError):
            source = f" (from {raw.variable})" if isinstance(raw, EnvText) else ""
            self.problem(where, f"expected {expected(field.type)}, got {shown(raw)}{source}")


def overlay(
    cls: type[msgspec.Struct], table: dict[str, Any], environ: Mapping[str, str]
) -> list[str]:
    """Lay ``OFFBEAT_…__…`` variables over ``table`` in place; return the problems.

    Variables without a double underscore are not settings and are left alone.
    """
    names = [n for n in environ if n.startswith(PREFIX) and "__" in n[len(PREFIX) :]]
    problems = []
    for name in sorted(names, key=_natural):
        text = EnvText(environ[name])
        text.variable = name
        problem = _set(cls, table, name[len(PREFIX) :].split("__"), text)
        if problem:
            problems.append(f"environment: {_short(name)}: {problem}")
    return problems


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort numbers as numbers, so that entry 9 exists before entry 10 is appended."""
    return [(len(part) if part.isdecimal() else 0, part) for part in name.split("__")]


def _set(
    cls: type[msgspec.Struct], table: dict[str, Any], parts: list[str], text: EnvText
) -> str | None:
    """Put ``text`` where ``parts`` lead; return what is wrong with them, if anything."""
    head, *rest = parts
    known = {field.encode_name.upper(): field for field in fields(cls)}
    field = known.get(head)
    if field is None:
        return f"unknown key, {nearest(head, known)}"
    nested, many = struct_of(field.type)
    if nested is None:
        table[field.encode_name] = text
        return f"expected no more after {head}, got {'__'.join(rest)!r}" if rest else None
    if many:
        entries = table.setdefault(field.encode_name, [])
        # Where the file itself is wrong, its reader says so.
        return _set_entry(nested, entries, parts, text) if isinstance(entries, list) else None
    if not rest:
        return f"expected a key after {head}, got nothing"
    inner = table.setdefault(field.encode_name, {})
    return _set(nested, inner, rest, text) if isinstance(inner, dict) else None


def _set_entry(
    cls: type[msgspec.Struct], entries: list[Any], parts: list[str], text: EnvText
) -> str | None:
    """Put ``text`` into one of a list of tables; the index after the last adds one."""
    head, index = parts[0], parts[1] if len(parts) > 1 else ""
    if not (
        index.isascii() and index.isdecimal() and len(index) < 6 and int(index) <= len(entries)
    ):
        return f"expected a number from 0 to {len(entries)} after {head}, got {index!r}"
    if len(parts) < 3:
        return f"expected a key after {head}__{index}, got nothing"
    if int(index) == len(entries):
        entries.append({})
    entry = entries[int(index)]
    return _set(cls, entry, parts[2:], text) if isinstance(entry, dict) else None


def _convert(raw: object, type_: Any) -> Any:  # noqa: ANN401 - any key's type
    """Convert one value; text from the environment is read as its key's type."""
    plain = get_args(type_)[0] if get_origin(type_) is Annotated else type_
    if isinstance(raw, EnvText):
        text = str(raw)
        if get_origin(plain) is dict or (get_origin(plain) is tuple and text.startswith("[")):
            return msgspec.convert(_inline(text), type_)
        if get_origin(plain) is tuple:
            return msgspec.convert([part.strip() for part in text.split(",")], type_)
        return msgspec.convert(text, type_, strict=False)
    if get_origin(plain) is tuple and isinstance(raw, str):
        return msgspec.convert([raw], type_)
    return msgspec.convert(raw, type_)


def _inline(text: str) -> object:
    """Read one TOML value, such as ``{speed = "motor.speed"}``."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, KeyError, RecursionError) as error:
        raise ValueError(str(error)) from error


def struct_of(type_: Any) -> tuple[type[msgspec.Struct] | None, bool]:  # noqa: ANN401
    """Return the Struct inside a field's type, and whether there are many."""
    many = get_origin(type_) is tuple
    inner = get_args(type_)[0] if many else type_
    if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
        return inner, many
    return None, False


def expected(type_: Any) -> str:  # noqa: ANN401
    """Say in words what a key takes."""
    if get_origin(type_) is Annotated:
        for meta in get_args(type_)[1:]:
            if isinstance(meta, msgspec.Meta) and meta.description:
                return meta.description
        return expected(get_args(type_)[0])
    args = get_args(type_)
    if get_origin(type_) is Literal:
        return "one of " + ", ".join(repr(value) for value in args)
    if get_origin(type_) is tuple:
        return f"a list ({expected(args[0])} each)"
    if NoneType in args:
        return expected(next(arg for arg in args if arg is not NoneType))
    words = {str: "a string", bool: "true or false", int: "an integer", float: "a number"}
    return words.get(type_, "a table")


def nearest(key: str, known: Iterable[str]) -> str:
    """Name the known key that is most like ``key``, or all of them."""
    import difflib  # noqa: PLC0415 - a cost, and only for what is wrong

    names = sorted(known)
    # Keys of the hostile kind may be very long; nobody means those.
    found = difflib.get_close_matches(key[:64].lower(), [n.lower() for n in names], 1, 0.5)
    if found:
        return f"the nearest is {next(n for n in names if n.lower() == found[0])!r}"
    return "known are " + ", ".join(names)


def shown(value: object) -> str:
    """Repeat a value in a message, shortened and without control characters."""
    text = repr(str(value) if isinstance(value, str) else value)
    return _short(re.sub(r"[\x00-\x1f\x7f]", "?", text))


def _short(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
