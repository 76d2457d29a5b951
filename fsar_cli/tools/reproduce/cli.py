"""`fsar reproduce`: a table or figure of the paper, made anew from whatever data there are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli.options import AcceptOverlap, Device, Json, Quiet, Set, Shots, Verbose

if TYPE_CHECKING:
    from fsar_cli.tools.reproduce.plan import TablePlan
    from fsar_cli.tools.reproduce.work import Reproduction, RunResults


def reproduce(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="table1, table2, table3, backbones, figure6, figure7, figure8 or figure9."),
    ],
    datasets: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset", help="Folder with an fsar.yaml, its name, or demo; repeatable (default: the paper's)."
        ),
    ] = None,
    backbones: Annotated[
        list[str] | None,
        typer.Option(
            "--backbone", metavar="NAME[=WEIGHTS]", help="Of the table `backbones`, in place of all; repeatable."
        ),
    ] = None,
    shots: Shots = None,
    quick: Annotated[bool, typer.Option("--quick", help="Minutes on a CPU, small; not a faithful reproduction.")] = (
        False
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Training runs of each row, with seeds of their own.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of runs and results; the same for all tables.")] = Path("reproduce"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the runs and what is left to do.")] = False,
    accept_overlap: AcceptOverlap = False,
    assignments: Set = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a table or figure of the paper anew: plan all runs, do those that are missing, write it beside the paper's.

    Every run has its folder under OUT/runs, named by a digest of its settings and data: what one table has trained the
    others find, and after Ctrl-C or a power cut the same command goes on. Under torchrun, or started several times, the
    processes share the runs. A row that fails is named in the table and does not stop the others.

    `backbones` is not the paper's: frozen networks under four heads, with and without whitening, accuracy beside cost.

    Without --quick this is the paper's recipe on HMDB51, Kinetics and UCF Crime v2 (`fsar prepare`): days on a GPU.
    """
    from fsar_cli.cli.output import ConsoleReporter
    from fsar_cli.engine.device import resolve_device
    from fsar_cli.errors import UsageError
    from fsar_cli.ranks import of_environment
    from fsar_cli.settings import check_usage
    from fsar_cli.tools.reproduce.backbones import backbone_table
    from fsar_cli.tools.reproduce.data import find_data
    from fsar_cli.tools.reproduce.pictures import figure_plan
    from fsar_cli.tools.reproduce.plan import make_plan
    from fsar_cli.tools.reproduce.recipes import RECIPES
    from fsar_cli.tools.reproduce.tables import BACKBONES, FIGURES, TABLES, check_name
    from fsar_cli.tools.reproduce.work import Reproduction

    check_name(name)
    if name in FIGURES and seeds > 1:
        raise UsageError(f"--seeds {seeds} has no meaning for a figure", "figures are drawn with one training run")
    if backbones and name != BACKBONES:
        raise UsageError(f"--backbone has no meaning for {name}", "it chooses the rows of `fsar reproduce backbones`")
    changes, follows = check_usage({"eval.shots": shots or None}, assignments), not of_environment().first
    reporter = ConsoleReporter(quiet or as_json or follows, verbose)
    target = resolve_device(device, reporter, of_environment())
    if not dry_run:
        out.mkdir(parents=True, exist_ok=True)
    data = find_data(tuple(datasets or ()), quick, out, reporter, dry_run, trained=name != BACKBONES)
    if name in FIGURES:
        plan = figure_plan(name, data, quick, changes)
    else:
        table = TABLES.get(name) or backbone_table([test for _, test in data], backbones or (), changes)
        plan = make_plan(table, RECIPES[table.quick if quick else "paper"], data, seeds, changes)
    place = Reproduction(out, target, reporter)
    place.check(plan, accept_overlap)
    _announce(plan, place)
    if dry_run:
        _show_plan(plan, place, as_json)
        return
    made = place.make(plan)
    if not follows:  # one process writes the table
        (_write_figure if name in FIGURES else _write_table)(name, plan, place, made, as_json)


