"""How long work tells of its progress without knowing who listens: the engine calls, the command line draws."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of long work."""

    def advance(self, steps: int = 1, **metrics: object) -> None:
        """Count `steps` as done; `metrics` replace the running figures shown beside the bar."""


class Reporter(Protocol):
    """Receives log lines and progress."""

    def log(self, text: str) -> None:
        """One line for the user, plain text (no markup)."""

    def detail(self, text: str) -> None:
        """One line shown only with --verbose."""

    def warn(self, text: str) -> None:
        """One line about something the user should know."""

    def track(self, label: str, total: int | None, unit: str = "") -> AbstractContextManager[Task]:
        """Context manager around a piece of work of `total` steps."""


class _SilentTask:
    def advance(self, steps: int = 1, **metrics: object) -> None:
        pass


class Silent:
    """The reporter of library use and tests: says nothing."""

    def log(self, text: str) -> None:
        pass

    detail = warn = log

    @contextmanager
    def track(self, label: str, total: int | None, unit: str = "") -> Iterator[Task]:
        yield _SilentTask()


SILENT = Silent()
