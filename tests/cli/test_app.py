"""The shell around the commands: exit codes, messages, lazy imports, progress where nobody watches."""

import errno
import json
import subprocess
import sys

import pytest
import torch

from fsar_cli import __version__
from fsar_cli.cli import app, progress
from fsar_cli.cli.output import ConsoleReporter, print_json
from fsar_cli.errors import DataError, DeviceError, Interrupted, UsageError


@pytest.fixture
def failing(monkeypatch, fsar):
    """`failing(error)` -> Result of a command that raises it."""

    def run(error):
        def broken():
            raise error

        monkeypatch.setattr(app, "app", broken)
        return fsar("whatever")

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("what [x]", "do this"), 2),
        (DataError("what [x]", "do this"), 3),
        (DeviceError("what [x]", "do this"), 4),
        (Interrupted("what [x]", "do this"), 130),
    ],
)
def test_errors_show_message_and_hint_and_carry_their_exit_code(failing, error, code):
    result = failing(error)
    assert result.code == code
    assert "what [x]" in result.err
    assert "do this" in result.err
    assert result.out == ""


def test_a_file_error_names_the_file_and_a_bug_says_so(failing):
    result = failing(PermissionError(13, "Permission denied", "some/file"))
    assert (result.code, "some/file: Permission denied" in result.err) == (3, True)
    result = failing(OSError(errno.ENOSPC, "No space left on device"))
    assert (result.code, result.err.splitlines()[0]) == (3, "error: No space left on device")
    assert "bug" in failing(OSError("of a library")).err
    result = failing(ZeroDivisionError("by zero"))
    assert (result.code, "this is a bug" in result.err, "Traceback" in result.err) == (1, True, False)
    assert failing(KeyboardInterrupt()).code == 130


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nlong story"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 2 GiB"),
        MemoryError("Unable to allocate 2.00 GiB for an array"),
    ],
)
def test_a_lack_of_memory_is_no_bug_and_names_what_was_tried(failing, error):
    result = failing(error)
    assert result.code == 4
    assert "`fsar whatever` ran out of memory" in result.err and "2" in result.err
    assert "bug" not in result.err and "long story" not in result.err


def test_fsar_debug_shows_the_traceback(failing, monkeypatch):
    monkeypatch.setenv("FSAR_DEBUG", "1")
    with pytest.raises(DataError):
        failing(DataError("what"))


def test_version_and_help_import_nothing_heavy():
    heavy = ["torch", "torchvision", "numpy", "pandas", "matplotlib", "av", "PIL", "pydantic", "rich"]
    code = f"""
import sys
from fsar_cli.cli.app import main
sys.argv = ["fsar", "--help"]
try:
    main()
except SystemExit:
    print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert all(name in done.stdout for name, _, _ in app.COMMANDS)
    assert "..." not in done.stdout.split("Commands:")[1]


def test_version_is_printed_and_an_unknown_command_a_usage_error(fsar):
    result = fsar("--version")
    assert (result.code, result.out.strip()) == (0, f"fsar {__version__}")
    assert fsar("trian").code == 2


def test_the_package_run_as_a_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "fsar_cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"fsar {__version__}"


def test_json_is_valid_and_names_its_schema(capsys):
    print_json({"path": [1, None], "name": "ü [x]"})
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "path": [1, None], "name": "ü [x]"}


def test_without_a_terminal_progress_is_lines_with_rate_and_figures(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOG_EVERY_SECONDS", 0.0)
    with ConsoleReporter().track("work [1]", 2, "steps") as task:
        task.advance(1, loss=0.5)
        task.advance(1, loss=0.25)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("work [1]: 1/2")
    assert "steps/s" in lines[0]
    assert "loss 0.25" in lines[1]


def test_quiet_keeps_warnings_alone(capsys):
    reporter = ConsoleReporter(quiet=True)
    reporter.log("hidden")
    reporter.detail("hidden")
    with reporter.track("hidden", 1) as task:
        task.advance()
    reporter.warn("seen [x]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hidden" not in captured.err
    assert "seen [x]" in captured.err
