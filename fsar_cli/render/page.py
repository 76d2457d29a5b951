"""A page of text, tables and pictures, written once and shown as Markdown or as HTML that needs nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment


@dataclass(frozen=True)
class Text:
    """A paragraph; a `notice` stands out."""

    text: str
    notice: bool = False
    kind: str = "text"


@dataclass(frozen=True)
class Heading:
    """Title of what follows."""

    text: str
    kind: str = "heading"


@dataclass(frozen=True)
class Bullets:
    """A list; of commands where `code`."""

    items: Sequence[str]
    code: bool = False
    kind: str = "bullets"


@dataclass(frozen=True)
class Grid:
    """A table of plain text; columns may stand in groups."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    groups: Sequence[tuple[str, int]] = ()
    """(title, number of columns), together all columns; empty: no line above the columns' names."""
    bold: frozenset[tuple[int, int]] = frozenset()
    """(row, column) of cells that stand out."""
    left: int = 1
    """So many columns hold text and are aligned to the left; the others hold numbers."""
    kind: str = "grid"


@dataclass(frozen=True)
class Illustration:
    """A picture file beside the page."""

    file: str
    caption: str
    kind: str = "picture"


Block = Text | Heading | Bullets | Grid | Illustration

STYLE = """
:root { color-scheme: light dark; --ink: #212529; --muted: #6c757d; --rule: #dee2e6; --band: #f6f7f9; --paper: #fff;
        --notice: #fff6e0; --edge: #b8741a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --muted: #9aa3ab; --rule: #3a4046; --band: #22262a;
        --paper: #16191c; --notice: #33290f; --edge: #d9a04e; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
       max-width: 76rem; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.notice { background: var(--notice); border-left: 4px solid var(--edge); padding: .6rem .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }
th { color: var(--muted); font-weight: 600; } th.group { text-align: center; border-left: 1px solid var(--rule); }
.l { text-align: left; white-space: normal; } tbody tr:nth-child(even) { background: var(--band); }
td.b { font-weight: 700; }
code { font: 12px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; } figcaption { color: var(--muted); }
"""
TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>{{ style | safe }}</style></head><body>
<h1>{{ title }}</h1>
{% for block in blocks %}
{% if block.kind == "text" %}<p{% if block.notice %} class="notice"{% endif %}>{{ block.text }}</p>
{% elif block.kind == "heading" %}<h2>{{ block.text }}</h2>
{% elif block.kind == "bullets" %}<ul>
{% for item in block["items"] %}<li>{% if block.code %}<code>{{ item }}</code>{% else %}{{ item }}{% endif %}</li>
{% endfor %}</ul>
{% elif block.kind == "picture" %}<figure><img src="{{ block.file | urlencode }}" alt="{{ block.caption }}">
<figcaption>{{ block.caption }}</figcaption></figure>
{% elif block.kind == "grid" %}<div class="wide"><table><thead>
{% if block.groups %}<tr>{% for name, count in block.groups %}<th class="group" colspan="{{ count }}">{{ name }}</th>
{% endfor %}</tr>{% endif %}
<tr>{% for name in block.columns %}<th{% if loop.index0 < block.left %} class="l"{% endif %}>{{ name }}</th>
{% endfor %}</tr></thead><tbody>
{% for row in block.rows %}{% set r = loop.index0 %}<tr>
{% for cell in row %}<td class="{{ 'l' if loop.index0 < block.left }}{{ ' b' if (r, loop.index0) in block.bold }}">
{{- cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% endif %}{% endfor %}
</body></html>
"""


def as_html(title: str, blocks: Sequence[Block]) -> str:
    """The page as one HTML document; everything in it is escaped."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE).render(title=title, blocks=blocks, style=STYLE)


def as_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The page as Markdown."""
    return "\n\n".join([f"# {_plain(title)}", *map(_markdown, blocks)]) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Text():
            return f"> **{_plain(block.text)}**" if block.notice else _plain(block.text)
        case Heading():
            return f"## {_plain(block.text)}"
        case Bullets():
            return "\n".join(f"- `{' '.join(i.split())}`" if block.code else f"- {_plain(i)}" for i in block.items)
        case Illustration():
            return f"![{_plain(block.caption)}](<{block.file}>)"
        case Grid():
            return _table(block)


def _table(grid: Grid) -> str:
    groups = [name for name, count in grid.groups for _ in range(count)] or [""] * len(grid.columns)
    heads = [f"{group} {name}".strip() for group, name in zip(groups, grid.columns, strict=True)]
    rows = [
        [f"**{cell}**" if (r, c) in grid.bold and cell else cell for c, cell in enumerate(row)]
        for r, row in enumerate(grid.rows)
    ]
    rule = ["---" if c < grid.left else "---:" for c in range(len(heads))]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in (heads, rule, *rows))


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """One line: a line break would end a table's row or a heading."""
    return " ".join(text.split())
