"""`fsar support check`: are the example clips good ones? Mislabelled, ambiguous, doubled or broken clips."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli.options import (
    AcceptOverlap,
    ConfigFile,
    Device,
    Force,
    Json,
    NoCache,
    Preset,
    Quiet,
    Region,
    Set,
    Untrained,
    Verbose,
)
from fsar_cli.cli.support import app
from fsar_cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from fsar_cli.config import Config
    from fsar_cli.engine.trained_on import Novelty
    from fsar_cli.recognise.checking.check import CheckedClip
    from fsar_cli.recognise.checking.pool import Pool


SHOWN = 30
"""Clips of the table without --all."""


@app.command("check")
def check(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR|RUN|FILE",
            help="A folder of example clips, DIR/CLASS/clip.mp4; a run folder, whose test split is checked (default:"
            " the newest run under runs/); or a support file, by what it holds of its examples.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="With DIR: the run that recognises (default: the newest).")] = None,
    shots: Annotated[
        int | None, typer.Option(min=1, help="Most examples of each class (default: the most of eval.shots).")
    ] = None,
    draws: Annotated[int | None, typer.Option(min=2, help="Draws of examples and queries. Default: 60.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draws.")] = None,
    split: Annotated[str | None, typer.Option(help="With RUN: the split to check.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="With RUN: another data set, a folder with an fsar.yaml, or its name.")
    ] = None,
    accept_overlap: AcceptOverlap = False,
    untrained: Untrained = False,
    region: Region = None,
    show_all: Annotated[bool, typer.Option("--all", help=f"A table of all clips, not of {SHOWN}.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results (default: RUN/support, or support/DIR).")
    ] = None,
    force: Force = False,
    no_cache: NoCache = False,
    device: Device = "auto",
    preset: Preset = None,
    config: ConfigFile = None,
    assignments: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Recognise each clip of a support set by all the others, and say which are worth a look.

    margin: the score of the clip's own class less that of the best other, in units of how far classes lie apart; below
    0 it is recognised as another.

    Flags: mislabelled? (recognised as another class by a clear margin), ambiguous (could as well be another), duplicate
    (nearly the same as another clip), too short, black, frozen, unreadable. What is clear is measured by the set
    itself. They are suspicions: look at support.png.

    Exit code 0 with flags, too; 3, after the report, where a clip cannot be read; 3 where nothing can be checked.

    Writes support.csv (a row a clip), support.png (flagged clips beside what they were taken for) and support.json.

    Of a support file nothing is written, pixels are not seen, and each example is recognised by all the others: as many
    as each class has.

    A run's own test split is to hold classes that are new to it; a folder may hold any, and known ones are named.

    --json: run, pool, clips, classes, shots, draws, recognised and chance (shares of 1), tells_classes_apart, flagged
    (clips), videos [class, video, margin, nearest, flags [kind, detail]], summary, split_digest, trained_split_digest,
    overlap (classes the run knows), files. null: not known. Of a support file: file instead of run and pool, and no
    digests, overlap and files.
    """
    from fsar_cli.cli.output import ConsoleReporter, print_json, stdout
    from fsar_cli.cli.source import resolve_method
    from fsar_cli.engine.bank import feature_cache
    from fsar_cli.engine.device import resolve_device
    from fsar_cli.engine.outputs import result_folder
    from fsar_cli.recognise.checking.check import DRAWS, sentences
    from fsar_cli.recognise.checking.check import check as check_pool
    from fsar_cli.recognise.checking.report import document, write_report

    if path is not None and path.is_file():
        given = {"--run": run, "--shots": shots, "--draws": draws, "--seed": seed, "--split": split, "--out": out,
                 "--dataset": dataset, "--region": region, "--preset": preset, "--config": config,
                 "--set": assignments or None}  # fmt: skip
        return _check_file(path, [name for name, value in given.items() if value is not None], show_all, as_json)
    reporter = ConsoleReporter(quiet or as_json, verbose)
    folder, run = _what(path, run, {"--split": split, "--dataset": dataset})
    flags = {"eval.shots": [shots] if shots else None, "eval.seed": seed, "eval.split": split,
             "model.region.enabled": region}  # fmt: skip
    source = resolve_method(run, untrained, preset, config, flags, assignments, reporter, dataset)
    target = resolve_device(device, reporter)
    what, parent = folder.resolve() if folder else source.config.data.frames.resolve(), ""
    default = (source.run.path if source.run else Path()) / "support"
    if folder:
        default, parent = Path("support") / what.name, what.parent.name
    novelty = None if folder else source.check_novelty(accept_overlap, reporter)  # before anything is made
    # A folder that cannot be written to stops here, not after the work.
    with (
        result_folder(default, out, "support.json", {"of": str(what)}, reporter, force=force, prefix=parent) as place,
        _pool(folder, source.config, reporter) as pool,
    ):
        novelty = novelty or source.check_novelty(True, reporter, pool.rows)
        report = check_pool(
            source.load(), source.config, pool, target, draws=draws or DRAWS, reporter=reporter,
            cache=None if no_cache else feature_cache(),
        )  # fmt: skip
        of = {"run": str(source.run.path) if source.run else None, "pool": pool.name}
        plain = {**of, **document(report), **novelty.document()}
        files = write_report(report, pool, place, {"of": str(what), **plain})
    clips = report.clips
    if as_json:
        print_json({"command": "support check", **plain, "files": [str(place / name) for name in files]})
    else:
        title = f"{len(clips)} clips of {len(report.classes)} classes, {report.shot} examples each"
        _show(title, clips, show_all)
        for line in [*_known(novelty), *sentences(report), f"{', '.join(files)}: {place}"]:
            stdout.print(line)
    lost = [clip for clip in clips if clip.nearest is None]
    if lost:
        text = f"{len(lost)} of {len(clips)} clips cannot be read, such as {lost[0].video}: {lost[0].details}"
        raise DataError(text, "replace them")


