"""The docs name every command and option there is, and none that is not."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest

from offbeat_edge.cli import COMMANDS

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "commands.md"
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def section(name: str) -> str:
    """The reference's part on one command: from its heading to the next."""
    pattern = rf"^## `offbeat {name}`.*?(?=^## |\Z)"
    found = re.search(pattern, REFERENCE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"docs/commands.md has no section on {name}"
    return found.group()


def options(name: str) -> set[str]:
    parser = argparse.ArgumentParser(add_help=False)
    importlib.import_module(COMMANDS[name].module).add_arguments(parser)
    return options_of(parser)


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Options of a parser and of its subparsers."""
    found = set()
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            found |= {o for sub in action.choices.values() for o in options_of(sub)}
        found |= {o for o in action.option_strings if o.startswith("--")}
    return found - {"--help"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_reference_lists_exactly_the_options_of(name: str) -> None:
    told = set(re.findall(r"^\| `(--[a-z-]+)", section(name), re.MULTILINE))
    assert told == options(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_in_the_docs_exists(page: Path) -> None:
    for line in re.findall(r"^\s*(?:\$ )?offbeat ([a-z-]+)", page.read_text(), re.MULTILINE):
        assert line in COMMANDS, f"{page.name}: offbeat {line}"


def anchors(page: Path) -> set[str]:
    """Return the names under which a page's headings are linked."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.strip()).lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_in_the_docs_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)", page.read_text()):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}"


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    for page in DOCS.rglob("*.md"):
        path = page.relative_to(DOCS).as_posix()
        assert f"({path}" in index or path == "README.md", path
