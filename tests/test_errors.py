"""Words that messages share."""

import builtins
import errno
import os

import pytest

from fsar_cli.errors import NOT_ALLOWED, counted, unreadable


@pytest.mark.parametrize(
    ("noun", "two"), [("shot", "2 shots"), ("query", "2 queries"), ("class", "2 classes"), ("process", "2 processes")]
)
def test_a_number_and_its_noun(noun: str, two: str) -> None:
    assert counted(1, noun) == f"1 {noun}"
    assert counted(2, noun) == two
    assert counted(0, noun) == two.replace("2", "0")


@pytest.mark.parametrize(
    ("number", "message", "hint"),
    [
        (errno.EACCES, "not allowed to read x", NOT_ALLOWED),
        (errno.EPERM, "not allowed to read x", NOT_ALLOWED),
        (errno.EISDIR, "cannot read x: Is a directory", "check the path"),
        (errno.EIO, "cannot read x: Input/output error", "the disk, or the network that it is on, fails"),
        (errno.ESTALE, "cannot read x: Stale file handle", "the disk, or the network that it is on, fails"),
        (errno.ENOENT, "x is damaged", "get it again"),
    ],
)
def test_what_the_system_refuses_is_not_called_damaged(monkeypatch, number, message, hint):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(builtins, "open", refuse)
    error = unreadable("x", "x is damaged", "get it again")
    assert (error.message, error.hint) == (message, hint)


def test_what_can_be_opened_and_not_understood_is_damaged(tmp_path):
    (tmp_path / "x").touch()
    assert unreadable(tmp_path / "x", "x is damaged", "get it again").message == "x is damaged"
