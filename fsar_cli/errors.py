"""Errors a user can act on; each class carries the exit code of the process. What else escapes is a bug (1)."""

import errno
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

_NO_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def in_a_line(text: str) -> str:
    r"""Text in which line ends and control characters stand as escapes, such as `\n`."""
    return _NO_LINE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class FsarError(Exception):
    """What went wrong (`message`: what, which value, what is allowed) and what to do next (`hint`), a line each.

    Both may be given with names as files hold them, which may hold anything.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = in_a_line(message), in_a_line(hint)
        super().__init__(self.message)


class UsageError(FsarError):
    """A wrong argument, option or configuration value."""

    exit_code = 2


class DataError(FsarError):
    """Data that is missing, unreadable or too little for what was asked."""

    exit_code = 3


class DeviceError(FsarError):
    """A device that is absent or does not have the memory."""

    exit_code = 4


class Interrupted(FsarError):
    """Ctrl-C, after everything worth keeping was saved; the hint says how to go on."""

    exit_code = 130


NOT_ALLOWED = "check the permissions of the file and of the folders above it, or ask its owner"
_REMEDIES = {
    NOT_ALLOWED: (errno.EACCES, errno.EPERM),
    "free some disk, or name a place on another one": (errno.ENOSPC, errno.EDQUOT),
    "name a place that can be written to": (errno.EROFS,),
    "files may not grow as large here: see `ulimit -f`": (errno.EFBIG,),
    "more files are open than are allowed: see `ulimit -n`": (errno.EMFILE, errno.ENFILE),
    "the disk, or the network that it is on, fails": (errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO),
}


def remedy(error: OSError) -> str:
    """What to do about an error of the system."""
    return next((text for text, numbers in _REMEDIES.items() if error.errno in numbers), "check the path")


def unreadable(path: Path, damaged: str, hint: str = "", error: Exception | None = None) -> DataError:
    """The error of a file that its reader could not take: what the system refuses in its words, the rest as `damaged`.

    Libraries call missing, or broken, what they are only not allowed to open. A file that is not there is the caller's
    to speak of.

    Args:
        error: what the reader met; where it is not the system's, the file is opened to hear what the system says.
    """
    try:
        if isinstance(error, OSError) and error.errno:
            raise error
        with open(path, "rb") as file:
            file.read(1)
    except FileNotFoundError:
        return DataError(damaged, hint)
    except PermissionError:
        return DataError(f"not allowed to read {path}", NOT_ALLOWED)
    except OSError as refused:
        return DataError(f"cannot read {path}: {refused.strerror}", remedy(refused))
    return DataError(damaged, hint)


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device or the machine had no more memory to give; torch, which need not be loaded, says it in words."""
    words = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
    text = f"{type(error).__name__}: {error}"
    torch_says_so = isinstance(error, RuntimeError) and any(word in text for word in ("OutOfMemoryError", *words))
    return isinstance(error, MemoryError) or torch_says_so


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the closest choice, or an empty string."""
    close = get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else ""


def counted(number: int, noun: str) -> str:
    """`1 query`, `2 queries`: a number and its noun, whose plural is regular and not that of `day`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


SHOWN = 8  # names that a line lists


def listed(names: list[str]) -> str:
    """Names in a line, the first few of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
