"""`fsar compare`: several runs, or untrained methods, on the same episodes -> which differences are real."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fsar_cli.cli.options import (
    AcceptOverlap,
    ConfigFile,
    Dataset,
    Device,
    Episodes,
    Force,
    Frames,
    GroupDisjoint,
    Json,
    NoCache,
    Preset,
    Queries,
    Quiet,
    Seed,
    Set,
    Shots,
    Split,
    SplitFile,
    Verbose,
    Way,
)

if TYPE_CHECKING:
    from fsar_cli.engine.model import Model
    from fsar_cli.tools.compare.comparison import MethodComparison

# Where one setting ends and the next begins; values may hold commas (a list), keys have a dot.
_NEXT_SETTING = re.compile(r",(?=[a-z_]+(?:\.[a-z_]+)+=)")
_NAMED = re.compile(r"([^=/\\,]+)=(.+)", re.DOTALL)


def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="Run folders: [NAME=]RUN[,KEY=VALUE]...")
    ] = None,
    untrained: Annotated[
        list[str] | None,
        typer.Option("--untrained", metavar="METHOD", help="A method as it starts: [NAME=]METHOD[,KEY=VALUE]..."),
    ] = None,
    against: Annotated[str | None, typer.Option(metavar="NAME", help="Compare all with this one, not every pair.")] = (
        None
    ),
    group: Annotated[
        str | None, typer.Option(metavar="method|name", help="Take training runs of one method (or NAME) together.")
    ] = None,
    shots: Shots = None,
    way: Way = None,
    queries: Queries = None,
    episodes: Episodes = None,
    seed: Seed = None,
    split: Split = None,
    dataset: Dataset = None,
    frames: Frames = None,
    splits: SplitFile = None,
    group_disjoint: GroupDisjoint = None,
    accept_overlap: AcceptOverlap = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the results (default: compare).")] = None,
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
    """Compare methods on the same episodes: paired differences, and whether they are real.

    Evaluation settings are those of the first, unless flags change them. --untrained takes backbone, clips and all else
    from the first run, too, or where there is none from the configuration. Settings after a comma apply to one alone;
    --set applies to all. What was evaluated before on the same episodes is not evaluated again.

    Says for each pair whether the difference is real at this number of episodes, how many would be needed, and how far
    it depends on which videos the test set holds. With several training runs of a method, --group method says how far
    it depends on their seeds. Writes tables, a picture and the accuracy of each episode to --out.
    """
    from fsar_cli.cli.output import ConsoleReporter
    from fsar_cli.engine.bank import feature_cache
    from fsar_cli.engine.device import resolve_device
    from fsar_cli.engine.outputs import result_folder
    from fsar_cli.engine.results import result_cache
    from fsar_cli.errors import UsageError
    from fsar_cli.tools.compare.comparison import compare as compare_models
    from fsar_cli.tools.compare.report import source_of, write_report

    reporter = ConsoleReporter(quiet or as_json, verbose)
    flags = {
        "eval.shots": shots or None, "eval.way": way, "eval.queries": queries, "eval.episodes": episodes,
        "eval.seed": seed, "eval.split": split, "eval.group_disjoint": group_disjoint, "data.frames": frames,
        "data.splits": splits,
    }  # fmt: skip
    if group not in (None, "method", "name"):
        raise UsageError(f"--group takes method or name, not '{group}'")
    models = _models(runs or [], untrained or [], preset, config, flags, assignments or [], dataset, reporter)
    target = resolve_device(device, reporter)
    source = source_of(models)
    # A folder that cannot be written to stops here, not after the work.
    with result_folder(Path("compare"), out, "compare.json", source, reporter, force=force) as folder:
        caches = {} if no_cache else {"cache": feature_cache(), "results": result_cache()}
        comparison = compare_models(
            models, target, against=against, group=group, accept_overlap=accept_overlap, reporter=reporter, **caches
        )
        files = write_report(comparison, folder)
    _show(comparison, folder, files, as_json)


def _models(
    runs: list[str],
    untrained: list[str],
    preset: str | None,
    config: Path | None,
    flags: dict[str, Any],
    assignments: list[str],
    dataset: str | None,
    reporter,
) -> "list[Model]":
    """What the arguments name, in their order, the runs first."""
    from fsar_cli.cli.source import check_given, data_of
    from fsar_cli.engine.model import Model
    from fsar_cli.engine.runs import find_run
    from fsar_cli.errors import UsageError
    from fsar_cli.settings import resolve

    if runs and (preset or config):
        raise UsageError("runs bring their own configuration", "change single values with --set KEY=VALUE")
    if len(runs) + len(untrained) < 2:
        raise UsageError(
            f"a comparison needs two or more, not {len(runs) + len(untrained)}",
            "fsar compare RUN RUN ...; --untrained METHOD adds one with its initial weights",
        )
    parts = [_parts(text) for text in [*runs, *untrained]]
    changes = [[*assignments, *own] for _, _, own in parts]
    for i, (_, method, own) in enumerate(parts[len(runs) :], len(runs)):
        changes[i] = [*assignments, f"model.method={method}", *own]
    for some in changes:
        check_given(flags, some, preset)
    over, models, base = data_of(dataset, reporter), [], None
    for i, (name, what, own) in enumerate(parts):
        run = find_run(Path(what)) if i < len(runs) else None
        start = run.values() if run else base
        settings = resolve(preset, config, flags, changes[i], base=start, over=over)
        models.append(Model(settings.config, run, name, tuple(own)))
        base = base or start  # the first run's, for what is untrained
    return models


def _parts(text: str) -> tuple[str, str, list[str]]:
    """`[NAME=]WHAT[,KEY=VALUE]...` -> name (may be empty), what, settings; an existing folder is taken as it is."""
    if Path(text).is_dir():
        return "", text, []
    what, *changes = _NEXT_SETTING.split(text)
    named = _NAMED.fullmatch(what)
    return (named[1].strip(), named[2], changes) if named else ("", what, changes)


def _show(comparison: "MethodComparison", out: Path, files: list[str], as_json: bool) -> None:
    from fsar_cli.cli.output import print_json, stdout, table
    from fsar_cli.tools.compare.report import document, tables
    from fsar_cli.tools.compare.words import notes, sentence

    if as_json:
        print_json({"command": "compare", "files": [str(out / name) for name in files], **document(comparison)})
        return
    left = {"task", "method", "difference", "class", "at these episodes", "largest difference (best)"}
    for title, columns, rows in tables(comparison):
        stdout.print(table(title, columns, rows, right=tuple(name for name in columns if name not in left)))
    for difference in comparison.differences:
        stdout.print(sentence(difference, comparison))
    for note in notes(comparison):
        stdout.print(note, style="dim")
    stdout.print(f"picture, tables and episodes: {out}")
