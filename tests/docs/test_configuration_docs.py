"""docs/configuration.md and docs/topics.md say what the code does, both ways."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest
from msgspec.structs import FieldInfo, fields

from offbeat_edge import config
from offbeat_edge.config import Config, Source
from offbeat_edge.payload import message, records
from offbeat_edge.payload.decoder import Decoder
from offbeat_edge.payload.fields import MAX_DEPTH
from offbeat_edge.refusal import REASONS
from offbeat_edge.strict import expected, struct_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/configuration.md").read_text()
TOPICS = (ROOT / "docs/topics.md").read_text()


class Row(NamedTuple):
    environment: str
    type: str
    default: str


def documented() -> dict[str, Row]:
    rows = re.findall(
        r"^\| `([a-z_.]+)` \| `(OFFBEAT_\w+)` \| (.*?) \| (.*?) \|", PAGE, re.MULTILINE
    )
    assert len({key for key, *_ in rows}) == len(rows)
    return {key: Row(*rest) for key, *rest in rows}


def known(cls: type[msgspec.Struct], key: str, variable: str) -> Iterator[tuple[str, Row]]:
    """Walk the code's keys as the page writes them."""
    for field in fields(cls):
        path = f"{key}.{field.encode_name}".lstrip(".")
        name = f"{variable}__{field.encode_name.upper()}"
        nested, many = struct_of(field.type)
        if nested:
            yield from known(nested, path, f"{name}__0" if many else name)
        else:
            yield path, Row(name.replace("__", "_", 1), expected(field.type), default(field))


def default(field: FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()  # type: ignore[operator,misc]
    return "none" if value is None else f"`{json.dumps(value)}`"


def test_every_key_stands_in_the_page_with_its_variable_type_and_default() -> None:
    assert documented() == dict(known(Config, "", "OFFBEAT"))


@pytest.mark.parametrize("key", documented())
def test_every_documented_variable_is_taken(key: str, tmp_path: Path) -> None:
    file = tmp_path / "offbeat.toml"
    file.write_text(toml_examples(PAGE)[0])
    _, problems = config.read(file, {documented()[key].environment: "\x00"})
    assert not any("unknown key" in problem for problem in problems)


def toml_examples(page: str) -> list[str]:
    return re.findall(r"```toml\n(.*?)```", page, re.DOTALL)


def test_the_six_lines_are_six_and_enough(tmp_path: Path) -> None:
    (text,) = toml_examples(PAGE)
    assert len(text.splitlines()) == 6
    file = tmp_path / "offbeat.toml"
    file.write_text(text)
    assert config.load(file, {}).gateway.id == "gw1"


@pytest.mark.parametrize(
    "file", sorted((ROOT / "edge/examples").glob("*.toml")), ids=lambda f: f.name
)
def test_every_example_loads(file: Path) -> None:
    assert config.load(file, {}).models


def test_every_reason_stands_in_the_page_and_no_other() -> None:
    table = TOPICS.split("## Refused messages")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == REASONS


def test_every_name_of_a_time_stands_in_the_page() -> None:
    listed = TOPICS.split("**Times** are found as")[1].split(" if it looks like")[0]
    assert set(re.findall(r"`([^`]+)`", listed)) == {*records.TIME_NAMES, records.SHORT_TIME}


def test_limits_in_the_page_are_the_codes() -> None:
    assert f"at most {message.MAX_SENSOR_CHARS} characters" in TOPICS
    assert f"yields {message.MAX_REJECTS} refusals at most" in TOPICS
    assert f"nested deeper than {MAX_DEPTH} below" in TOPICS


def decode(payload: str, /, came_on: str, **source: object) -> list[tuple[str, dict[str, float]]]:
    made = Decoder((msgspec.convert(source, Source),), max_payload_bytes=1 << 16)
    samples, rejects = made.decode(came_on, payload.encode(), 0, retained=False)
    assert not rejects
    return [(sample.asset, sample.values) for sample in samples]


def test_every_row_of_the_template_table_is_true() -> None:
    section = TOPICS.split("\n## ")[1]
    rows = re.findall(
        r"^\| `([^`]+)` \| `([^`]+)` \| (\S.*?) \| (\S.*?) \|$", section, re.MULTILINE
    )
    assert len(rows) == 5
    for template, topic, asset, sensor in rows:
        payload = '{"a": 1, "id": "x"}' if sensor == "from the payload" else "1"
        given = {"asset": "id"} if asset == "from the payload" else {}
        ((got, values),) = decode(payload, topic, topic=template, **given)
        assert got == ("x" if given else asset.strip("`"))
        assert list(values) == ["a" if sensor == "from the payload" else sensor.strip("`")]


def test_every_json_example_is_understood() -> None:
    examples = [
        line
        for block in re.findall(r"```json\n(.*?)```", TOPICS, re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(examples) == 5
    for example in examples:
        of_sensor = '"value"' in example or example[0].isdigit()
        template = "p/{asset}/{sensor}" if of_sensor else "p/{asset}"
        assert decode(example, "p/p1/s" if of_sensor else "p/p1", topic=template)


def test_the_examples_of_paths_and_lines_are_understood() -> None:
    (source,) = tomllib.loads(toml_examples(TOPICS)[0])["source"]
    payload = (
        '{"device": {"id": "p1"}, "head": {"at": 1700000000},'
        ' "data": {"drive": {"rpm": 5}, "ns=2;s=Motor.Temp": 6}}'
    )
    assert decode(payload, "line/data", **source) == [("p1", {"speed": 5.0, "temp": 6.0})]
    line = TOPICS.split("```\npump")[1].split("```")[0]
    assert decode(f"pump{line}", "t/x", topic="t/+", asset="host") == [
        ("p1", {"speed": 1480.5, "running": 1.0})
    ]
