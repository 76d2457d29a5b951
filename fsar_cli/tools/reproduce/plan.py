"""All that a table takes: its rows as configurations, and which jobs and trials each of its cells needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fsar_cli.core.methods import METHODS
from fsar_cli.errors import FsarError
from fsar_cli.settings import resolve
from fsar_cli.tools.reproduce.grounds import Ground
from fsar_cli.tools.reproduce.jobs import Job, Trial, make_job
from fsar_cli.tools.reproduce.recipes import Recipe
from fsar_cli.tools.reproduce.tables import Row, Table


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
        jobs = [make_job(row, trial.ground, base | {"train.seed": first + i}) for i in range(seeds)]
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
