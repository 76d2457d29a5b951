"""A folder of results that can be made anew, each under the digest of what it was made from.

An entry is a folder; it is filled under another name and renamed when complete, so a killed process leaves nothing that
looks finished, and two processes that make the same entry end with one. When all entries together exceed the limit,
those unused for longest go.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STALE_SECONDS = 24 * 3600  # an unfinished entry this old belongs to a process that died
LIMIT_BYTES = 20 * 2**30


class Cache:
    """Entries by key (letters and digits).

    Args:
        folder: made when the first entry is.
        limit: bytes of all entries together.
    """

    def __init__(self, folder: Path, limit: int = LIMIT_BYTES) -> None:
        self.folder, self.limit = folder, limit

    def find(self, key: str) -> Path | None:
        """The folder of a finished entry; it counts as used now."""
        entry = self.folder / key
        if not entry.is_dir():
            return None
        with suppress(OSError):  # a cache one may only read is still one
            os.utime(entry)
        return entry

    @contextmanager
    def make(self, key: str) -> Iterator[Path]:
        """A folder to fill; it becomes the entry at the end of the block and is removed on an error."""
        self.folder.mkdir(parents=True, exist_ok=True)
        staging = self.folder / f".{key}.{os.getpid()}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
            self.drop(key)
            os.replace(staging, self.folder / key)
        except FileExistsError:  # another process was faster; its entry is as good
            pass
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self._tidy(key)

    def drop(self, key: str) -> None:
        """Remove an entry, if it is there."""
        shutil.rmtree(self.folder / key, ignore_errors=True)

    def _tidy(self, newest: str) -> None:
        entries = [(entry.stat().st_mtime, entry) for entry in self.folder.iterdir() if entry.is_dir()]
        for used, entry in entries:
            if entry.name.startswith(".") and time.time() - used > STALE_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)
        finished = sorted(entry for entry in entries if not entry[1].name.startswith("."))
        sizes = {entry: sum(file.stat().st_size for file in entry.iterdir()) for _, entry in finished}
        total = sum(sizes.values())
        for _, entry in finished:
            if total <= self.limit:
                return
            if entry.name != newest:
                shutil.rmtree(entry, ignore_errors=True)
                total -= sizes[entry]
