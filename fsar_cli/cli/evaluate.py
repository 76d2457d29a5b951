"""`fsar eval`: a run (or untrained weights) -> accuracy with confidence interval."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

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
    Region,
    Seed,
    Set,
    Shots,
    Split,
    SplitFile,
    Untrained,
    Verbose,
    Way,
)


def evaluate(
    run: Annotated[Path | None, typer.Argument(help="Run folder (default: the newest under runs/).")] = None,
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
    untrained: Untrained = False,
    region: Region = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results (default: RUN/eval, RUN/eval-NAME).")] = None,
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
    """Evaluate by random episodes: every test video is encoded once, then all episodes are matched in batches. What was
    evaluated before in the same way is not evaluated again.

    With --dataset a run is tested on data it was not trained on: frames, splits and evaluation settings are those of
    that project, everything else the run's; results go to RUN/eval-NAME.

    Classes that the run was trained on, or selected on by validation, are no test of it and are refused. Those that the
    weights had seen before are marked, as far as it is known.

    Under torchrun several processes divide videos and episodes; the result is the same.

    Prints mean accuracy with its 95 % confidence interval, accuracy by class, region statistics and the digest of the
    episode list; writes one CSV row an episode.
    """
    from fsar_cli.cli.output import reporter_of
    from fsar_cli.cli.source import resolve_method
    from fsar_cli.engine.device import resolve_device
    from fsar_cli.engine.evaluate import write_results
    from fsar_cli.ranks import joined

    flags = {
        "eval.shots": shots or None, "eval.way": way, "eval.queries": queries, "eval.episodes": episodes,
        "eval.seed": seed, "eval.split": split, "eval.group_disjoint": group_disjoint, "data.frames": frames,
        "data.splits": splits, "model.region.enabled": region,
    }  # fmt: skip
    with joined() as ranks:
        reporter = reporter_of(ranks, quiet or as_json, verbose)
        model = resolve_method(run, untrained, preset, config, flags, assignments, reporter, dataset)
        target = resolve_device(device, reporter, ranks)
        name = f"eval-{model.config.data.name}" if dataset else "eval"
        place = _results_of(model, name, out, force, reporter) if ranks.first else nullcontext()
        novelty, whitening = model.check_novelty(accept_overlap, reporter), model.whitened_by()
        with place as folder:  # one that cannot be written to stops here, not after the work
            result = _evaluate(model, target, no_cache, reporter, ranks)
            result.novelty, result.whitening = novelty, whitening
            if ranks.first:
                write_results(result, model.config, folder, model.run)
        if ranks.first:
            _show(result, model, folder, as_json)


def _results_of(model, name: str, out: Path | None, force: bool, reporter):
    """The folder of the results, as a context."""
    from fsar_cli.engine.evaluate import source_of
    from fsar_cli.engine.outputs import result_folder

    source, default = source_of(model.config, model.run), Path(name)
    if model.run:
        default = model.run.path / name
        if out is None:
            del source["run"]  # which may have moved with all that is in it
    return result_folder(default, out, "result.json", source, reporter, force=force)


def _evaluate(model, target, no_cache: bool, reporter, ranks):
    from fsar_cli.engine.bank import feature_cache
    from fsar_cli.engine.evaluate import evaluate as evaluate_method
    from fsar_cli.engine.results import result_cache

    caches = {} if no_cache else {"cache": feature_cache(), "results": result_cache()}
    return evaluate_method(model.load(), model.config, target, reporter=reporter, ranks=ranks, **caches)


def _show(result, model, folder: Path, as_json: bool) -> None:
    from fsar_cli.cli.output import print_json, stdout
    from fsar_cli.engine.evaluate import document

    if as_json:
        run = str(model.run.path) if model.run else None
        print_json({"command": "eval", "run": run, "files": str(folder), **document(result, model.config)})
        return
    stdout.print(_accuracy_table(result))
    if result.novelty.words:
        stdout.print(f"some classes are {result.novelty.words}", style="yellow")
    if result.whitening:
        stdout.print(result.whitening.words)
    stdout.print(_class_table(result))
    if words := result.novelty.pretraining.words:
        stdout.print(words, style="yellow" if result.novelty.pretraining.seen else "dim")
    if result.regions:
        r = result.regions
        stdout.print(
            f"motion inside the key region {r.motion_region:.2f} (centre {r.motion_centre:.2f}, random "
            f"{r.motion_random:.2f}, oracle {r.motion_oracle:.2f}); {100 * r.saturated:.0f} % of centres clamped",
        )
    stdout.print(f"per-episode CSV and confusion: {folder}")


def _accuracy_table(result):
    from fsar_cli.cli.output import table

    rows = []
    for shot in result.shots:
        mean, ci = shot.accuracy
        alone = "  ".join(f"{name} {100 * value:.1f}" for name, value in shot.parts.items())
        rows.append([
            f"{shot.way}-way {shot.shot}-shot", f"{100 * mean:.2f} ± {100 * ci:.2f} %", f"{100 / shot.way:.1f} %",
            len(shot.accuracies), alone or "-", f"{shot.seconds:.1f} s", shot.digest,
        ])  # fmt: skip
    columns = ["task", "accuracy (95 % CI)", "chance", "episodes", "parts alone", "matching", "episode digest"]
    how = f"{'read from the cache' if result.cached else 'encoded'} in {result.encode_seconds:.1f} s"
    title = f"{result.videos} videos {how if result.bank else 'evaluated before'}"
    return table(title, columns, rows, right=("accuracy (95 % CI)", "chance", "episodes", "matching"))


def _class_table(result):
    from fsar_cli.cli.output import table

    columns = [
        "class",
        *[f"{s.shot}-shot" for s in result.shots],
        f"most often taken for ({result.shots[-1].shot}-shot)",
    ]
    per_class = [s.per_class() for s in result.shots]
    confused, mark = result.shots[-1].confusions(), result.novelty.pretraining.mark
    rows = [
        [mark(name), *[f"{100 * values[name]:.1f} %" for values in per_class], confused[name]]
        for name in result.shots[-1].classes
    ]
    return table("accuracy by class", columns, rows, right=tuple(columns[1:-1]))
