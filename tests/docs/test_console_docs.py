"""docs/console.md says what the console takes, both ways."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
from msgspec.structs import fields

from offbeat_console import alarm, session, settings, views
from offbeat_console.pages import frame

PAGE = (Path(__file__).parents[2] / "docs" / "console.md").read_text()


def test_every_key_stands_in_the_page_with_its_default_and_no_other() -> None:
    part = PAGE[PAGE.index("| key of `[console]` |") : PAGE.index("## Login")]
    told = dict(re.findall(r"^\| `([a-z_]+)` \| (.+?) \|", part, re.MULTILINE))
    known = {field.encode_name: field.default for field in fields(settings.Console)}
    known["state_dir"] = "the user's state folder"
    assert told.keys() == known.keys()
    for key, default in known.items():
        shown = told[key].strip("`")
        assert shown in (msgspec.json.encode(default).decode(), default), key


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(\[console\].*?)```", PAGE, re.DOTALL)
    assert tomllib.loads(example)
    file = tmp_path / "console.toml"
    file.write_text(example)
    assert settings.load(file, {"HOME": "/root"}).mqtt.port == 8883


def test_numbers_in_the_page_are_the_codes() -> None:
    assert session.SESSION_S == 12 * 3600
    assert session.FREE_TRIES == 5
    assert (session.WAIT_S, session.WAIT_CAP_S) == (2.0, 300.0)
    assert "twelve hours" in PAGE
    assert "After five wrong attempts" in PAGE


def rows(head: str) -> list[str]:
    """Return the first cells of the table whose first column is called ``head``."""
    found = re.search(rf"^\| {head} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert found, head
    return re.findall(r"^\| (.+?) \|", found[1], re.MULTILINE)


def test_every_state_of_an_alarm_stands_in_the_page_and_no_other() -> None:
    assert sorted(rows("shown as")) == sorted(views.ALARM_WORDS.values())
    assert alarm.MAX_SHELF_MS == 3 * 86_400_000


def test_every_key_on_the_keyboard_stands_in_the_page_and_no_other() -> None:
    told = [cell.replace("`", "") for cell in rows("key")]
    assert told == [keys.replace("  ", " ") for keys, _ in frame.SHORTCUTS]