def _check_file(file: Path, given: list[str], show_all: bool, as_json: bool) -> None:
    """Check the examples of a support file. Raises UsageError: an option is `given` that says nothing of one."""
    from fsar_cli.cli.output import print_json, stdout
    from fsar_cli.recognise.checking.check import check_enrolled, sentences
    from fsar_cli.recognise.checking.report import document
    from fsar_cli.recognise.supportfile import read_support

    if given:
        raise UsageError(f"{given[0]} says nothing of a support file", "its encoder and examples stand in it")
    report = check_enrolled(read_support(file))
    if as_json:
        print_json({"command": "support check", "file": str(file), **document(report)})
        return
    _show(f"{file}: {len(report.clips)} examples of {len(report.classes)} classes", report.clips, show_all)
    for line in sentences(report):
        stdout.print(line)


def _show(title: str, clips: "list[CheckedClip]", show_all: bool) -> None:
    from fsar_cli.cli.output import stdout, table

    lines = [_cells(clip) for clip in (clips if show_all else clips[:SHOWN])]
    columns = ["class", "clip", "margin", "nearest other", "flags", "because"]
    stdout.print(table(title, columns, lines, right=("margin",)))
    if len(clips) > len(lines):
        stdout.print(f"... and {len(clips) - len(lines)} clips with larger margins (--all)", style="dim")


def _what(path: Path | None, run: Path | None, of_runs: dict[str, object]) -> tuple[Path | None, Path | None]:
    """(folder of clips or None, run folder or None: the newest)."""
    if path is None or (path / "config.yaml").is_file():
        if path is not None and run is not None:
            raise UsageError(f"{path} is a run and --run names another", "leave one of the two out")
        return None, path or run
    if not path.is_dir():
        raise DataError(f"{path} is no folder", "give a folder of clips, DIR/CLASS/clip.mp4, or a run folder")
    given = [name for name, value in of_runs.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)} {'go' if len(given) > 1 else 'goes'} with a run, and {path} holds clips")
    return path, run


def _known(novelty: "Novelty") -> Iterator[str]:
    """What must be said of clips whose classes the run knows."""
    if novelty.words:
        yield f"some classes are {novelty.words}"


def _pool(folder: Path | None, config: "Config", reporter) -> "AbstractContextManager[Pool]":
    from fsar_cli.recognise.checking.pool import pool_of_folder, pool_of_split

    return pool_of_folder(folder, config, reporter) if folder else nullcontext(pool_of_split(config))


def _cells(clip: "CheckedClip") -> list[str]:
    margin = "-" if clip.margin is None else f"{clip.margin:+.2f}"
    return [clip.cls, clip.video, margin, clip.nearest or "-", clip.kinds, clip.details]
