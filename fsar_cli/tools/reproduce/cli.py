"""`fsar reproduce`: a table or figure of the paper, made anew from whatever data there are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli.options import Device, Json, Quiet, Set, Verbose

if TYPE_CHECKING:
    from fsar_cli.tools.reproduce.cost import Estimate
    from fsar_cli.tools.reproduce.plan import Plan


def reproduce(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="table1, table2, table3, figure6, figure7, figure8 or figure9.")
    ],
    datasets: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset", help="Folder with an fsar.yaml, its name, or demo; repeatable (default: the paper's)."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Minutes on a CPU, small; not a faithful reproduction.")] = (
        False
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Training runs of each row, with seeds of their own.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of runs and results; the same for all tables.")] = Path("reproduce"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the runs and what they will take.")] = False,
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

    Without --quick this is the paper's recipe on HMDB51, Kinetics and UCF Crime v2 (`fsar prepare`): days on a GPU.
    """
    from fsar_cli.cli.output import ConsoleReporter
    from fsar_cli.engine.device import resolve_device
    from fsar_cli.tools.reproduce.grounds import find_grounds
    from fsar_cli.tools.reproduce.tables import FIGURES, check_name
    from fsar_cli.tools.reproduce.work import Team, Workshop

    check_name(name)
    team = Team.from_environment()
    reporter = ConsoleReporter(quiet or as_json or team.rank > 0, verbose)
    target = resolve_device(team.device(device), reporter)
    out.mkdir(parents=True, exist_ok=True)
    grounds = find_grounds(tuple(datasets or ()), quick, out, reporter)
    shop = Workshop(out, target, reporter, team)
    if name in FIGURES:
        _figure(name, grounds, quick, seeds, assignments, shop, dry_run, as_json)
    else:
        _table(name, grounds, quick, seeds, assignments, shop, dry_run, as_json)


def changes_of(assignments: list[str] | None) -> dict[str, object]:
    """The settings that the environment and --set give, checked."""
    from fsar_cli.config import flatten
    from fsar_cli.settings import resolve

    found = resolve(base={}, assignments=assignments)
    values = flatten(found.config.model_dump())
    return {key: values[key] for key, origin in found.origins.items() if origin.startswith(("environment", "--set"))}


def _table(name: str, grounds, quick: bool, seeds: int, assignments, shop, dry_run: bool, as_json: bool) -> None:
    from fsar_cli.cli.output import print_json
    from fsar_cli.tools.reproduce.outcome import gather
    from fsar_cli.tools.reproduce.plan import make_plan
    from fsar_cli.tools.reproduce.recipes import RECIPES
    from fsar_cli.tools.reproduce.report import Report
    from fsar_cli.tools.reproduce.tables import TABLES

    table = TABLES[name]
    plan = make_plan(table, RECIPES[table.quick if quick else "paper"], grounds, seeds, changes_of(assignments))
    for label, why in plan.skipped.items():
        shop.reporter.warn(f"{label} is left out: {why}")
    if not _announce(plan, shop, dry_run, as_json):
        return
    failures = shop.run(plan)
    if shop.team.rank:
        return
    report = Report(plan, gather(plan, shop, failures), shop)
    files = report.write()
    if as_json:
        print_json({"command": "reproduce", "files": [str(file) for file in files], **report.document()})
    else:
        _show(report, files)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _announce(plan: "Plan", shop, dry_run: bool, as_json: bool) -> bool:
    """Say what is to be done and what it takes; whether to go on."""
    from fsar_cli.tools.reproduce.cost import Estimator

    if shop.team.rank:
        return not dry_run
    shop.reporter.log(plan.words)
    estimates = Estimator(shop).plan(plan)
    if dry_run:
        _show_plan(plan, estimates, shop, as_json)
        return False
    left = [estimate for estimate in estimates if estimate.missing]
    if left:
        shop.reporter.log(f"{len(left)} of {len(estimates)} runs are to be made, about {_total(estimates, shop)}")
    return True


def _total(estimates: "list[Estimate]", shop) -> str:
    from fsar_cli.tools.reproduce.cost import total

    return duration(total(estimates) / shop.team.world)


