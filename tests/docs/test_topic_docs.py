"""docs/topics.md and docs/operations.md say what the daemon publishes, both ways."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
import time
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, cast, get_args, get_origin

import msgspec
import pytest
from msgspec.structs import fields

from offbeat_edge import (
    alert,
    commands,
    control,
    durable,
    mqtt_session,
    schema,
    store,
    upkeep,
    voice,
)
from offbeat_edge import config as configs
from offbeat_edge import health as healths
from offbeat_edge.assembly import build
from offbeat_edge.delivery import report as reports
from offbeat_edge.log import Log
from offbeat_edge.payload.decoder import Decoder
from offbeat_edge.refusal import REASONS
from offbeat_edge.shards import gateway as gateways
from offbeat_edge.voice import Rejects, Topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from offbeat_edge.daemon import Daemon, Parts
    from offbeat_edge.link import Link

ROOT = Path(__file__).parents[2]
EDGE = ROOT / "edge" / "offbeat_edge"
TOPICS = (ROOT / "docs/topics.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
STRUCTS: dict[str, type[msgspec.Struct]] = {
    cls.__name__: cls
    for cls in (
        schema.AlertEvent,
        schema.Contribution,
        schema.ModelRef,
        schema.AssetState,
        schema.Adaptation,
        schema.ScoreRecord,
        healths.Health,
        healths.ModelHealth,
        healths.MqttHealth,
        healths.SpoolHealth,
        healths.AssetList,
        healths.Gap,
        reports.RolloutReport,
        reports.Figures,
        gateways.ShardReport,
        gateways.ShardsReport,
    )
}
PLAIN = {str: "text", int: "integer", float: "number", bool: "true or false", NoneType: "null"}


def table(page: str, head: str) -> dict[str, str]:
    """Return first cell → second cell of the table whose first column is called ``head``."""
    found = re.findall(rf"^\| {head} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert len(found) == 1, f"expected one table of {head}, got {len(found)}"
    rows = re.findall(r"^\| (.+?) \| (.*?) \|", found[0], re.MULTILINE)
    assert len(dict(rows)) == len(rows) == found[0].count("\n")
    return dict(rows)


def names(page: str, head: str) -> set[str]:
    return {cell.strip("`") for cell in table(page, head)}


def listed(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def told(kind: object) -> str:
    """Return a type as the pages write it."""
    if isinstance(kind, type) and kind in PLAIN:
        return PLAIN[kind]
    if get_origin(kind) is Literal:
        return listed([f"`{word}`" for word in get_args(kind)])
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return listed([told(part) for part in get_args(kind)])
    if get_origin(kind) in (list, tuple):
        return f"list of {told(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return f"object of {told(get_args(kind)[1])}"
    return str(getattr(kind, "__name__", kind))


def examples() -> list[dict[str, Any]]:
    blocks = re.findall(r"```jsonc\n(.*?)```", TOPICS, re.DOTALL)
    return [json.loads(block) for block in blocks]


def keys(value: object) -> object:
    """Return the shape of a JSON object: keys of objects, of a list's first element."""
    if isinstance(value, dict):
        return {key: keys(inner) for key, inner in value.items()}
    return [keys(value[0])] if isinstance(value, list) and value else None


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon with its state open, before its first connection."""
    file = tmp_path / "offbeat.toml"
    file.write_text(
        f'[gateway]\nid = "gw1"\nstate_dir = "{tmp_path}"\n'
        '[[source]]\ntopic = "plant/{asset}"\n[[model]]\nbundle = "absent.offbeat"\n'
    )
    with (tmp_path / "log").open("w") as stream:
        made = build(configs.load(file, {}), Log(stream=stream))
        parts(made).durable.recover(lambda: None)
        yield made
        parts(made).durable.close()


def parts(daemon: Daemon) -> Parts:
    return daemon._parts  # noqa: SLF001 - no other way to what makes it worry


def said(topic_of: Callable[[str], str]) -> str:
    """Return a topic with its placeholder, named as its argument is."""
    (argument,) = inspect.signature(topic_of).parameters
    return topic_of(f"<{argument}>")


class Wire:
    """Collects what would be published."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes]] = []

    def publish(self, topic: str, payload: bytes, *, qos: int) -> None:
        assert qos == 0
        self.said.append((topic, payload))


# ---------------------------------------------------------------- topics.md


def test_every_topic_stands_in_the_page_and_no_other() -> None:
    topics = Topics("<gateway>")
    known = {value for name, value in vars(topics).items() if not name.startswith("_")}
    known.discard(topics.root)
    methods = [name for name in vars(Topics) if not name.startswith("_")]
    known |= {said(getattr(topics, name)) for name in methods}
    assert names(TOPICS, "topic") == known


