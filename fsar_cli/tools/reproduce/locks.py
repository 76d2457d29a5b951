"""Work that several processes share: each piece is done by whoever takes its lock first."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fsar_cli.data.disk import kept_to_one
from fsar_cli.errors import UsageError

PAUSE_SECONDS = 0.5


@contextmanager
def tried(lock: Path) -> Iterator[bool]:
    """Whether this process has the lock, a file in a folder that exists; it is given up at the end or with its life."""
    with ExitStack() as stack:
        try:
            stack.enter_context(kept_to_one(lock, "", ""))
        except UsageError:  # another process has it
            yield False
            return
        yield True


@contextmanager
def waited_for(lock: Path) -> Iterator[None]:
    """Wait until this process has the lock."""
    while True:
        with tried(lock) as mine:
            if mine:
                yield
                return
        time.sleep(PAUSE_SECONDS)
