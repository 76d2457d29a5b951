"""`fsar train`: resolve the configuration, train or resume, show what came of it."""

from pathlib import Path
from typing import Annotated

import typer

from fsar_cli.cli import options as shared

VIEWS = 4


def train(
    method: Annotated[str | None, typer.Option(help="keyregion, trx, otam, ... (`fsar methods`).")] = None,
    backbone: Annotated[str | None, typer.Option(help="A network: resnet50, r3d_18, i3d, timm:NAME, hf:NAME.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="imagenet, kinetics400, pretrained, none, demo or a path to a state dict.")
    ] = None,
    region: shared.Region = None,
    frames: shared.Frames = None,
    splits: shared.SplitFile = None,
    way: shared.Way = None,
    shot: Annotated[int | None, typer.Option(help="Support clips per class.")] = None,
    queries: shared.Queries = None,
    freeze_backbone: Annotated[
        bool, typer.Option("--freeze-backbone", help="Train the heads alone, on features that are encoded once.")
    ] = False,
    iterations: Annotated[int | None, typer.Option(help="Episodes to train on.")] = None,
    memory_budget: Annotated[
        float | None, typer.Option(metavar="GIB", help="Make an episode fit: checkpointing, then micro-batches.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the backbones (torch.compile); for long runs on a GPU.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, episodes and augmentation.")] = None,
    workers: Annotated[int | None, typer.Option(help="Loader processes.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to make (default: runs/<time>-...).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run and the memory it needs.")] = False,
    device: shared.Device = "auto",
    preset: shared.Preset = None,
    config: shared.ConfigFile = None,
    assignments: shared.Set = None,
    as_json: shared.Json = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Train a method by episodes; keeps the weights that are best on the val split.

    With --freeze-backbone the backbones see a few augmented views of each video once (train.views, 4 unless set);
    training the heads then takes minutes on a CPU.

    Ctrl-C saves; `fsar train --resume RUN` goes on exactly where it stopped.
    """
    from fsar_cli.cli.output import ConsoleReporter
    from fsar_cli.cli.source import check_given
    from fsar_cli.engine.device import resolve_device
    from fsar_cli.settings import resolve

    flags = {
        "model.method": method, "model.backbone": backbone, "model.weights": weights,
        "model.region.enabled": region, "data.frames": frames,
        "data.splits": splits, "episode.way": way, "episode.shot": shot, "episode.queries": queries,
        "train.iterations": iterations, "train.seed": seed, "train.workers": workers,
        "train.memory_budget": memory_budget,
    }  # fmt: skip
    if freeze_backbone:
        flags["model.freeze_backbone"] = True
    if compiled:
        flags["train.compile"] = True
    reporter = ConsoleReporter(quiet or as_json, verbose)
    check_given(flags, assignments, preset)
    target = resolve_device(device, reporter)
    base = _run_values(resume, out, preset, config)
    resolved = resolve(preset, config, flags, assignments, base=base)
    if freeze_backbone and not resolved.config.train.views:
        resolved = resolve(preset, config, flags | {"train.views": VIEWS}, assignments, base=base)
    for key, origin in resolved.origins.items() if base else ():
        if origin != "run":
            reporter.log(f"{key} comes from {origin} and not from the run")
    if dry_run:
        _show_plan(resolved.config, resume, target, reporter, as_json)
    else:
        _train(resolved.config, resume, out, target, reporter, as_json)


def _run_values(resume: Path | None, out: Path | None, preset: str | None, config: Path | None) -> dict | None:
    """The dotted configuration of the run to resume, or None."""
    from fsar_cli.engine.runs import find_run
    from fsar_cli.errors import UsageError

    if resume is None:
        return None
    if out or preset or config:
        raise UsageError("--resume takes the run's own configuration", "change single values with --set KEY=VALUE")
    return find_run(resume).values()


def _train(config, resume: Path | None, out: Path | None, target, reporter, as_json: bool) -> None:
    from fsar_cli.cli.output import print_json, stdout
    from fsar_cli.engine.bank import feature_cache
    from fsar_cli.engine.runs import create_run, find_run
    from fsar_cli.engine.train import Trainer

    cache = feature_cache()
    if resume is not None:
        run = find_run(resume)
        with run.writing():  # from before the state is read: whoever comes second is told at once
            trainer = Trainer(config, run, target, reporter=reporter, pretrained=False, cache=cache)
            trainer.resume()
            reporter.log(f"resuming {run.path} at episode {trainer.step}")
            result = trainer.run()
    else:
        result = Trainer(config, lambda: create_run(config, out), target, reporter=reporter, cache=cache).run()
    if as_json:
        print_json({"command": "train", **vars(result)})
        return
    best = "" if result.best_step is None else (
        f", best on val {100 * result.best_accuracy:.1f} % at episode {result.best_step}"
    )  # fmt: skip
    stdout.print(f"trained {result.iterations} episodes, loss {result.loss:.3f}{best}")
    stdout.print(f"run: {result.run}")
    reporter.log(f"next: fsar eval '{result.run}' --shots 5")


def _show_plan(config, resume: Path | None, target, reporter, as_json: bool) -> None:
    from fsar_cli.cli.output import print_json, stdout, table
    from fsar_cli.data.splits import Splits
    from fsar_cli.engine.runs import find_run
    from fsar_cli.engine.setup import plan
    from fsar_cli.engine.trained_on import check_unchanged

    if resume is not None:
        check_unchanged(find_run(resume), config, Splits.read(config.data.splits), reporter)

    values = plan(config, target)
    if as_json:
        print_json({"command": "train", "dry_run": True, **values})
        return
    rows = [[name.replace("_", " "), value] for name, value in values.items()]
    stdout.print(table("dry run: nothing was trained or written", ["what", "value"], rows))
