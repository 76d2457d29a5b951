"""`fsar support check`: are the example clips good ones? Mislabelled, ambiguous, doubled, odd or broken clips."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli.options import ConfigFile, Device, Json, NoCache, Preset, Quiet, Region, Set, Untrained, Verbose
from fsar_cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from fsar_cli.engine.model import Model
    from fsar_cli.tools.support.check import Report
    from fsar_cli.tools.support.pool import Pool

app = typer.Typer(help="The quality of support sets.", no_args_is_help=True, rich_markup_mode=None)
SHOWN = 30
"""Clips of the table without --all."""


@app.callback()
def support() -> None:
    """The quality of support sets."""


@app.command("check")
def check(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR|RUN",
            help="A folder of example clips, DIR/CLASS/clip.mp4, or a run folder, whose test split is checked (default:"
            " the newest run under runs/).",
            show_default=False,
        ),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="With DIR: the run that recognises (default: the newest).")] = None,
    filtered: Annotated[
        bool, typer.Option("--filter", help="Evaluate with and without the flagged clips in the support.")
    ] = False,
    shots: Annotated[
        list[int] | None,
        typer.Option("--shots", help="Most examples of each class (default: eval.shots); of --filter, repeatable."),
    ] = None,
    draws: Annotated[int | None, typer.Option(min=2, help="Draws of examples and queries. Default: 60.")] = None,
    episodes: Annotated[int | None, typer.Option(min=2, help="Episodes of --filter. Default: 2000.")] = None,
    way: Annotated[int | None, typer.Option(min=2, help="Classes of an episode of --filter.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of draws, folds and episodes.")] = None,
    split: Annotated[str | None, typer.Option(help="With RUN: the split to check.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="With RUN: another data set, a folder with an fsar.yaml, or its name.")
    ] = None,
    frames: Annotated[Path | None, typer.Option(help="With RUN: frame store (default: the run's).")] = None,
    splits: Annotated[Path | None, typer.Option(help="With RUN: split file (default: the run's).")] = None,
    group_disjoint: Annotated[
        bool | None,
        typer.Option(
            "--group-disjoint/--any-group", help="With RUN: --filter keeps queries' groups out of the support."
        ),
    ] = None,
    untrained: Untrained = False,
    region: Region = None,
    show_all: Annotated[bool, typer.Option("--all", help=f"A table of all clips, not of {SHOWN}.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results (default: RUN/support, or support/DIR).")
    ] = None,
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
    0 it is recognised as another. influence: what the clip as an example changes in the recognition of the others, in
    points, against another clip of its class in its place.

    Flags: mislabelled? (recognised as another class by a clear margin), ambiguous (could as well be another), duplicate
    (nearly the same as another clip), odd one out (unlike its class); too short, black, blank, frozen, unreadable. What
    is clear is measured by the set itself. They are suspicions: look at support.png.

    --filter: the same queries with all clips as support candidates, and with the flagged ones passed over; flags are
    made anew without the clips that are asked.

    Exit code 0 with flags, too; 3, after the report, where a clip cannot be read; 3 where nothing can be checked.

    Writes support.csv (a row a clip), confusion.csv and support.png (flagged clips beside what they were taken for).

    --json: run, pool, clips, classes, shots, draws, seed, recognised and chance (shares), tells_classes_apart, flagged
    (clips), left_out_by_filter, videos [class, video, margin, recognised, nearest, influence, influence_error, flags
    [kind, detail]], confusion [class][class], filter [way, shot, episodes, queries, flagged, changed, before, after,
    difference, ci, ci_clips, p, digest, real], summary, files. Shares are of 1; null: not known.
    """
    from fsar_cli.cli.output import ConsoleReporter
    from fsar_cli.engine.bank import feature_cache
    from fsar_cli.engine.device import resolve_device
    from fsar_cli.tools.support.check import DRAWS, EPISODES, Settings
    from fsar_cli.tools.support.check import check as check_pool
    from fsar_cli.tools.support.report import write_report

    reporter = ConsoleReporter(quiet or as_json, verbose)
    folder, run = _what(path, run, {"--split": split, "--dataset": dataset, "--frames": frames,
                                               "--splits": splits, "--group-disjoint": group_disjoint})  # fmt: skip
    source = _source(run, untrained, preset, config, assignments, dataset, reporter, {
        "eval.shots": shots or None, "eval.way": way, "eval.seed": seed, "eval.split": split, "data.frames": frames,
        "data.splits": splits, "eval.group_disjoint": group_disjoint, "model.region.enabled": region,
    })  # fmt: skip
    settings = Settings(max(source.config.eval.shots), draws or DRAWS, source.config.eval.seed, episodes or EPISODES)
    target = resolve_device(device, reporter)
    place = out or _place(folder, source)
    place.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written to stops here, not after the work
    with _pool(folder, source, reporter) as pool:
        report = check_pool(
            source.load(), source.config, pool, target, settings, filtered=filtered, reporter=reporter,
            cache=None if no_cache else feature_cache(),
        )  # fmt: skip
        files = write_report(report, place, f"worth a look: {pool.name}")
    _show(report, source, place, files, show_all, as_json)


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


