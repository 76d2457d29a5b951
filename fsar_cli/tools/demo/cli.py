"""`fsar demo`: everything at once, with nothing but a CPU."""

from pathlib import Path
from typing import Annotated

import typer

from fsar_cli.cli.options import Device, Json, Quiet, Verbose


def demo(
    out: Annotated[Path, typer.Option(help="Folder to make.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the rendered clips.")] = 0,
    iterations: Annotated[int | None, typer.Option(min=1, help="Training episodes (default: the preset's).")] = None,
    episodes: Annotated[int | None, typer.Option(min=2, help="Evaluation episodes (default: 10,000).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier demo.")] = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Render a small surveillance set, then really extract, split, train, evaluate and visualise it; ends in one table.

    Needs no network, no data and no GPU; minutes on two CPU cores. The folder it leaves is a project to play with.
    """
    from fsar_cli.cli.output import ConsoleReporter, print_json
    from fsar_cli.engine.device import resolve_device
    from fsar_cli.errors import Interrupted
    from fsar_cli.tools.demo.demo import run_demo

    reporter = ConsoleReporter(quiet or as_json, verbose)
    target = resolve_device(device, reporter)
    try:
        result = run_demo(
            out, target, seed=seed, iterations=iterations, episodes=episodes, force=force, reporter=reporter
        )
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; the demo in {out} is incomplete", "`fsar demo --force` starts anew") from None
    if as_json:
        print_json({"command": "demo", **_document(result)})
    else:
        _show(result)


def _document(result) -> dict:
    evaluations = {"keyregion": result.trained, "prototype, untrained": result.untrained}
    return {
        "folder": result.folder,
        "run": result.run,
        "accuracy": {name: [shot.summary() for shot in e.shots] for name, e in evaluations.items()},
        "regions": {name: vars(hits) for name, hits in result.hits.items()},
        "pictures": [vars(p) for p in result.pictures],
        "own": {
            "support": result.own.support,
            "page": result.own.page,
            "events": result.own.events,
            "truth": result.own.against.document(),
        },
        "seconds": {name: round(value, 1) for name, value in result.seconds.items()},
    }


def _show(result) -> None:
    from fsar_cli.cli.output import stdout, table

    rows = []
    for name, evaluation in {"keyregion, trained": result.trained, "prototype, untrained": result.untrained}.items():
        for shot in evaluation.shots:
            mean, ci = shot.accuracy
            value = f"{100 * mean:.1f} ± {100 * ci:.1f} %"
            rows.append([f"accuracy, {shot.way}-way {shot.shot}-shot", name, value, f"chance {100 / shot.way:.0f} %"])
    for name, hits in result.hits.items():
        rows.append(["actor centre inside", name, f"{100 * hits.hit:.1f} %", f"IoU {hits.iou:.2f}"])
    against = result.own.against
    for what, right, of in (("found", against.right, against.truth), ("right", against.right, against.found)):
        share = f"{100 * right / of:.0f} %" if of else "-"
        rows.append([f"events {what}", "5 clips a class, scan", share, f"{right} of {of}"])
    total = sum(result.seconds.values())
    title = f"demo: {len(result.trained.shots[0].accuracies):,} episodes of unseen anomalous classes, {total:.0f} s"
    stdout.print(table(title, ["what", "by", "value", "beside"], rows, right=("value",)))
    for picture in result.pictures:
        for path in (*picture.sheets, *picture.heats, picture.overlay):
            stdout.print(f"picture: {path}")
    stdout.print(f"page: {result.own.page}")
    stdout.print(f"run: {result.run}   project: cd {result.folder} && fsar eval --shots 5")
