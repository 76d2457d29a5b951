"""`fsar train`: resolve the configuration, train or resume, show what came of it."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from fsar_cli.cli import options as shared
from fsar_cli.errors import UsageError

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
    go_on: Annotated[
        bool, typer.Option("--go-on", help="Go on with --out if it is a run, else make it (for jobs).")
    ] = False,
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

    Under torchrun several processes train one run: each takes its share of the episodes of every optimiser step, and
    the result does not depend on how many there are (`fsar guide scale`).
    """
    from fsar_cli.cli.output import reporter_of
    from fsar_cli.cli.source import check_given
    from fsar_cli.engine.device import resolve_device
    from fsar_cli.ranks import joined
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
    check_given(flags, assignments, preset)
    if resume and (out or preset or config or go_on):
        raise UsageError("--resume takes the run's own configuration", "change single values with --set KEY=VALUE")
    with joined() as ranks:
        reporter = reporter_of(ranks, quiet or as_json, verbose)
        target = resolve_device(device, reporter, ranks)
        if not resume and ranks.agreed(lambda: _goes_on(out, go_on)):
            resume, preset, config = out, None, None
        base = _values(resume)
        resolved = resolve(preset, config, flags, assignments, base=base)
        if freeze_backbone and not resolved.config.train.views:
            resolved = resolve(preset, config, flags | {"train.views": VIEWS}, assignments, base=base)
        _tell(resolved, base, reporter)
        if not dry_run:
            result = _train(resolved.config, resume, out, target, reporter, ranks)
            if ranks.first:
                _show(result, reporter, as_json)
        elif ranks.first:
            _show_plan(resolved.config, resume, target, reporter, as_json)


def _goes_on(out: Path | None, go_on: bool) -> bool:
    """Whether the command is to go on with `out`: it is a run, and that was asked for or torchrun starts anew."""
    from fsar_cli.engine.runs import Run
    from fsar_cli.ranks import restartable, restarted

    if out is None and (go_on or restartable()):
        raise UsageError("a run that is to be gone on with needs a name", "--out RUN names it")
    return out is not None and (go_on or restarted()) and Run(out).config_file.is_file()


def _values(resume: Path | None) -> dict | None:
    """The dotted configuration of the run to resume, or None."""
    from fsar_cli.engine.runs import find_run

    return None if resume is None else find_run(resume).values()


def _tell(resolved, base: dict | None, reporter) -> None:
    """Which settings are not the run's."""
    from fsar_cli.config import flatten

    own = flatten(resolved.config.model_dump())
    for key, origin in resolved.origins.items() if base else ():
        if origin != "run" and own[key] != base.get(key):
            reporter.log(f"{key} comes from {origin} and not from the run")


def _train(config, resume: Path | None, out: Path | None, target, reporter, ranks):
    from fsar_cli.engine.bank import feature_cache
    from fsar_cli.engine.runs import create_run, find_run
    from fsar_cli.engine.train import Trainer

    options = {"reporter": reporter, "cache": feature_cache(), "ranks": ranks}
    if resume is None:
        return Trainer(config, lambda: create_run(config, out), target, **options).run()
    run = find_run(resume)
    # Held from before the state is read: whoever comes second is told at once.
    with run.writing() if ranks.first else nullcontext():
        saved = ranks.agreed(run.state_file.exists)
        trainer = Trainer(config, run, target, pretrained=not saved, **options)
        if saved:
            trainer.resume()
        reporter.log(f"resuming {run.path} at episode {trainer.step}")
        return trainer.run()


def _show(result, reporter, as_json: bool) -> None:
    from fsar_cli.cli.output import print_json, stdout

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