def test_everything_we_subscribe_beside_sensors_stands_in_the_page(daemon: Daemon) -> None:
    assert names(TOPICS, "we read") == commands.filters("offbeat/<gateway>").keys()
    assert names(TOPICS, "verb") == set(parts(daemon).commands.verbs)


def test_examples_of_announcements_are_understood() -> None:
    shown = re.findall(r"```json5\n(.*?)```", TOPICS, re.DOTALL)
    for kind, text in zip((control.Maintenance, control.Feedback), shown, strict=True):
        said = msgspec.json.decode(text, type=kind)
        whole = json.loads(msgspec.json.encode(said))
        assert set(json.loads(text)) == set(whole) - {"control"}


def test_limits_of_commands_are_the_codes() -> None:
    flat = TOPICS.replace("\n", " ")
    assert f"at most {commands.MAX_BYTES} bytes" in flat
    assert f"{commands.BURST} are taken at once, and {commands.PER_S:.0f} a second" in flat
    assert f"has {upkeep.MAX_WINDOWS} at most" in flat
    assert f"come to {alert.HUSH_ESCAPE:.0f} times" in flat
    assert f"{alert.MAX_HUSH_MS // 3_600_000} hours of event time" in flat


@pytest.mark.parametrize("name", STRUCTS)
def test_every_field_stands_in_its_table_with_its_type(name: str) -> None:
    known = {f"`{field.encode_name}`": told(field.type) for field in fields(STRUCTS[name])}
    assert table(TOPICS, name) == known


def test_every_table_of_fields_is_of_something_we_publish() -> None:
    heads = set(re.findall(r"^\| (\w+) \| type \| meaning \|$", TOPICS, re.MULTILINE))
    assert heads == {*STRUCTS, "Error"}


@pytest.mark.parametrize(
    ("head", "kind"), [("kind", schema.Kind), ("state", schema.State)], ids=["kind", "state"]
)
def test_every_word_is_explained(head: str, kind: object) -> None:
    assert names(TOPICS, head) == set(get_args(kind))


def test_examples_are_whole_and_of_the_right_types() -> None:
    of = [schema.AlertEvent, schema.AssetState, schema.ScoreRecord, healths.Health]
    shown = examples()
    assert len(shown) == len(of) + 1
    for cls, example in zip(of, shown, strict=False):
        read = msgspec.json.encode(msgspec.convert(example, cls))
        assert keys(json.loads(read)) == keys(example)


def test_the_example_of_an_alert_is_consistent() -> None:
    event = msgspec.convert(examples()[0], schema.AlertEvent)
    assert event.id == f"{event.alert}/{event.seq}"
    assert (event.start, event.time) == (schema.iso(event.start_ms), schema.iso(event.time_ms))


def test_an_error_has_the_fields_of_its_table() -> None:
    wire = Wire()
    rejects = Rejects(
        link=cast("Link", wire), topics=Topics("gw1"), per_minute=1, wall_ms=lambda: 0
    )
    rejects.say(schema.Reject("not_json", "expected JSON", "plant/p1"), b"hello")
    ((topic, payload),) = wire.said
    entry = json.loads(payload)
    assert topic == "offbeat/gw1/errors"
    assert table(TOPICS, "Error") == {f"`{k}`": told(type(v)) for k, v in entry.items()}
    assert keys(examples()[-1]) == keys(entry)


def test_every_counter_stands_in_the_page_and_no_other(daemon: Daemon) -> None:
    health = daemon.health()
    assert names(TOPICS, "counter") == health.counters.keys()
    example = examples()[3]
    assert example["counters"].keys() == health.counters.keys()
    assert example["spool"]["dropped"].keys() == health.spool.dropped.keys()


def test_the_code_gives_the_documented_reasons_and_no_other() -> None:
    """Reasons are words at the place where they arise: look at all of these."""
    makers = {"Refused", "Reject", "Drop", "dropped", "refuse"}
    found = set()
    for file in EDGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and called(node) in makers and node.args:
                found |= words(node.args[0])
    assert found == REASONS


def called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def words(node: ast.expr) -> set[str]:
    """Return the texts that an expression can be."""
    if isinstance(node, ast.IfExp):
        return words(node.body) | words(node.orelse)
    return {str(node.value)} if isinstance(node, ast.Constant) else set()


def test_numbers_in_the_page_are_the_codes() -> None:
    assert f"the first {healths.MAX_LISTED} of them" in TOPICS
    assert f"the message's first {voice.FIRST_BYTES} bytes" in TOPICS


