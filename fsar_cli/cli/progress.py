"""How progress is drawn: a bar on a terminal, a log line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from fsar_cli.cli.streams import harmless

LOG_EVERY_SECONDS = 10.0


def _figures(metrics: dict[str, object]) -> str:
    return "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {harmless(str(v))}" for k, v in metrics.items())


class _RateColumn(ProgressColumn):
    def render(self, task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {task.fields['unit']}/s" if speed else "", style="progress.data.speed")


class _BarTask:
    def __init__(self, progress: Progress, task_id) -> None:
        self._progress, self._id = progress, task_id

    def advance(self, steps: int = 1, **metrics: object) -> None:
        self._progress.update(self._id, advance=steps, figures=_figures(metrics))


class _LineTask:
    """Progress as one log line every few seconds, for files and pipes."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self._label, self._total, self._unit = harmless(label), total, unit
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


@contextmanager
def bar(console: Console, label: str, total: int | None, unit: str) -> Iterator[_BarTask]:
    """A progress bar with rate, time left and running figures."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    # Results that a file or a pipe takes stay results: only what the same terminal shows is woven into the bar.
    with Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty()) as progress:
        yield _BarTask(progress, progress.add_task(harmless(label), total=total, unit=unit, figures=""))


@contextmanager
def lines(label: str, total: int | None, unit: str) -> Iterator[_LineTask]:
    """A line every LOG_EVERY_SECONDS and at the end."""
    yield _LineTask(label, total, unit)
