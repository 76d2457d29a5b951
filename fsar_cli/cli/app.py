"""The `fsar` command: registers the subcommands and turns errors into messages and exit codes.

Exit codes: 0 ok, 1 bug, 2 usage or configuration, 3 data, 4 device, 130 interrupted. FSAR_DEBUG=1 shows tracebacks.
Nothing here or in the modules of the commands imports torch, pandas or numpy at import: `fsar --help` answers at once.
"""

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from fsar_cli import __version__
from fsar_cli.cli.output import stderr
from fsar_cli.cli.streams import own_command, streams_of_all_kinds, take_names_as_utf8
from fsar_cli.errors import FsarError, is_out_of_memory, remedy

# Worker processes share the cores with the network: threads that wait for work must sleep, not spin (read by OpenMP
# when torch loads; on two busy cores a training step was ten times slower without it).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

app = typer.Typer(
    name="fsar",
    help="Few-shot anomalous action recognition with spatio-temporal key regions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its help imports a Markdown parser and a highlighter: 0.15 s for a frame
    context_settings={"help_option_names": ["-h", "--help"]},
)
# A command: its name, where its function or its app of subcommands is, and a help that fits one line of an 80-column
# terminal beside the longest name. A tool is deleted with its folder and its line here.
COMMANDS = (
    ("demo", "fsar_cli.tools.demo.cli:demo", "Everything at once on a rendered set; a CPU will do."),
    ("init", "fsar_cli.cli.init:init", "Write a commented fsar.yaml."),
    ("prepare", "fsar_cli.tools.prepare.cli:prepare", "Downloaded archives -> project folder."),
    ("annotations", "fsar_cli.tools.annotations.cli:annotations", "What temporal annotations hold."),
    ("extract-frames", "fsar_cli.cli.extract:extract_frames", "Videos -> frame store; resumable."),
    ("splits", "fsar_cli.cli.splits_check:app", "Split lists: list, show, make, check, export."),
    ("train", "fsar_cli.cli.train:train", "Train by episodes; Ctrl-C saves."),
    ("eval", "fsar_cli.cli.evaluate:evaluate", "Accuracy with its confidence interval."),
    ("compare", "fsar_cli.tools.compare.cli:compare", "Which differences between runs are real?"),
    ("reproduce", "fsar_cli.tools.reproduce.cli:reproduce", "A table or figure of the paper, or of frozen backbones."),
    ("support", "fsar_cli.cli.support_view:app", "Own classes from a few clips; good examples?"),
    ("classify", "fsar_cli.cli.classify:classify", "Which own class does a clip show, or none?"),
    ("scan", "fsar_cli.cli.scan:scan", "Events in long videos and live streams."),
    ("export", "fsar_cli.cli.export:export", "The encoder as an ONNX file, checked."),
    ("visualize-regions", "fsar_cli.cli.visualize:visualize_regions", "Draw the key regions of a video."),
    ("methods", "fsar_cli.cli.methods:methods", "The methods and their papers."),
    ("config", "fsar_cli.cli.config:app", "Settings, their origins, presets."),
    ("guide", "fsar_cli.cli.guide:guide", "Pages of the manual."),
    ("doctor", "fsar_cli.tools.doctor.cli:doctor", "Is this machine ready?"),
)


def _register(name: str, place: str, short_help: str) -> None:
    module, _, attribute = place.partition(":")
    command = getattr(import_module(module), attribute)
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name, short_help=short_help)
    else:
        app.command(name, short_help=short_help)(command)


for line in COMMANDS:
    _register(*line)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"fsar {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Few-shot anomalous action recognition with spatio-temporal key regions."""


def _fail(message: str, hint: str, code: int) -> None:
    who = f"process {os.environ.get('RANK')}: " if os.environ.get("WORLD_SIZE", "1") not in ("", "1") else ""
    stderr.print(f"{who}error: {message}", style="red" if code != 130 else "yellow")
    if hint:
        stderr.print(f"  {hint}")
    sys.exit(code)


def main() -> None:
    """Entry point of the console script."""
    take_names_as_utf8()
    with streams_of_all_kinds():
        try:
            try:
                app()
            finally:
                sys.stdout.flush()  # here, where a full disk behind it is an error with a message
        except KeyboardInterrupt:
            _fail("interrupted", "", 130)
        except SystemExit as stop:  # Typer's answer to Ctrl-C says nothing
            if stop.code == 130:
                _fail("interrupted", "", 130)
            raise
        except Exception as error:
            if os.environ.get("FSAR_DEBUG", "") not in ("", "0"):
                raise
            _fail(*_explained(error))


def _explained(error: Exception) -> tuple[str, str, int]:
    """Message, hint and exit code."""
    if isinstance(error, FsarError):
        return error.message, error.hint, error.exit_code
    if is_out_of_memory(error):
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        hint = "free memory on the device, or take a smaller clip.size, clip.frames or model.backbone, or --device cpu"
        return f"`{own_command()}` ran out of memory: {reason}", hint, 4
    if isinstance(error, OSError) and error.errno is not None:  # without a number it is an error of some library
        return _of_the_system(error), remedy(error), 3
    hint = "this is a bug of fsar; FSAR_DEBUG=1 shows where. Please report it with the command."
    return f"{type(error).__name__}: {error}", hint, 1


def _of_the_system(error: OSError) -> str:
    if not isinstance(error.filename, str | bytes):
        return error.strerror or str(error)
    file = os.fsdecode(error.filename)
    if isinstance(error, PermissionError) and os.path.exists(file) and not os.access(file, os.R_OK):
        return f"not allowed to read {file}"
    return f"{file}: {error.strerror}"
