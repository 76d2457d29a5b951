"""Where results and progress go: results to stdout, everything else to stderr; plain lines where nobody watches."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from fsar_cli.reporting import SILENT, Task

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


class LazyConsole:
    """A rich console that is made when it is first used: `fsar --help` needs none."""

    def __init__(self, stderr: bool = False) -> None:
        self._stderr = stderr

    @cached_property
    def console(self) -> "Console":
        """The console itself."""
        from rich.console import Console

        # A file or a pipe has no width to keep to: tables there should not be folded at 80 columns.
        width = None if self._stderr or sys.stdout.isatty() or "COLUMNS" in os.environ else 160
        return Console(stderr=self._stderr, highlight=False, soft_wrap=True, width=width)

    @property
    def is_terminal(self) -> bool:
        """Whether somebody watches."""
        return self.console.is_terminal

    def print(self, *objects: object, markup: bool = True, style: str | None = None) -> None:
        """As rich's `Console.print`."""
        self.console.print(*objects, markup=markup, style=style)


stdout = LazyConsole()
stderr = LazyConsole(stderr=True)


def print_json(document: dict) -> None:
    """Print exactly one JSON document, `schema: 1` first."""
    sys.stdout.write(json.dumps({"schema": 1, **document}, indent=2, default=str) + "\n")


def table(title: str, columns: list[str], rows: list[list[object]], right: tuple[str, ...] = ()) -> "Table":
    """A table of plain text cells; the columns named in `right` are aligned to the right."""
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    result = Table(title=escape(title) if title else None, title_justify="left", header_style="bold")
    for name in columns:
        result.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        result.add_row(*[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row])
    return result


class ConsoleReporter:
    """A `Reporter` on stderr: a bar on a terminal, a line now and then elsewhere, nothing but warnings with quiet."""

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose

    def log(self, text: str) -> None:
        if not self.quiet:
            stderr.print(text, markup=False)

    def detail(self, text: str) -> None:
        if self.verbose:
            stderr.print(text, markup=False, style="dim")

    def warn(self, text: str) -> None:
        stderr.print(f"warning: {text}", markup=False, style="yellow")

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
