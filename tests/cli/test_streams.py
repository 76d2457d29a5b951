"""Terminals and pipes of every kind: what they cannot show is written otherwise, and what is gone ends nothing else."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsar_cli.cli.output import ConsoleReporter, LazyConsole, print_json, stdout, table
from fsar_cli.cli.streams import BROKEN_PIPE, harmless, streams_of_all_kinds

NAMES = ["café", "一二", "50 ± 3 → │", "\udcff", ":x: [bold]"]
FSAR = [sys.executable, "-c", "from fsar_cli.cli.app import main; main()"]


def run(arguments: str, redirected: str = "", **environment: str) -> subprocess.CompletedProcess:
    """`fsar ARGUMENTS` with the shell's redirections."""
    command = ["bash", "-c", f'"$@" {redirected}; exit ${{PIPESTATUS[0]}}', "bash", *FSAR, *arguments.split()]
    return subprocess.run(command, capture_output=True, env=os.environ | environment, check=False)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16", "utf-8"])
def test_every_encoding_takes_every_name_and_json_is_one_document(encoding, monkeypatch):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    with streams_of_all_kinds():
        for name in NAMES:
            ConsoleReporter().warn(name)
        print_json({"names": NAMES})
    out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams)
    assert json.loads(out)["names"] == NAMES
    assert len(err.splitlines()) == len(NAMES) and ":x: [bold]" in err
    assert ("50 +/- 3 -> |" in err) == (encoding == "ascii")
    assert "\\udcff" in err


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\rb\x00\x7f", r"a\rb\x00\x7f"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202eb", r"a\u202eb"),
        ("one\n\ttwo é 一", "one\n\ttwo é 一"),
    ],
)
def test_what_a_terminal_would_execute_is_shown(name, shown, capsys):
    assert harmless(name) == shown
    ConsoleReporter().log(name)
    stdout.print(table("", ["class"], [[name.replace("\n\t", "")]]))
    seen = capsys.readouterr()
    assert seen.err.rstrip("\n").expandtabs() == shown.expandtabs()
    assert shown.replace("\n\t", "") in seen.out


@pytest.mark.parametrize("width", [0, 1, 20, 40, 60, 200])
def test_tables_show_their_numbers_whole_and_names_as_they_are_at_every_width(width, capsys, monkeypatch):
    monkeypatch.setattr(stdout.console, "width", max(20, width))
    rows = [["fall", "61.25 ± 10.58 %", 50, ":x:"], ["[bold]fight[/]", "7.50 ± 1.10 %", 12345, "a long way to go"]]
    stdout.print(
        table("t :x:", ["class", "accuracy (95 % CI)", "episodes", "note"], rows, ("accuracy (95 % CI)", "episodes"))
    )
    text = capsys.readouterr().out
    assert all(number in text for number in ("61.25 ± 10.58 %", "7.50 ± 1.10 %", "12345"))
    assert "t :x:" in text and (width < 200 or "[bold]fight[/]" in text)
    if width >= 60:
        assert max(map(len, text.splitlines())) <= width


def test_a_console_has_some_width_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    assert LazyConsole().console.width == 20


def test_a_warning_is_said_once(capsys):
    reporter = ConsoleReporter(quiet=True)
    for text in ("full", "full", "gone"):
        reporter.warn(text)
    assert capsys.readouterr().err == "warning: full\nwarning: gone\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
@pytest.mark.parametrize("arguments", ["--version", "config show --json"])
def test_results_that_a_full_disk_does_not_take_are_an_error(arguments):
    done = run(arguments, "> /dev/full")
    assert done.returncode == 3
    assert done.stderr.decode().splitlines() == [
        "error: standard output cannot be written: No space left on device",
        "  free some disk, or name a place on another one",
    ]


@pytest.mark.parametrize("redirected", [">&-", "2>&-", "2> /dev/full", "<&- >&- 2>&-", "1< /dev/null 2>&1"])
def test_closed_and_full_streams_change_no_exit_code(redirected, tmp_path):
    done = run(f"splits show {tmp_path}/none.csv", redirected)
    assert done.returncode == 3
    assert b"bug" not in done.stderr and b"Traceback" not in done.stderr


def test_a_reader_that_leaves_ends_the_command_quietly():
    done = run("config show --explain", "| true")
    assert (done.returncode, done.stderr) == (BROKEN_PIPE, b"")


def test_names_beyond_ascii_are_found_where_python_was_told_to_take_ascii(tmp_path):
    (tmp_path / "café.csv").write_bytes("split,class,video\ntrain,é,é/a\ntrain,é,é/b\n".encode())
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "100"}
    done = run(f"splits show {tmp_path}/café.csv", **environment)
    assert done.returncode == 0, done.stderr
    assert "caf\\xe9.csv" in done.stdout.decode("ascii")
