"""What came of decoding the videos of a tree, kept between runs: CACHE/decoded/<digest>.jsonl.

The digest is that of the tree's place, of the code that decodes and of PyAV's version: verdicts of other code do not
count, as they may be on what was mended since. A line is [path, size, mtime in nanoseconds, frames, reason]; it holds
as long as size and time are those of the file. Lines are appended as videos finish, each in one write, so a killed run
loses only the videos it was at, and two runs at once do not harm each other.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from fsar_cli.data import video
from fsar_cli.reporting import SILENT, Reporter


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
        self.file = folder / "decoded" / f"{_digest(root)}.jsonl"
        self._reporter = reporter
        self._kept: dict[tuple[str, int, int], Verdict] = {}
        self._asked: dict[Path, tuple[str, int, int]] = {}
        self._stream: int | None = None
        torn = self._read()
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._stream = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            if torn is not None:
                os.truncate(self._stream, torn)
        except OSError as error:
            self._give_up(error)

    def _read(self) -> int | None:
        """Take what is kept, also where nothing can be added; the byte at which a torn last line begins."""
        text = b""
        with suppress(OSError):
            text = self.file.read_bytes()
        whole = text.rfind(b"\n") + 1
        for line in text[:whole].splitlines():
            with suppress(ValueError, TypeError, RecursionError):
                path, size, mtime, frames, reason = json.loads(line)
                if type(frames) is int and isinstance(reason, str):
                    self._kept[path, size, mtime] = Verdict(frames, reason)
        return whole if whole < len(text) else None

    def __enter__(self) -> "Verdicts":
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            os.close(self._stream)
            self._stream = None

    def get(self, path: Path) -> Verdict | None:
        """The verdict on a file as it is now; None where there is none."""
        try:
            state = path.stat()
        except OSError:
            return None
        self._asked[path] = str(path), state.st_size, state.st_mtime_ns
        return self._kept.get(self._asked[path])

    def add(self, path: Path, verdict: Verdict) -> None:
        """Keep a lasting verdict on a file that was asked for, as it was then: it may have changed meanwhile."""
        if self._stream is None or not verdict.lasting or path not in self._asked:
            return
        line = json.dumps([*self._asked[path], verdict.frames, verdict.reason])
        try:
            os.write(self._stream, f"{line}\n".encode())
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.__exit__()
        self._reporter.warn(f"{self.file}: {error.strerror}; what is decoded from here on will not be kept")


def _digest(root: Path) -> str:
    sources = sorted(Path(video.__file__).parent.glob("*.py"))
    parts = [os.fsencode(root.resolve()), version("av").encode(), *(source.read_bytes() for source in sources)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
