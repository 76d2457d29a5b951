"""The `fsar` command: registers the subcommands and turns errors into messages and exit codes.

Exit codes: 0 ok, 1 bug, 2 usage or configuration, 3 data, 4 device, 130 interrupted. FSAR_DEBUG=1 shows tracebacks.
Nothing here or in the modules of the commands imports torch, pandas or numpy at import: `fsar --help` answers at once.
"""

import os
import sys
from typing import Annotated

import typer

from fsar_cli import __version__
from fsar_cli.cli import config, evaluate, extract, guide, init, methods, splits, splits_check, train, visualize
from fsar_cli.cli.output import stderr
from fsar_cli.errors import FsarError
from fsar_cli.tools.annotations.cli import annotations
from fsar_cli.tools.compare.cli import compare
from fsar_cli.tools.demo.cli import demo
from fsar_cli.tools.doctor.cli import doctor
from fsar_cli.tools.prepare.cli import prepare
from fsar_cli.tools.reproduce.cli import reproduce
from fsar_cli.tools.support.cli import app as support

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
# Short helps fit one line of an 80-column terminal beside the longest name.
app.command("demo", short_help="Everything at once on a rendered set; a CPU will do.")(demo)
app.command("init", short_help="Write a commented fsar.yaml.")(init.init)
app.command("prepare", short_help="Downloaded archives -> project folder.")(prepare)
app.command("annotations", short_help="What temporal annotations hold.")(annotations)
app.command("extract-frames", short_help="Videos -> frame store; resumable.")(extract.extract_frames)
splits.app.command("check")(splits_check.check)
app.add_typer(splits.app, name="splits", short_help="Split lists: list, show, make, check, export.")
app.command("train", short_help="Train by episodes; Ctrl-C saves.")(train.train)
app.command("eval", short_help="Accuracy with its confidence interval.")(evaluate.evaluate)
app.command("compare", short_help="Which differences between runs are real?")(compare)
app.command("reproduce", short_help="A table or figure of the paper, made anew.")(reproduce)
app.add_typer(support, name="support", short_help="Are the example clips good ones?")
app.command("visualize-regions", short_help="Draw the key regions of a video.")(visualize.visualize_regions)
app.command("methods", short_help="The methods and their papers.")(methods.methods)
app.add_typer(config.app, name="config", short_help="Settings, their origins, presets.")
app.command("guide", short_help="Pages of the manual.")(guide.guide)
app.command("doctor", short_help="Is this machine ready?")(doctor)


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
    stderr.print(f"error: {message}", markup=False, style="red" if code != 130 else "yellow")
    if hint:
        stderr.print(f"  {hint}", markup=False)
    sys.exit(code)


def main() -> None:
    """Entry point of the console script."""
    debug = os.environ.get("FSAR_DEBUG", "") not in ("", "0")
    try:
        app()
    except FsarError as error:
        if debug:
            raise
        _fail(error.message, error.hint, error.exit_code)
    except OSError as error:
        if debug or error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror or error}", "check the path, its permissions and the free disk", 3)
    except KeyboardInterrupt:
        _fail("interrupted", "", 130)
    except SystemExit as stop:  # Typer's answer to Ctrl-C says nothing
        if stop.code == 130:
            _fail("interrupted", "", 130)
        raise
    except Exception as error:
        if debug:
            raise
        _fail(
            f"{type(error).__name__}: {error}",
            "this is a bug of fsar; FSAR_DEBUG=1 shows where. Please report it with the command.",
            1,
        )
