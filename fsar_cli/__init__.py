"""fsar: few-shot anomalous action recognition with spatio-temporal key regions. One spine, and a shelf of tools.

The spine, in reading order:

    core/method.py    the contract `encode` -> `match` on a page, with the axis letters
    core/             the paper: features, relation, regions, losses (sections 3.1-3.5), methods/ (one method a file)
    data/             a video file becomes a clip, an episode, a split
    engine/           a run: train, bank, matching, evaluate, visualize; statistics/
    recognise/        own classes, own videos: support file, calibration, windows, events; the Python API, Recognizer
    render/           arrays in, pictures out
    cli/              one command a file: resolve, call one function, show

The shelf is tools/: one folder is one further command, and could be deleted by `rm -r` and a line in `cli/app.py`.

Imports go down only: app > tools > cli > recognise > engine > {core, data, render} > {errors, reporting, files,
leftovers, ranks, config, settings, recipes, extras, yamltext}; core, data and render know nothing of one another
(`tests/test_architecture.py`).

The Python API: `from fsar_cli import Recognizer`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsar_cli.recognise.recognizer import Recognizer

__all__ = ["Recognizer", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`Recognizer`, when it is first asked for: `fsar --help` needs no torch."""
    if name == "Recognizer":
        return import_module("fsar_cli.recognise.recognizer").Recognizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
