"""How every message about a video file reads: `PATH: reason`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from fsar_cli.errors import DataError


def printable(path: Path | str) -> str:
    """A path as text that any terminal and file can take, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "replace")


def video_error(path: Path | str, reason: str, hint: str = "") -> DataError:
    """A DataError `PATH: reason`, the form of every message here."""
    return DataError(f"{printable(path)}: {reason}", hint)


@contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """PyAV's exceptions as DataError naming the file."""
    try:
        yield
    except av.FFmpegError as error:
        raise video_error(path, f"not a readable video ({error.strerror})") from error
