"""Topic templates: which topics carry samples, and of what.

A template is an MQTT topic in which whole levels may be placeholders:

``{asset}``     one level, the asset's name
``{asset...}``  one or more levels; ``/`` becomes ``.`` (``hall1/pump3`` → ``hall1.pump3``)
``{sensor}``    one level, the sensor's name
``+``           one level that does not matter

Rules: pure; a name is checked, never repaired, so that two topics cannot
become one asset unnoticed.  Where any source has ``{asset...}``, a level
that itself holds a ``.`` is refused for the same reason.

>>> template = Template.parse("plant/{asset...}/{sensor}")
>>> template.filter
'plant/#'
>>> template.match("plant/hall1/pump3/speed".split("/"))
Match(path='hall1/pump3', sensor='speed')
"""

from __future__ import annotations

import re
from typing import NamedTuple

ROOT = "offbeat"  # our own topics live below; they are never samples
MAX_TOPIC_CHARS = 1024  # of a topic or a template
NAME = re.compile(r"[a-z0-9_.-]{1,64}")
_ANY = "+"
_MANY = "#"  # one or more levels


class Match(NamedTuple):
    """What a topic says: the asset's path, still with ``/``, and the sensor."""

    path: str | None
    sensor: str | None


class Template(NamedTuple):
    """A parsed template; ``levels`` holds literals, ``+`` and ``#``.

    ``asset`` is the index of the asset's first level, ``sensor`` counts from
    the end (-1 is the last level) when it stands behind ``{asset...}``.
    """

    text: str
    levels: tuple[str, ...]
    asset: int | None
    sensor: int | None
    many: bool

    @classmethod
    def parse(cls, text: str) -> Template:
        """Parse a template; ValueError says what is wrong with it."""
        if not 0 < len(text) <= MAX_TOPIC_CHARS:
            raise ValueError(f"expected 1 to {MAX_TOPIC_CHARS} characters, got {len(text)}")
        parts = text.split("/")
        levels = tuple(_level(part) for part in parts)
        if parts[0] == ROOT or parts[0].startswith("$"):
            raise ValueError(f"expected sensor topics, got {parts[0]!r}, which is reserved")
        assets = [i for i, part in enumerate(parts) if part in ("{asset}", "{asset...}")]
        sensors = [i for i, part in enumerate(parts) if part == "{sensor}"]
        if len(assets) > 1 or len(sensors) > 1:
            raise ValueError("expected each placeholder once at most")
        asset = assets[0] if assets else None
        many = "{asset...}" in parts
        sensor = sensors[0] if sensors else None
        if many and asset is not None and sensor is not None and sensor > asset:
            sensor -= len(parts)
        return cls(text, levels, asset, sensor, many)

    @property
    def filter(self) -> str:
        """The MQTT subscription filter; wider than the template after ``{asset...}``."""
        if self.many and self.asset is not None:
            return "/".join((*self.levels[: self.asset], "#"))
        return "/".join(self.levels)

    def of_asset(self, path: str) -> str:
        """Return the filter of one asset's topics.

        >>> Template.parse("plant/{asset...}/{sensor}").of_asset("hall1/pump3")
        'plant/hall1/pump3/+'
        """
        if self.asset is None:
            return self.filter
        return "/".join((*self.levels[: self.asset], path, *self.levels[self.asset + 1 :]))

    def match(self, levels: list[str]) -> Match | None:
        """Match a topic's levels; None when the topic is not of this template."""
        extra = len(levels) - len(self.levels)
        if extra < 0 or (extra and not self.many):
            return None
        start = self.asset if self.asset is not None else 0
        stop = start + extra + 1
        pairs = zip(self.levels, levels, strict=False)
        if self.many:
            pairs = zip(self.levels, [*levels[:start], "", *levels[stop:]], strict=True)
        if not all(want in (_ANY, _MANY) or want == got for want, got in pairs):
            return None
        path = "/".join(levels[start:stop]) if self.asset is not None else None
        return Match(path, levels[self.sensor] if self.sensor is not None else None)


def _level(part: str) -> str:
    """Translate one level of a template."""
    if part in ("{asset}", "{sensor}", "+"):
        return _ANY
    if part == "{asset...}":
        return _MANY
    if re.search(r"[+#{}\x00]", part):
        raise ValueError(
            f"expected a literal level, '+', {{asset}}, {{asset...}} or {{sensor}}, got {part!r}"
        )
    return part


def overlap(one: Template, other: Template) -> bool:
    """Whether some topic matches both templates.

    >>> overlap(Template.parse("a/{asset}"), Template.parse("a/{asset...}"))
    True
    >>> overlap(Template.parse("a/{asset...}/x"), Template.parse("a/{asset...}/y"))
    False
    """
    todo, seen = [(0, 0)], set()
    while todo:
        i, j = todo.pop()
        if (i, j) in seen:
            continue
        seen.add((i, j))
        if i == len(one.levels) and j == len(other.levels):
            return True
        if i == len(one.levels) or j == len(other.levels):
            continue
        a, b = one.levels[i], other.levels[j]
        if a == b or a in (_ANY, _MANY) or b in (_ANY, _MANY):
            todo.append((i + 1, j + 1))
            if a == _MANY:
                todo.append((i, j + 1))
            if b == _MANY:
                todo.append((i + 1, j))
    return False


def asset_name(path: str, *, dots: bool) -> str | None:
    """Turn an asset's path into its name; None when it cannot be one.

    ``dots`` says whether a level may hold ``.`` itself.

    >>> asset_name("hall1/pump3", dots=False)
    'hall1.pump3'
    >>> asset_name("hall1.pump3", dots=False) is None
    True
    """
    if not dots and "." in path:
        return None
    if path.startswith("/") or path.endswith("/") or "//" in path:
        return None
    name = path.replace("/", ".")
    return name if NAME.fullmatch(name) else None