def _source(
    run: Path | None,
    untrained: bool,
    preset: str | None,
    config: Path | None,
    assignments: list[str] | None,
    dataset: str | None,
    reporter,
    flags: dict[str, object],
) -> "Model":
    from fsar_cli.cli.source import resolve_method

    if flags["model.region.enabled"] is not None and not untrained:
        raise UsageError("--region and --no-region go with --untrained", "a run has the features it was trained with")
    return resolve_method(run, untrained, preset, config, flags, assignments, reporter, dataset)


def _place(folder: Path | None, source: "Model") -> Path:
    if folder is not None:
        return Path("support") / folder.resolve().name
    return source.run.path / "support" if source.run else Path("support")


def _pool(folder: Path | None, source: "Model", reporter) -> "AbstractContextManager[Pool]":
    from fsar_cli.tools.support.pool import pool_of_folder, pool_of_split

    return pool_of_folder(folder, source.config, reporter) if folder else nullcontext(pool_of_split(source.config))


def _show(report: "Report", source: "Model", place: Path, files: list[str], show_all: bool, as_json: bool) -> None:
    """Print the result; raise DataError where clips cannot be read."""
    from fsar_cli.cli.output import print_json, stdout
    from fsar_cli.tools.support.report import document
    from fsar_cli.tools.support.rows import rows
    from fsar_cli.tools.support.words import sentences

    found = rows(report)
    if as_json:
        run = str(source.run.path) if source.run else None
        written = [str(place / name) for name in files]
        print_json({"command": "support check", "run": run, "files": written, **document(report)})
    else:
        stdout.print(_clip_table(report, found if show_all else found[:SHOWN]))
        if not show_all and len(found) > SHOWN:
            stdout.print(f"... and {len(found) - SHOWN} clips with larger margins (--all)", style="dim")
        stdout.print(_class_table(report))
        for line in sentences(report):
            stdout.print(line, markup=False)
        stdout.print(f"{', '.join(files)}: {place}", markup=False)
    lost = report.pool.unreadable
    if lost:
        name, (_, reason) = next(iter(sorted(lost.items())))
        raise DataError(f"{len(lost)} of {len(found)} clips cannot be read, such as {name}: {reason}", "replace them")


def _clip_table(report: "Report", found: list):
    from fsar_cli.cli.output import table

    lines = []
    for row in found:
        effect = "-"
        if row.influence is not None:
            effect = f"{100 * row.influence:+.1f} ± {196 * row.influence_error:.1f}"
        lines.append([
            row.cls, row.video, "-" if row.margin is None else f"{row.margin:+.2f}",
            "-" if row.recognised is None else f"{100 * row.recognised:.0f} %", row.nearest or "-", effect, row.kinds,
            row.details,
        ])  # fmt: skip
    columns = ["class", "clip", "margin", "as its class", "nearest other", "influence", "flags", "because"]
    title = f"{len(report.pool.videos)} clips of {len(report.pool.classes)} classes, {report.scored.shot} examples each"
    return table(title, columns, lines, right=("margin", "as its class", "influence"))


def _class_table(report: "Report"):
    from fsar_cli.cli.output import table

    names = report.pool.classes
    lines = [
        [name, *[f"{100 * share:.0f} %" if share else "" for share in row]]
        for name, row in zip(names, report.confusion, strict=True)
    ]
    return table("recognised as (share of draws)", ["class", *names], lines, right=tuple(names))
