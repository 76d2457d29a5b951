"""The steps of a demo, each announced by the command that it stands for, and timed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from fsar_cli.reporting import Reporter


class Steps:
    """Announces steps by the command that they stand for, and times them."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter, self.seconds = reporter, {}

    @contextmanager
    def step(self, name: str, command: str) -> Iterator[None]:
        """A block that is the step `name`."""
        self.reporter.log(f"$ {command}")
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started
