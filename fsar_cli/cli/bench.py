"""`fsar bench`: how fast fsar is on this machine, beside plain forms of the same work."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from fsar_cli.cli.options import Device, Json, Quiet, Set, Verbose


def bench(
    sections: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SECTION]...",
            help="extract, read, encode, head, train, evaluate, scaling; none: all of them.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes: minutes become seconds.")] = False,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="Method to train and evaluate; repeatable. Default: all.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="A torchvision classification network. Default: resnet50, quick: resnet18.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=32, help="Side of the input. Default: 224, quick: 112.")] = None,
    episodes: Annotated[
        int | None, typer.Option(min=4, help="Episodes evaluated. Default: 10,000, quick: 200.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results; earlier ones in it are replaced.")] = Path("bench"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, pictures and episodes.")] = 0,
    device: Device = "auto",
    assignments: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure extraction, reading, encoding, matching, training and evaluation, each beside a plain form of the same.

    The plain forms compute the same numbers as is customary: tuples concatenated, loops over classes and queries,
    every episode encoded anew, float32. Both are measured in this run, on synthetic pictures and random weights, which
    cost what real ones do. On two idle cores a full run takes about 40 minutes and --quick a bit over a minute.

    Writes bench.json, bench.md (a table to paste) and bench.png. Ctrl-C keeps what was measured so far.
    """
    from fsar_cli.cli.output import ConsoleReporter
    from fsar_cli.engine.bench.measurement import Report
    from fsar_cli.engine.bench.report import write_report
    from fsar_cli.engine.bench.run import chosen_sections, describe_machine, run_bench
    from fsar_cli.engine.bench.sizes import choose_sizes
    from fsar_cli.engine.device import resolve_device
    from fsar_cli.errors import Interrupted

    reporter = ConsoleReporter(quiet or as_json, verbose)
    chosen = chosen_sections(sections or ())
    target = resolve_device(device, reporter)
    sizes = choose_sizes(
        target,
        quick,
        backbone=backbone,
        side=size,
        episodes=episodes,
        seed=seed,
        methods=tuple(method or ()) or None,
        assignments=tuple(assignments or ()),
    )
    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written to stops here, not after the work
    report = Report(describe_machine(target), shlex.join(["fsar", *sys.argv[1:]]), chosen, quick)
    try:
        run_bench(report, sizes, target, reporter)
    finally:
        if report.measurements:  # also those before an error
            files = write_report(report, out)
            _print(report, files, as_json)
    if report.interrupted:
        raise Interrupted(
            f"stopped; what was measured so far is in {out}" if report.measurements else "stopped",
            "to measure the rest, name its sections",
        )


def _print(report, files: list[Path], as_json: bool) -> None:
    from fsar_cli.cli.output import print_json, stdout, table
    from fsar_cli.engine.bench.report import COLUMNS, ceiling_line, machine_line, notes, row, title

    if as_json:
        print_json({**report.document(), "files": [str(file) for file in files]})
        return
    rows = [row(measurement) for measurement in report.measurements]
    stdout.print(table(title(report), list(COLUMNS), rows, right=COLUMNS[2:]))
    for line in [*notes(report), ceiling_line(report), machine_line(report)]:
        if line:
            stdout.print(line, markup=False)
    stdout.print(f"results: {', '.join(map(str, files))}", markup=False)
