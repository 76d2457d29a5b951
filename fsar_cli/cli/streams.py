"""What a terminal, a pipe or a file is given: any text in any encoding, nothing it would execute, until it is gone."""

import codecs
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from fsar_cli.errors import DataError, remedy

BROKEN_PIPE = 141
"""Exit code where nobody reads the results to their end (`| head`): the shell's for a process that SIGPIPE ended."""
# Control characters but line breaks and tabs, and marks that turn the direction of what follows.
_EXECUTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_PLAIN = {"±": "+/-", "→": "->", "×": "x", "…": "...", "–": "-", "•": "*", "─": "-", "━": "-", "│": "|", "┃": "|"}


def harmless(text: str) -> str:
    """Text that a terminal shows and does not obey: a name may hold any character."""
    return _EXECUTED.sub(lambda found: _escaped(found[0]), text)


def own_command() -> str:
    """The command that runs, as a shell takes it, without the passwords of addresses."""
    from fsar_cli.data.video.live import masked

    return masked(shlex.join(["fsar", *sys.argv[1:]]))


def _escaped(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode() if text > "\x7f" else repr(text)[1:-1]


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding does not have."""
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or ("+" if "─" <= c <= "╿" else _escaped(c)) for c in missing), error.end


codecs.register_error("fsar", _plainly)


class _Stream(io.TextIOWrapper):
    """Standard output or error. Results that cannot be written end the command; messages are lost and it goes on."""

    def __init__(self, stream: TextIO, results: bool) -> None:
        options = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
        super().__init__(stream.buffer, stream.encoding, errors="fsar", **options)
        self._results = results

    def write(self, text: str) -> int:
        try:
            # Typer tries a stream with nothing, and hides what comes of it.
            return 0 if text == "" else super().write(text)
        except OSError as error:
            self._lost(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), self.fileno()
        )  # takes what is left, or it would fail again at the end
        if not self._results:
            return
        if isinstance(error, BrokenPipeError):
            raise SystemExit(BROKEN_PIPE) from error
        raise DataError(f"standard output cannot be written: {error.strerror}", remedy(error)) from error


def take_names_as_utf8() -> None:
    """Where Python was told to hold file names for ASCII, begin again with UTF-8, the encoding of all lists.

    Python itself does so for locales without an encoding, unless PYTHONUTF8=0 and PYTHONCOERCECLOCALE=0 forbid it. What
    is shown keeps the encoding of the terminal.
    """
    if sys.getfilesystemencoding() == "ascii" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.environ.setdefault("PYTHONIOENCODING", "ascii")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


@contextmanager
def streams_of_all_kinds() -> Iterator[None]:
    """Let standard output and error take any text within the block, closed ones too."""
    for number in range(3):
        try:
            os.set_blocking(number, True)  # a pipe of a program that does not wait would refuse what it is slow to read
        except OSError:  # closed: the next file would get its number, and what libraries print
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    before = sys.stdout, sys.stderr
    given = [stream or open(os.devnull, "w", encoding="utf-8") for stream in before]  # noqa: SIM115
    sys.stdout, sys.stderr = _Stream(given[0], results=True), _Stream(given[1], results=False)
    try:
        yield
    finally:
        for own in (sys.stdout, sys.stderr):
            own.flush()
            own.detach()
        sys.stdout, sys.stderr = before
