"""What it takes to repeat the cells of a table: data, episodes, weights and commands."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from fsar_cli.render.page import Block, Bullets, Grid, Text
from fsar_cli.tools.reproduce.jobs import LENGTH, Job, Trial
from fsar_cli.tools.reproduce.plan import Cell, Plan
from fsar_cli.tools.reproduce.work import Workshop

NONE = "–"


def how_to_repeat(plan: Plan, shop: Workshop) -> Iterator[Block]:
    """Data, episodes, weights and commands of each cell."""
    for trial in plan.trials:
        yield Text(f"{trial.ground.title}: {_data(trial)}")
    rows, commands = [], []
    for job in plan.jobs:
        if weights_of(shop, job):
            tests = [f"{trial.ground.name} {shot}-shot" for trial, shot in plan.tests(job)]
            labels = dict.fromkeys(c.row.label for c in plan.cells if job in c.jobs)
            rows.append([", ".join(labels), ", ".join(tests), str(job.config.train.seed) if job.trained else NONE,
                         f"runs/{job.digest}", weights_of(shop, job)])  # fmt: skip
            commands += commands_of(plan, job, shop.out)
    yield Grid(["rows", "tested on", "seed", "run", "weights (SHA-256)"], rows, left=5)
    yield Bullets(list(dict.fromkeys(commands)), code=True)


def weights_of(shop: Workshop, job: Job) -> str:
    """The digest of a job's weights; empty where it failed."""
    try:
        return shop.weights(job)
    except OSError:
        return ""


def commands_of(plan: Plan, job: Job, out: Path, cell: Cell | None = None) -> list[str]:
    """What trains and tests a job; with `cell` only that cell's test."""
    where = job.folder(out)
    config = str(where / "config.yaml")
    found = [shlex.join(["fsar", "train", "--config", config, "--out", "NEW"])] if job.trained else []
    for trial in [cell.trial] if cell else plan.trials:
        shots = [cell.shot] if cell else [shot for t, shot in plan.tests(job) if t is trial]
        settings = trial.settings
        what = [str(where)] if job.trained else ["--untrained", "--config", config]
        flags = ["--way", settings.way, "--queries", settings.queries, "--episodes", settings.episodes, "--seed",
                 settings.seed, "--split", settings.split,
                 "--group-disjoint" if settings.group_disjoint else "--any-group",
                 "--frames", trial.data.frames, "--splits", trial.data.splits]  # fmt: skip
        asked = [part for shot in shots for part in ("--shots", shot)]
        if shots:
            found.append(shlex.join(["fsar", "eval", *what, *map(str, [*asked, *flags])]))
    return found


def _data(trial: Trial) -> str:
    ground, settings = trial.ground, trial.settings
    rule = ", support and queries from different groups" if settings.group_disjoint else ""
    episodes = ", ".join(f"{shot}-shot {digest}" for shot, digest in trial.digests.items())
    return (
        f"trained on {ground.train.name} (split {ground.train.splits.digest[:LENGTH]}), tested on the "
        f"'{settings.split}' split of {ground.test.name} (split {ground.test.splits.digest[:LENGTH]}), "
        f"{settings.episodes:,} {settings.way}-way episodes of seed {settings.seed}{rule}; episode digests: {episodes}."
    )