def programs(program: str) -> list[list[str]]:
    lines = re.findall(rf"^{program} .*$", TOPICS, re.MULTILINE)
    return [shlex.split(re.split(r"[|<>]|\s#", line)[0]) for line in lines]


def filters(command: list[str]) -> list[str]:
    return [command[n + 1] for n, word in enumerate(command) if word == "-t"]


def test_every_subscription_shown_finds_something() -> None:
    topics = Topics("gw1")
    ours = [topics.status, topics.health, topics.alert("p1"), topics.state("p1")]
    shown = [name for command in programs("mosquitto_sub") for name in filters(command)]
    assert len(shown) == 5
    for name in shown:
        pattern = re.escape(name).replace(r"\+", "[^/]+").replace(r"\#", ".*")
        assert any(re.fullmatch(pattern, topic) for topic in ours), name


def test_every_publication_shown_is_understood() -> None:
    source = configs.Source(topic="plant/{asset}")
    shown = [c for c in programs("mosquitto_pub") if filters(c)[0].startswith("plant/")]
    assert len(shown) == 2
    for command in shown:
        if "-m" in command:
            payload = command[command.index("-m") + 1].encode()
            decoder = Decoder((source,), max_payload_bytes=1 << 16)
            ((asset, _, values, own_time),), rejects = decoder.decode(
                filters(command)[0], payload, 0, retained=False
            )
            assert (asset, own_time, rejects) == ("p1", True, [])
            assert values


# ---------------------------------------------------------------- operations.md


def test_every_reason_to_worry_stands_in_the_page_and_no_other(daemon: Daemon) -> None:
    made = parts(daemon)
    made.durable.problem = "no space left"
    made.durable.lost += ["state_unread", "state_damaged", "snapshot_damaged", "journal_damaged"]
    made.link.problems.update({"connect": "refused", "subscribe plant/+": "not authorized"})
    made.link.session_lost_at = time.monotonic()
    worries = ["delivery: timestamp.json is expired", "delivery of tiny: golden scores differ"]
    torn = SimpleNamespace(problems=["shards: p1 by turns here and at another shard"])
    daemon._parts = made._replace(  # noqa: SLF001
        delivery=SimpleNamespace(problems=worries),  # type: ignore[arg-type]
        siblings=torn,  # type: ignore[arg-type]
    )
    made.outbox.refused = "not authorized"
    made.watchdog.problem = "took 11.0 s"
    made.probe.lost = 1
    lines = daemon.health().degraded
    patterns = [re.sub(r"<\w+>", "\0", cell) for cell in names(OPERATIONS, "in `degraded`")]
    regexes = [re.compile(re.escape(p).replace("\0", ".+")) for p in patterns]
    for line in lines:
        assert any(regex.fullmatch(line) for regex in regexes), line
    for regex in regexes:
        assert any(regex.fullmatch(line) for line in lines), regex.pattern


def test_every_log_event_stands_in_the_page_and_no_other() -> None:
    levels = {"debug", "info", "warning", "error", "_lose"}
    found = set()
    for file in EDGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and called(node) in levels and node.args:
                found |= words(node.args[0])
    assert names(OPERATIONS, "event") == found | {"log_suppressed"}


def test_every_number_to_watch_is_in_health(daemon: Daemon) -> None:
    health = msgspec.to_builtins(daemon.health())
    health["rejects"] = dict.fromkeys(REASONS, 0)
    pattern = r"`((?:mqtt|spool|counters|rejects)\.[a-z0-9_.]+)`"
    paths = set(re.findall(pattern, OPERATIONS))
    # mqtt.* are also keys of the configuration
    keys_of_config = {f"mqtt.{field.encode_name}" for field in fields(configs.Mqtt)}
    assert len(paths) > 5
    for path in paths - keys_of_config:
        value: Any = health
        for part in path.split("."):
            assert part in value, path
            value = value[part]


def test_numbers_in_operations_are_the_codes() -> None:
    assert f"for {durable.GRACE_S:.0f} s" in OPERATIONS
    assert f"{durable.MAX_VOLATILE:,} events" in OPERATIONS
    assert f"the last {store.MAX_ASIDE} are kept" in OPERATIONS
    bounds = f"{store.CONTROL_DAYS} days, at least the last {store.MIN_CONTROLS:,}"
    assert f"{bounds}, at most {store.MAX_CONTROLS:,}" in OPERATIONS
    assert f"{mqtt_session.SESSION_EXPIRY_S // 86_400} days" in OPERATIONS