def duration(seconds: float) -> str:
    """Roughly: 40 s, 12 min, 3.5 h, 2.1 days."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.{0 if unit == 'min' else 1}f} {unit}"
    return f"{seconds:.0f} s"


def _show_plan(plan: "Plan", estimates: "list[Estimate]", shop, as_json: bool) -> None:
    from fsar_cli.cli.output import print_json, stdout, table

    rows = [_planned(plan, estimate, shop) for estimate in estimates]
    if as_json:
        seconds = sum(row["seconds"] or 0 for row in rows)
        what = {"table": plan.table.name, "recipe": plan.recipe.name, "skipped": plan.skipped, "runs": rows}
        print_json({"command": "reproduce", "dry_run": True, **what, "seconds": seconds})
        return
    cells = [
        [", ".join(row["rows"]), row["trained_on"], ", ".join(row["tested_on"]), row["iterations"] or "none",
         ", ".join(row["missing"]) or "finished",
         row["reason"] or ("-" if not row["missing"] else duration(row["seconds"])), row["run"]]
        for row in rows
    ]  # fmt: skip
    columns = ["rows", "trained on", "tested on", "episodes", "to do", "about", "run"]
    stdout.print(table(f"dry run of {plan.table.name}: nothing was made", columns, cells, right=("episodes", "about")))
    stdout.print(f"in all about {_total(estimates, shop)} on this machine", markup=False)


def _planned(plan: "Plan", estimate: "Estimate", shop) -> dict[str, object]:
    job = estimate.job
    return {
        "rows": list(dict.fromkeys(cell.row.label for cell in plan.cells if job in cell.jobs)),
        "method": job.config.model.label, "trained_on": job.ground.train.name if job.trained else "-",
        "tested_on": [f"{trial.ground.name} {shot}-shot" for trial, shot in plan.tests(job)],
        "iterations": job.config.train.iterations if job.trained else 0, "seed": job.config.train.seed,
        "missing": list(estimate.missing), "seconds": estimate.seconds, "reason": estimate.reason,
        "run": f"runs/{job.digest}",
    }  # fmt: skip


def _show(report, files: list[Path]) -> None:
    from fsar_cli.cli.output import stdout, table

    grid = report.grid()
    groups = [name for name, count in grid.groups for _ in range(count)]
    names = [f"{group} {name}".strip() for group, name in zip(groups, grid.columns, strict=True)]
    names, rows = [names[0], *names[2:]], [[row[0], *row[2:]] for row in grid.rows]  # sources are in the files
    stdout.print(table(report.title, names, rows, right=tuple(names[1:])))
    for text in report.order().values():
        stdout.print(text, markup=False)
    if not report.plan.recipe.faithful:
        stdout.print(report.plan.words, markup=False, style="yellow")
    for column in report.columns:
        for label, failure in column.failed.items():
            stdout.print(f"{label} failed: {failure.message}", markup=False, style="red")
    stdout.print(f"written: {', '.join(str(file) for file in files)}", markup=False)


def _figure(name: str, grounds, quick: bool, seeds: int, assignments, shop, dry_run: bool, as_json: bool) -> None:
    from fsar_cli.cli.output import print_json, stdout
    from fsar_cli.errors import DataError, UsageError
    from fsar_cli.tools.reproduce.pictures import draw, figure_plan

    if seeds > 1:
        raise UsageError(f"--seeds {seeds} has no meaning for a figure", "figures are drawn with one training run")
    plan = figure_plan(name, grounds, quick, changes_of(assignments))
    if not _announce(plan, shop, dry_run, as_json):
        return
    failures = shop.run(plan)
    if shop.team.rank:
        return
    if failures:
        first = next(iter(failures.values()))
        raise DataError(f"{name} needs a run that failed: {first.message}")
    figure = draw(name, plan, shop)
    if as_json:
        print_json({"command": "reproduce", "figure": name, "files": list(map(str, figure.files)), **figure.document})
        return
    for line in figure.lines:
        stdout.print(line, markup=False)
    stdout.print(f"written: {', '.join(str(file) for file in figure.files)}", markup=False)
