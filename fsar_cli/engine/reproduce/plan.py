"""All that a table takes: its rows as configurations, each training run known by a digest of what it depends on.

A run is the same run in every table, so what one has trained another finds. The digest holds clips, model, episodes,
optimiser, training settings, the training videos and the weights to start from; not where results go, nor how many
processes load frames.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from fsar_cli.config import Config, DataConfig, EvalConfig, validate
from fsar_cli.core.build import build_method
from fsar_cli.core.methods import METHODS
from fsar_cli.data.episodes import EpisodeDigest, Episodes, EpisodeSampler
from fsar_cli.engine.evaluate import samplers
from fsar_cli.engine.reproduce.grounds import Ground
from fsar_cli.engine.reproduce.recipes import Recipe
from fsar_cli.engine.reproduce.tables import Row, Table
from fsar_cli.errors import FsarError
from fsar_cli.settings import resolve

LENGTH = 16  # hex digits of a digest in names
PASSING = {"workers", "frame_cache", "log_every", "checkpoint_every"}
"""Training settings that change nothing of what is learnt."""


@dataclass(frozen=True)
class Job:
    """A training run, or a method as it starts."""

    digest: str
    config: Config
    trained: bool
    """False: there is nothing to train, or not with frozen features."""
    ground: Ground
    """The first that needs it."""
    label: str
    """Of the first row that needs it."""

    def folder(self, out: Path) -> Path:
        """Its run folder."""
        return out / "runs" / self.digest

    def on(self, trial: "Trial", shots: tuple[int, ...]) -> Config:
        """Its configuration, tested on a ground."""
        settings = trial.settings.model_copy(update={"shots": shots})
        return self.config.model_copy(update={"data": trial.data, "eval": settings})


@dataclass(frozen=True)
class Trial:
    """The test episodes of a ground."""

    ground: Ground
    data: DataConfig
    settings: EvalConfig

    @cached_property
    def samplers(self) -> dict[int, EpisodeSampler]:
        """By number of shots. Raises DataError where they cannot be drawn."""
        return dict(zip(self.settings.shots, samplers(self.settings, self.ground.test.splits), strict=True))

    @cached_property
    def drawn(self) -> dict[int, Episodes]:
        """By number of shots."""
        return {shot: sampler.batch(0, self.settings.episodes) for shot, sampler in self.samplers.items()}

    @cached_property
    def digests(self) -> dict[int, str]:
        """Of the episodes, by number of shots."""
        found = {}
        for shot, sampler in self.samplers.items():
            digest = EpisodeDigest(sampler)
            digest.add(self.drawn[shot])
            found[shot] = digest.text()
        return found

    @cached_property
    def groups(self) -> list[str]:
        """Group of each test video."""
        return [video.group for video in self.ground.test.splits.videos(self.settings.split)]

    def key(self, shot: int) -> str:
        """Digest of what an evaluation depends on, beside the run."""
        plain = {"eval": self.settings.model_dump(exclude={"shots"}), "shot": shot, "episodes": self.digests[shot]}
        videos = self.ground.test.digest(self.settings.split)
        return _short(json.dumps([plain, videos], sort_keys=True))


@dataclass(frozen=True)
class Cell:
    """What one cell of the table needs: a row on a ground at a number of shots, once for each seed."""

    row: Row
    trial: Trial
    shot: int
    jobs: tuple[Job, ...]


@dataclass
class Plan:
    """A table to be made."""

    table: Table
    recipe: Recipe
    trials: list[Trial]
    rows: list[Row]
    cells: list[Cell] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Label of a row that cannot be had -> why."""
    refused: dict[tuple[str, str], FsarError] = field(default_factory=dict)
    """(label, ground) -> why its configuration is wrong."""
    notes: dict[str, str] = field(default_factory=dict)
    """Label -> what is different from the paper in this row."""

    @property
    def words(self) -> str:
        """What a reader must know of the recipe."""
        config = next((job.config for job in self.jobs if job.trained), None)
        if config is None:
            return "Nothing is trained."
        train, episode = config.train, config.episode
        return self.recipe.words.format(iterations=train.iterations, shot=episode.shot, views=train.views)

    @cached_property
    def jobs(self) -> list[Job]:
        """Each once, in the order of the rows."""
        return list({job.digest: job for cell in self.cells for job in cell.jobs}.values())

    def tests(self, job: Job) -> list[tuple[Trial, int]]:
        """What a job is tested on."""
        known = [(c.trial, c.shot) for c in self.cells if job.digest in [j.digest for j in c.jobs]]
        return list({(trial.ground.name, shot): (trial, shot) for trial, shot in known}.values())


