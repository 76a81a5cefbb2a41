"""A report's empty page and what stands on it: style, frame, sections, tables."""

from __future__ import annotations

from html import escape
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5b6670; --line: #d9dee3;
        --paper: #ffffff; --doubt: #fff4e0; --doubt-edge: #e69f00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #9aa5b0; --line: #333b43; --paper: #14181c;
          --doubt: #2b2414; }
}
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff;
          --doubt: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2, h3 { break-after: avoid; }
  svg, tr, article { break-inside: avoid; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 60rem; color: var(--ink);
       background: var(--paper); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .75rem; padding-top: .75rem;
     border-top: 1px solid var(--line); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.25rem; margin: 1rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
ul { padding-left: 1.2rem; margin: .75rem 0; }
ul.warning { list-style: none; padding: .6rem .9rem; background: var(--doubt);
             border-left: 4px solid var(--doubt-edge); }
ul.note { color: var(--soft); }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .2rem .7rem; border-bottom: 1px solid var(--line);
         white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
svg { display: block; height: auto; max-width: 100%; margin: .5rem 0; color: var(--ink);
      font-family: system-ui, sans-serif; }
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")


def section(title: str, *parts: str) -> str:
    """Put HTML parts below a heading."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def bullets(texts: Iterable[str], kind: str) -> str:
    """List texts of a kind: "warning" or "note"; nothing for none."""
    lines = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="{kind}">{lines}</ul>' if lines else ""


def terms(facts: Sequence[tuple[str, str]]) -> str:
    """List names and what is said of them."""
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(said)}</dd>" for name, said in facts)
    return f"<dl>{lines}</dl>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table that scrolls within the page."""
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )
