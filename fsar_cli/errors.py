"""Errors a user can act on; each class carries the exit code of the process. What else escapes is a bug (1)."""

from collections.abc import Iterable
from difflib import get_close_matches


class FsarError(Exception):
    """What went wrong (`message`: what, which value, what is allowed) and what to do next (`hint`)."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


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
