"""Templates: which topics they match, and that no two assets become one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.topics import Match, Template, asset_name, overlap


@pytest.mark.parametrize(
    ("template", "topic", "found"),
    [
        ("plant/{asset}/{sensor}", "plant/p1/speed", Match("p1", "speed")),
        ("plant/{asset}/{sensor}", "plant/p1", None),
        ("plant/{asset}/{sensor}", "plant/p1/speed/x", None),
        ("plant/{asset}", "plant/p1", Match("p1", None)),
        ("plant/{asset}", "Plant/p1", None),
        ("plant/{asset...}/{sensor}", "plant/hall1/p1/speed", Match("hall1/p1", "speed")),
        ("plant/{asset...}/{sensor}", "plant/p1/speed", Match("p1", "speed")),
        ("plant/{asset...}/{sensor}", "plant/speed", None),
        ("site/{asset...}/data", "site/a/b/c/data", Match("a/b/c", None)),
        ("site/{asset...}/data", "site/a/b/c/date", None),
        ("{sensor}/of/{asset...}", "speed/of/a/b", Match("a/b", "speed")),
        ("{asset...}", "a/b", Match("a/b", None)),
        ("+/{asset}/+/{sensor}", "x/p1/y/speed", Match("p1", "speed")),
        ("telegraf/+", "telegraf/host1", Match(None, None)),
        ("/plant/{asset}", "/plant/p1", Match("p1", None)),
    ],
)
def test_a_template_finds_asset_and_sensor(template: str, topic: str, found: Match | None) -> None:
    assert Template.parse(template).match(topic.split("/")) == found


@pytest.mark.parametrize(
    ("template", "subscription"),
    [
        ("plant/{asset}/{sensor}", "plant/+/+"),
        ("site/{asset...}/data", "site/#"),
        ("a/+/{asset}", "a/+/+"),
        ("{asset...}", "#"),
    ],
)
def test_a_template_says_what_to_subscribe_to(template: str, subscription: str) -> None:
    assert Template.parse(template).filter == subscription


@pytest.mark.parametrize(
    "text",
    ["", "plant/#", "plant/{asset}{sensor}", "plant/pump-{asset}", "{asset}/{asset}",
     "{asset}/{asset...}", "{sensor}/{sensor}", "plant/{machine}", "offbeat/{asset}",
     "$SYS/{asset}", "a/\x00", "a" * 2000],
)  # fmt: skip
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected .*, got|^expected each placeholder once"):
        Template.parse(text)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("plant/{asset}", "plant/{asset}", True),
        ("plant/{asset}/{sensor}", "plant/p1/{asset}", True),
        ("plant/{asset}", "plant/{asset}/{sensor}", False),
        ("plant/{asset...}", "plant/{asset}/{sensor}", True),
        ("{asset...}/x", "{asset...}/y", False),
        ("{asset...}/x/+", "a/{asset...}", True),
        ("a/{asset}", "b/{asset}", False),
    ],
)
def test_templates_that_share_a_topic_are_found(one: str, other: str, both: bool) -> None:  # noqa: FBT001
    first, second = Template.parse(one), Template.parse(other)
    assert overlap(first, second) is both
    assert overlap(second, first) is both


LEVEL = st.sampled_from(["a", "b", "+", "{sensor}"])
TEMPLATE = st.builds(
    lambda before, asset, after: "/".join([*before, asset, *after]),
    st.lists(LEVEL, max_size=2),
    st.sampled_from(["{asset}", "{asset...}"]),
    st.lists(LEVEL, max_size=2),
).filter(lambda text: text.count("{sensor}") < 2)
TOPIC = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6)


@given(TEMPLATE, TEMPLATE, TOPIC)
def test_a_topic_of_two_templates_is_an_overlap(one: str, other: str, topic: list[str]) -> None:
    first, second = Template.parse(one), Template.parse(other)
    if first.match(topic) and second.match(topic):
        assert overlap(first, second)


@given(TEMPLATE, TOPIC)
def test_what_matches_is_subscribed_to(template: str, topic: list[str]) -> None:
    parsed = Template.parse(template)
    if parsed.match(topic):
        wanted = parsed.filter.split("/")
        head = wanted[:-1] if wanted[-1] == "#" else wanted
        assert len(topic) >= len(head)
        assert all(w in ("+", got) for w, got in zip(head, topic, strict=False))


@given(st.text("ab./-_A", max_size=8), st.text("ab./-_A", max_size=8))
def test_two_paths_never_give_one_name(one: str, other: str) -> None:
    names = asset_name(one, dots=False), asset_name(other, dots=False)
    assert names[0] is None or names[0] != names[1] or one == other


@pytest.mark.parametrize("path", ["", "/", "a//b", "/a", "a/", "Pump", "p 1", "é", "a" * 65, "a\n"])
def test_a_path_that_is_no_name_is_refused(path: str) -> None:
    assert asset_name(path, dots=True) is None