def make_plan(
    table: Table, recipe: Recipe, grounds: list[Ground], seeds: int = 1, changes: Mapping[str, Any] | None = None
) -> Plan:
    """Plan a table.

    Args:
        changes: dotted keys laid over the recipe; rows are laid over these.

    Raises:
        UsageError, DataError: what concerns all rows.
    """
    changes = changes or {}
    trials = [_trial(table, recipe, ground, changes) for ground in grounds]
    plan = Plan(table, recipe, trials, [row for row in table.rows if row.method in METHODS])
    plan.skipped = {row.label: f"no method '{row.method}' here" for row in table.rows if row not in plan.rows}
    for trial in trials:
        for row in plan.rows:
            try:
                plan.cells += _cells(plan, row, trial, seeds, changes)
            except FsarError as error:
                plan.refused[row.label, trial.ground.name] = error
    return plan


def _trial(table: Table, recipe: Recipe, ground: Ground, changes: Mapping[str, Any]) -> Trial:
    over = ground.test.part("data.", "eval.")
    values = recipe.defaults | over | _possible(recipe, ground, over) | recipe.settings | dict(changes)
    found = resolve(base={k: v for k, v in values.items() if k.startswith(("data.", "eval."))}, environ={}).config
    shots = table.tested(tuple(dict.fromkeys(found.eval.shots)))
    return Trial(ground, found.data, found.eval.model_copy(update={"shots": shots}))


def _possible(recipe: Recipe, ground: Ground, given: Mapping[str, Any]) -> dict[str, int]:
    """Quick looks take as many ways as there are classes, unless the project says how many."""
    if recipe.faithful:
        return {}
    classes = {"eval.way": len(ground.test.splits.classes(given.get("eval.split", "test")))}
    classes["episode.way"] = len(ground.train.splits.classes("train"))
    known = {**ground.train.values, **given}
    return {key: min(5, count) for key, count in classes.items() if key not in known and count >= 2}


def _cells(plan: Plan, row: Row, trial: Trial, seeds: int, changes: Mapping[str, Any]) -> list[Cell]:
    found = []
    for shot in trial.settings.shots:
        base = _values(plan, row, trial, shot, changes)
        first = int(base.get("train.seed", 0))
        jobs = [_job(row, trial.ground, base | {"train.seed": first + i}) for i in range(seeds)]
        found.append(Cell(row, trial, shot, tuple({job.digest: job for job in jobs}.values())))
    return found


def _values(plan: Plan, row: Row, trial: Trial, shot: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    recipe, ground = plan.recipe, trial.ground
    values = dict(recipe.defaults) | dict(ground.train.values) | _possible(recipe, ground, {})
    values |= dict(recipe.settings) | dict(changes) | dict(row.settings)
    if recipe.regions and row.settings.get("model.region.enabled"):
        values |= recipe.regions
        plan.notes[row.label] = recipe.regions_words
    return values | {"episode.shot": recipe.train_shot or shot}


def _job(row: Row, ground: Ground, values: Mapping[str, Any]) -> Job:
    config = resolve(base=values, environ={}).config
    trained = has_something_to_train(config)
    if not trained:  # seeds and training data change nothing
        training = config.train.model_copy(update={"seed": 0})
        config = config.model_copy(update={"train": training})
    return Job(digest_of(config, ground, trained), config, trained, ground, row.label)


def has_something_to_train(config: Config) -> bool:
    """Whether any parameter can learn: with `train.views` none of the features' can."""
    return _learns(config.model.model_dump_json(), config.clip.model_dump_json(), config.train.views > 0)


@cache
def _learns(model: str, clip: str, frozen: bool) -> bool:
    values = {"model": json.loads(model), "clip": json.loads(clip)}
    values["model"]["classes"] = values["model"]["classes"] or 2
    method = build_method(validate(values), pretrained=False)
    named = method.named_parameters()
    return any(p.requires_grad and not (frozen and name.startswith("features.")) for name, p in named)


def digest_of(config: Config, ground: Ground, trained: bool) -> str:
    """Name of a run: what it depends on, see the module docstring."""
    sections = {"clip", "model"} | ({"episode", "optim", "train"} if trained else set())
    plain = config.model_dump(mode="json", include=sections)
    if trained:
        plain["train"] = {key: value for key, value in plain["train"].items() if key not in PASSING}
        plain["videos"] = ground.train.digest("train", "val")
    else:
        plain["train"] = {"seed": config.train.seed}
    for key in ("weights", "local_weights"):
        if plain["model"][key] and Path(plain["model"][key]).is_file():
            plain["model"][key] = file_digest(Path(plain["model"][key]))
    return _short(json.dumps(plain, sort_keys=True))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as long as in names."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:LENGTH]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def share(jobs: list[Job], rank: int, world: int) -> list[Job]:
    """All jobs, beginning with the rank's share: processes start far from one another and end by helping out."""
    start = rank * len(jobs) // max(world, 1)
    return jobs[start:] + jobs[:start]
