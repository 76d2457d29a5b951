"""What it takes to repeat the cells of a table: data, episodes, weights and commands."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from fsar_cli.render.page import Block, Bullets, Grid, Text
from fsar_cli.tools.reproduce.ground import Ground
from fsar_cli.tools.reproduce.plan import TablePlan
from fsar_cli.tools.reproduce.planned import LENGTH, PlannedRun
from fsar_cli.tools.reproduce.work import Reproduction

NONE = "–"


def how_to_repeat(plan: TablePlan, place: Reproduction) -> Iterator[Block]:
    """Data, episodes, weights and commands of each cell."""
    for ground in plan.grounds:
        yield Text(f"{ground.title}: {_data(ground, any(run.trained for run in plan.runs))}")
    rows, commands = [], []
    for run in plan.runs:
        if weights := place.weights(run):
            tests = [f"{ground.name} {shot}-shot" for ground in plan.grounds for shot in plan.shots(run, ground)]
            seed = str(run.config.train.seed) if run.trained else NONE
            rows.append([", ".join(plan.labels(run)), ", ".join(tests), seed, f"runs/{run.digest}", weights])
            for ground in plan.grounds:
                commands += commands_of(run, place.out, ground, plan.shots(run, ground))
    yield Grid(["rows", "tested on", "seed", "run", "weights (SHA-256)"], rows, left=5)
    yield Bullets(list(dict.fromkeys(commands)), code=True)


def commands_of(run: PlannedRun, out: Path, ground: Ground, shots: Sequence[int]) -> list[str]:
    """What trains a run and tests it on a ground."""
    where, settings = run.folder(out), ground.settings
    config = str(where / "config.yaml")
    train = [shlex.join(["fsar", "train", "--config", config, "--out", "NEW"])] if run.trained else []
    what = [str(where)] if run.trained else ["--untrained", "--config", config]
    flags = ["--way", settings.way, "--queries", settings.queries, "--episodes", settings.episodes, "--seed",
             settings.seed, "--split", settings.split, "--group-disjoint" if settings.group_disjoint else "--any-group",
             "--frames", ground.data.frames, "--splits", ground.data.splits, "--set", f"eval.views={settings.views}",
             "--set", f"eval.precision={settings.precision}"]  # fmt: skip
    asked = [part for shot in shots for part in ("--shots", shot)]
    return [*train, *([shlex.join(["fsar", "eval", *what, *map(str, [*asked, *flags])])] if shots else [])]


def _data(ground: Ground, trained: bool) -> str:
    settings, test = ground.settings, ground.test
    rule = ", support and queries from different groups" if settings.group_disjoint else ""
    episodes = ", ".join(f"{shot}-shot {some.digest}" for shot, some in ground.lists.items())
    learnt = f"trained on {ground.train.name} (split {ground.train.splits.digest[:LENGTH]}), " if trained else ""
    return (
        f"{learnt}tested on the "
        f"'{settings.split}' split of {test.name} (split {test.splits.digest[:LENGTH]}), "
        f"{settings.episodes:,} {settings.way}-way episodes of seed {settings.seed}{rule}; episode digests: {episodes}."
    )
