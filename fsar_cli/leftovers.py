"""What killed processes leave behind: names that tell whose a thing is, and the removal of what the dead had begun.

    .fsar-PID-MACHINE-RANDOM.suffix     a file beside the one that it was to become (`files.atomic`)
    fsar-PID-MACHINE-RANDOM             a folder for the time of some work (`files.scratch`)

MACHINE is a digest of the machine and of the container that gives its processes their numbers. What bears another one
stays, as does what a living process of that number may be writing: so nothing that somebody works at is removed.
"""

import hashlib
import os
import platform
import re
import secrets
import shutil
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path

_NAME = re.compile(r"\.?fsar-(\d{1,10})-([0-9a-f]{8})-.*", re.DOTALL)
FOLDERS = 1024
"""Folders that are remembered as looked through."""


def own_name() -> str:
    """`fsar-PID-MACHINE-RANDOM`: a name that is nobody else's and says whose it is."""
    return f"fsar-{os.getpid()}-{machine()}-{secrets.token_hex(4)}"


@cache
def machine() -> str:
    """Eight hexadecimal digits; the same after a restart of the machine, and others in each container."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text(encoding="ascii", errors="replace"))
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()[:8]


def is_dead(process: int) -> bool:
    """Whether no process of this machine has that number; where that cannot be told, it is taken for alive."""
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's, or no number of a process
        pass
    return False


def remove_leftovers(folder: Path) -> None:
    """Remove what dead processes of this machine had begun in a folder; a process looks once into each."""
    _look_through(os.fspath(folder), os.getpid())


@lru_cache(FOLDERS)
def _look_through(folder: str, process: int) -> None:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _NAME.fullmatch(entry.name)
            if found and found[2] == machine() and is_dead(int(found[1])):
                _remove(entry)


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path, ignore_errors=True)
        return
    with suppress(OSError):  # another process was faster
        os.unlink(entry.path)
