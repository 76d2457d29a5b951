"""Where results and progress go: results to stdout, everything else to stderr; plain lines where nobody watches."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fsar_cli.reporting import Task

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)

LOG_EVERY_SECONDS = 10.0


def print_json(document: dict) -> None:
    """Print exactly one JSON document, `schema: 1` first."""
    sys.stdout.write(json.dumps({"schema": 1, **document}, indent=2, default=str) + "\n")


def table(title: str, columns: list[str], rows: list[list[object]], right: tuple[str, ...] = ()) -> Table:
    """A table of plain text cells; the columns named in `right` are aligned to the right."""
    result = Table(title=escape(title) if title else None, title_justify="left", header_style="bold")
    for name in columns:
        result.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        result.add_row(*[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row])
    return result


def _figures(metrics: dict[str, object]) -> str:
    return "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in metrics.items())


class _RateColumn(ProgressColumn):
    def render(self, task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {task.fields['unit']}/s" if speed else "", style="progress.data.speed")


class _BarTask:
    def __init__(self, progress: Progress, task_id) -> None:
        self._progress, self._id = progress, task_id

    def advance(self, steps: int = 1, **metrics: object) -> None:
        self._progress.update(self._id, advance=steps, figures=_figures(metrics) if metrics else None or "")


class _LineTask:
    """Progress as one log line every few seconds, for files and pipes."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done, self._start, self._last = 0, time.monotonic(), time.monotonic()

    def advance(self, steps: int = 1, **metrics: object) -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._last >= LOG_EVERY_SECONDS or self._done == self._total:
            self._last = now
            self._line(now, metrics)

    def _line(self, now: float, metrics: dict[str, object]) -> None:
        rate = self._done / max(now - self._start, 1e-9)
        of = f"/{self._total}" if self._total else ""
        left = f"  ETA {(self._total - self._done) / rate:.0f} s" if self._total and rate else ""
        print(
            f"{self._label}: {self._done}{of}  {rate:.1f} {self._unit}/s{left}  {_figures(metrics)}".rstrip(),
            file=sys.stderr,
            flush=True,
        )


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
            from fsar_cli.reporting import SILENT

            with SILENT.track(label, total, unit) as task:
                yield task
        elif not stderr.is_terminal:
            yield _LineTask(label, total, unit)
        else:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                _RateColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}", markup=False),
            )
            with Progress(*columns, console=stderr) as progress:
                yield _BarTask(progress, progress.add_task(escape(label), total=total, unit=unit, figures=""))
