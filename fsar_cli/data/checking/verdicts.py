"""What came of decoding the videos of a tree, kept between runs.

    CACHE/decoded/<16 hex digits of the tree's place>.csv

One row a video: size, mtime in nanoseconds, frames, reason (empty: it decodes), path. A row holds as long as size and
mtime are those of the file. Rows are appended as videos finish, each in one write, so a killed run loses only the
videos it was at, and two runs at once do not harm each other. Path and reason are percent-encoded: a row is one line
whatever the names, and a torn last line hides no other.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from fsar_cli.data import video
from fsar_cli.reporting import SILENT, Reporter

_PLAIN = " ()[]:;'/+=@!&$*"


@dataclass(frozen=True)
class Verdict:
    """What came of decoding one video."""

    frames: int
    reason: str = ""
    """Why it does not decode; empty: it does."""
    lasting: bool = True
    """Whether the same bytes will always come to the same; not so where the disk or the memory failed."""


class Verdicts:
    """The kept verdicts of one tree; a context manager. Where the folder cannot be written, nothing is kept."""

    def __init__(self, folder: Path, root: Path, reporter: Reporter = SILENT) -> None:
        place = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        self.file = folder / "decoded" / f"{place}.csv"
        self._reporter = reporter
        self._known = dict(_read(self.file))
        self._asked: dict[Path, tuple[str, int, int]] = {}
        try:
            self._stream = _open(self.file)
        except OSError as error:
            self._stream = None
            self._give_up(error)

    def __enter__(self) -> "Verdicts":
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            os.close(self._stream)

    def get(self, path: Path) -> Verdict | None:
        """The verdict on a file as it is now; None where there is none."""
        try:
            state = path.stat()
        except OSError:
            return None
        self._asked[path] = str(path), state.st_size, state.st_mtime_ns
        return self._known.get(self._asked[path])

    def add(self, path: Path, verdict: Verdict) -> None:
        """Keep a lasting verdict on a file that was asked for, as it was then: it may have changed meanwhile."""
        if self._stream is None or not verdict.lasting or path not in self._asked:
            return
        place, size, mtime = self._asked[path]
        row = f"{size},{mtime},{verdict.frames},{_encode(verdict.reason)},{_encode(place)}\n"
        try:
            os.write(self._stream, row.encode())
        except OSError as error:
            self.__exit__()
            self._stream = None
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._reporter.warn(f"{self.file}: {error.strerror}; what is decoded from here on will not be kept")


@cache
def _heading() -> str:
    """The first line; verdicts of other code or another PyAV do not count, as they may be on what was mended since."""
    sources = sorted(Path(video.__file__).parent.glob("*.py"))
    reader = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
    return f"size,mtime_ns,frames,reason,path (reader {reader}, PyAV {version('av')})\n"


def _read(file: Path) -> Iterator[tuple[tuple[str, int, int], Verdict]]:
    """((path, size, mtime), verdict) of every whole row."""
    try:
        heading, *lines = file.read_bytes().decode("ascii", "replace").split("\n")
    except OSError:
        return
    if heading + "\n" != _heading():
        return
    for line in lines[:-1]:  # what follows the last line break is empty, or torn
        with suppress(ValueError):
            size, mtime, frames, reason, path = line.split(",")
            yield (_decode(path), int(size), int(mtime)), Verdict(int(frames), _decode(reason))


def _open(file: Path) -> int:
    """A descriptor to append to: after the heading, on a line of its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    stream = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    heading = _heading().encode()
    text = file.read_bytes()
    if not text.startswith(heading):
        os.truncate(stream, 0)
        os.write(stream, heading)
    elif not text.endswith(b"\n"):
        os.truncate(stream, text.rindex(b"\n") + 1)
    return stream


def _encode(text: str) -> str:
    return quote_from_bytes(os.fsencode(text), safe=_PLAIN)


def _decode(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))