def _announce(plan: "TablePlan", place: "Reproduction") -> None:
    """Say what is to be done."""
    from fsar_cli.tools.reproduce.work import LEFT

    for label, why in plan.skipped.items():
        place.reporter.warn(f"{label} is left out: {why}")
    for subject, message in plan.refusals():
        place.reporter.warn(f"{subject} is refused: {message}")
    left = [run for run in plan.runs if place.state(run) in LEFT]
    tests = sum(len(plan.shots(run, ground)) for run in plan.runs for ground in plan.grounds)
    for words in [plan.words, *plan.seen_before()]:
        place.reporter.log(words)
    place.reporter.log(
        f"{len(left)} of {len(plan.runs)} runs are to be trained, {tests} evaluations to be made or found"
    )


def _show_plan(plan: "TablePlan", place: "Reproduction", as_json: bool) -> None:
    from fsar_cli.cli.output import print_json, stdout, table
    from fsar_cli.tools.reproduce.data import UnmadeDemo

    rows = [
        {
            "rows": plan.labels(run), "method": run.config.model.label,
            "trained_on": run.ground.train.name if run.trained else "-",
            "tested_on": [f"{g.name} {shot}-shot" for g in plan.grounds for shot in plan.shots(run, g)],
            "iterations": run.config.train.iterations if run.trained else 0, "seed": run.config.train.seed,
            "to_do": place.state(run), "run": "-" if isinstance(run.ground.train, UnmadeDemo) else f"runs/{run.digest}",
        }
        for run in plan.runs
    ]  # fmt: skip
    if as_json:
        what = {"table": plan.table.name, "recipe": plan.recipe.name, "skipped": plan.skipped, "runs": rows}
        what["refused"] = {f"{label} on {ground}": error.message for (label, ground), error in plan.refused.items()}
        print_json({"command": "reproduce", "dry_run": True, **what})
        return
    columns = {"rows": "rows", "trained_on": "trained on", "tested_on": "tested on", "iterations": "episodes",
               "to_do": "to do", "run": "run"}  # fmt: skip
    cells = [[", ".join(row[k]) if isinstance(row[k], list) else row[k] or "none" for k in columns] for row in rows]
    title = f"dry run of {plan.table.name}: nothing was made"
    stdout.print(table(title, list(columns.values()), cells, right=("episodes",)))


def _write_table(name: str, plan: "TablePlan", place: "Reproduction", made: "RunResults", as_json: bool) -> None:
    from fsar_cli.cli.output import print_json
    from fsar_cli.tools.reproduce.backbone_report import BackboneReport
    from fsar_cli.tools.reproduce.outcome import gather
    from fsar_cli.tools.reproduce.report import TableReport

    kind = BackboneReport if plan.table.frozen else TableReport
    report = kind(plan, gather(plan, made), place, made)
    files = report.write()
    if as_json:
        print_json({"command": "reproduce", "files": [str(file) for file in files], **report.document()})
    else:
        _show(report, files)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _show(report, files: list[Path]) -> None:
    from fsar_cli.cli.output import stdout, table

    grid = report.grid()
    groups = [name for name, count in grid.groups for _ in range(count)]
    names = [f"{group} {name}".strip() for group, name in zip(groups, grid.columns, strict=True)]
    shown = [column for column in range(len(names)) if column not in report.hidden]
    rows = [[row[column] for column in shown] for row in grid.rows]
    stdout.print(table(report.title, [names[c] for c in shown], rows, right=tuple(names[grid.left :])))
    for text in report.lines():
        stdout.print(text)
    if not report.plan.recipe.faithful:
        stdout.print(report.plan.words, style="yellow")
    for text in dict.fromkeys(report.failures()):
        stdout.print(text, style="red")
    stdout.print(f"written: {', '.join(str(file) for file in files)}")


def _write_figure(name: str, plan: "TablePlan", place: "Reproduction", made: "RunResults", as_json: bool) -> None:
    from fsar_cli.cli.output import print_json, stdout
    from fsar_cli.errors import DataError
    from fsar_cli.tools.reproduce.pictures import draw

    for failure in made.failures.values():
        raise DataError(f"{name} needs a run that failed: {failure.message}")
    figure = draw(name, plan, place, made)
    if as_json:
        print_json({"command": "reproduce", "figure": name, "files": list(map(str, figure.files)), **figure.document})
        return
    for line in figure.lines:
        stdout.print(line)
    stdout.print(f"written: {', '.join(str(file) for file in figure.files)}")
