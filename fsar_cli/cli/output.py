"""Where results and progress go: results to stdout, everything else to stderr; plain lines where nobody watches."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from fsar_cli.cli.streams import harmless
from fsar_cli.reporting import SILENT, Task

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table
    from rich.text import Text

    from fsar_cli.ranks import Ranks
    from fsar_cli.reporting import Reporter

NARROWEST = 20  # columns of a terminal
LEAST = 6  # characters a line that cells of words are folded to, before a table is given up


class LazyConsole:
    """A rich console that is made when it is first used: `fsar --help` needs none."""

    def __init__(self, stderr: bool = False) -> None:
        self._stderr = stderr

    @cached_property
    def console(self) -> "Console":
        """The console itself. Names may hold what rich would take for markup or for the code of a picture."""
        from rich.console import Console

        # A file or a pipe has no width to keep to: tables there should not be folded at 80 columns.
        width = None if self._stderr or sys.stdout.isatty() or "COLUMNS" in os.environ else 160
        console = Console(stderr=self._stderr, highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)
        console.width = max(NARROWEST, console.width)  # rich shows nothing at all on none
        return console

    @property
    def is_terminal(self) -> bool:
        """Whether somebody watches, on a terminal that can move its cursor."""
        return self.console.is_interactive

    def print(self, *objects: object, style: str | None = None) -> None:
        """As rich's `Console.print`; text is made harmless."""
        shown = [harmless(thing) if isinstance(thing, str) else thing for thing in objects]
        self.console.print(*shown, style=style)


stdout = LazyConsole()
stderr = LazyConsole(stderr=True)


def print_json(document: dict) -> None:
    """Print exactly one JSON document, `schema: 1` first."""
    sys.stdout.write(json.dumps({"schema": 1, **document}, indent=2, default=str, allow_nan=False) + "\n")


class Rows:
    """A table, or, where it would be too narrow for its numbers, one row after the other with a line for each cell."""

    def __init__(self, title: str, columns: list[str], rows: list[list[object]], right: tuple[str, ...]) -> None:
        from rich.text import Text

        self.title, self.columns, self.right = harmless(title), [harmless(name) for name in columns], right
        self.rows = [[cell if isinstance(cell, Text) else Text(harmless(str(cell))) for cell in row] for row in rows]

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        whole = [max(len(name), self._cells(i)) for i, name in enumerate(self.columns)]
        if _width(whole) <= options.max_width:
            yield self._grid({})
            return
        for heads in (max(map(len, name.split()), default=0) for name in self.columns), (0 for _ in self.columns):
            # Numbers stay in one piece, and the words above them where there is room; all other cells are folded.
            fixed = {i: max(head, self._cells(i)) for i, head in enumerate(heads) if self.columns[i] in self.right}
            least = [fixed.get(i, min(LEAST, width)) for i, width in enumerate(whole)]
            if _width(least) <= options.max_width:
                yield self._grid(fixed)
                return
        yield from self._stacked()

    def _cells(self, column: int) -> int:
        return max((row[column].cell_len for row in self.rows), default=0)

    def _grid(self, fixed: dict[int, int]) -> "Table":
        from rich.table import Table

        result = Table(title=self.title or None, title_justify="left", header_style="bold")
        for i, name in enumerate(self.columns):
            justify = "right" if name in self.right else "left"
            result.add_column(name, justify=justify, overflow="fold", width=fixed.get(i))
        for row in self.rows:
            result.add_row(*row)
        return result

    def _stacked(self) -> "Iterator[Text]":
        from rich.text import Text

        yield Text(self.title, style="bold")
        for row in self.rows:
            for name, cell in zip(self.columns, row, strict=True):
                yield Text(f"{name}: ", style="bold") + cell if name else cell
            yield Text()


def _width(columns: list[int]) -> int:
    """Of a table: each column has a rule and a space on both sides."""
    return sum(max(1, width) + 3 for width in columns) + 1


def table(title: str, columns: list[str], rows: list[list[object]], right: tuple[str, ...] = ()) -> Rows:
    """A table of plain text cells; the columns named in `right` are aligned to the right."""
    return Rows(title, columns, rows, right)


def reporter_of(ranks: "Ranks", quiet: bool, verbose: bool) -> "Reporter":
    """Of several processes the first one speaks."""
    return ConsoleReporter(quiet, verbose) if ranks.first else SILENT


class ConsoleReporter:
    """A `Reporter` on stderr: a bar on a terminal, a line now and then elsewhere, nothing but warnings with quiet."""

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose
        self._warned: set[str] = set()

    def log(self, text: str) -> None:
        if not self.quiet:
            stderr.print(text)

    def detail(self, text: str) -> None:
        if self.verbose:
            stderr.print(text, style="dim")

    def warn(self, text: str) -> None:
        if text not in self._warned:  # one cache that takes nothing is met by all who would use it
            self._warned.add(text)
            stderr.print(f"warning: {text}", style="yellow")

    @contextmanager
    def track(self, label: str, total: int | None, unit: str = "") -> Iterator[Task]:
        if self.quiet:
            with SILENT.track(label, total, unit) as task:
                yield task
            return
        from fsar_cli.cli import progress  # rich's progress is not needed to print help

        with (
            progress.bar(stderr.console, label, total, unit)
            if stderr.is_terminal
            else progress.lines(label, total, unit) as task
        ):
            yield task
