"""All that a table takes: which runs its cells need (`planned`), and the episodes they are tested on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fsar_cli.core.methods import METHODS
from fsar_cli.engine.dataset import DataSet
from fsar_cli.engine.pretraining import Pretraining, pretraining_of, remarks
from fsar_cli.engine.trained_on import Novelty
from fsar_cli.errors import FsarError
from fsar_cli.settings import resolve
from fsar_cli.tools.reproduce.backbones import BackboneRow, missing
from fsar_cli.tools.reproduce.ground import Ground
from fsar_cli.tools.reproduce.planned import PlannedRun, plan_run
from fsar_cli.tools.reproduce.recipes import Recipe
from fsar_cli.tools.reproduce.tables import FIGURES, PaperRow, PaperTable


@dataclass(frozen=True)
class Cell:
    """What one cell of the table needs: a row on a ground at a number of shots, once for each seed."""

    row: PaperRow
    ground: Ground
    shot: int
    runs: tuple[PlannedRun, ...]


@dataclass
class TablePlan:
    """A table to be made."""

    table: PaperTable
    recipe: Recipe
    grounds: list[Ground]
    rows: list[PaperRow]
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
        config = next((run.config for run in self.runs if run.trained), None)
        if config is None:
            return self.table.words if self.recipe.faithful else f"{self.recipe.words} {self.table.words}"
        train, episode = config.train, config.episode
        return self.recipe.words.format(iterations=train.iterations, shot=episode.shot, views=train.views)

    @cached_property
    def runs(self) -> list[PlannedRun]:
        """Each once, in the order of the rows."""
        found: dict[str, PlannedRun] = {}
        for cell in self.cells:
            for run in cell.runs:
                found.setdefault(run.digest, run)
        return list(found.values())

    @property
    def documents(self) -> dict[str, list[Ground]]:
        """Name of each page of results, such as table2-demo-quick, and what it is about; a figure has one a ground."""
        parts = [[ground] for ground in self.grounds] if self.table.name in FIGURES else [self.grounds]
        quick = "" if self.recipe.faithful else "-quick"
        return {f"{self.table.name}-{'+'.join(g.name for g in part)}{quick}": part for part in parts}

    @cached_property
    def novelties(self) -> dict[str, Novelty]:
        """Ground -> how its test classes stand to those that are trained on."""
        trained = [run.config for run in self.runs if run.trained]
        return {ground.name: ground.novelty(trained) for ground in self.grounds}

    @cached_property
    def pretrainings(self) -> dict[str, dict[str, Pretraining]]:
        """Ground -> label -> how the test classes stand to what the row's weights had seen before any training."""
        found: dict[str, dict[str, Pretraining]] = {ground.name: {} for ground in self.grounds}
        known: dict[tuple, Pretraining] = {}  # files of weights are read to know it
        for cell in self.cells:
            key = (cell.ground.name, *[(run.encoder, run.config.model.selects_regions) for run in cell.runs])
            if key not in known:
                classes = cell.ground.test.splits.classes(cell.ground.settings.split)
                known[key] = pretraining_of([run.config.model for run in cell.runs], classes)
            found[cell.ground.name].setdefault(cell.row.label, known[key])
        return found

    def seen_before(self) -> list[str]:
        """What a reader must know of that, a line for each ground and kind of weights."""
        subjects = {cell.row.label: cell.row.subject for cell in self.cells}
        named = {g.title: {subjects[label]: one.words for label, one in self.pretrainings[g.name].items()}
                 for g in self.grounds}  # fmt: skip
        return [f"{title}: {words}" for title, some in named.items() for words in remarks(some.items())]

    def refusals(self) -> list[tuple[str, str]]:
        """(what, why) of the configurations that are wrong, alike ones once."""
        subjects = {row.label: row.subject for row in self.rows}
        return list(dict.fromkeys((subjects[label], error.message) for (label, _), error in self.refused.items()))

    def shots(self, run: PlannedRun, ground: Ground) -> list[int]:
        """The numbers of shots at which a run is tested on a ground."""
        mine = [c.shot for c in self.cells if c.ground is ground and run.digest in [r.digest for r in c.runs]]
        return list(dict.fromkeys(mine))

    def labels(self, run: PlannedRun) -> list[str]:
        """The rows that need a run."""
        return list(dict.fromkeys(c.row.label for c in self.cells if run.digest in [r.digest for r in c.runs]))


def make_plan(
    table: PaperTable,
    recipe: Recipe,
    data: list[tuple[DataSet, DataSet]],
    seeds: int = 1,
    changes: Mapping[str, Any] | None = None,
) -> TablePlan:
    """Plan a table.

    Args:
        data: to train on and to test on, a pair for each ground.
        changes: dotted keys laid over the recipe; rows are laid over these.

    Raises:
        UsageError, DataError: what concerns all rows.
    """
    changes = changes or {}
    grounds = [_ground(table, recipe, *pair, changes) for pair in data]
    plan = TablePlan(table, recipe, grounds, [row for row in table.rows if row.method in METHODS])
    plan.skipped = {row.label: f"no method '{row.method}' here" for row in table.rows if row not in plan.rows}
    for ground in grounds:
        lacking = missing(ground.test.splits, ground.settings.split) if table.frozen else {}
        plan.skipped |= {f"{ground.title}, {features}": why for features, why in lacking.items()}
        for row in plan.rows:
            if isinstance(row, BackboneRow) and row.features in lacking:
                continue
            try:
                plan.cells += _cells(plan, row, ground, seeds, changes)
            except FsarError as error:
                plan.refused[row.label, ground.name] = error
    return plan


def _ground(table: PaperTable, recipe: Recipe, train: DataSet, test: DataSet, changes: Mapping[str, Any]) -> Ground:
    over = test.part("data.", "eval.")
    values = recipe.defaults | over | _possible(recipe, train, test, over) | recipe.settings | dict(changes)
    config = resolve(base={k: v for k, v in values.items() if k.startswith(("data.", "eval."))}, environ={}).config
    shots = table.tested(tuple(dict.fromkeys(config.eval.shots)))
    return Ground(train, test, config.data, config.eval.model_copy(update={"shots": shots}))


def _possible(recipe: Recipe, train: DataSet, test: DataSet, given: Mapping[str, Any]) -> dict[str, int]:
    """Quick looks take as many ways as there are classes, unless the project says how many."""
    if recipe.faithful:
        return {}
    classes = {"eval.way": len(test.splits.classes(given.get("eval.split", "test")))}
    classes["episode.way"] = len(train.splits.classes("train"))
    known = {**train.values, **given}
    return {key: min(5, count) for key, count in classes.items() if key not in known and count >= 2}


def _cells(plan: TablePlan, row: PaperRow, ground: Ground, seeds: int, changes: Mapping[str, Any]) -> list[Cell]:
    cells = []
    for shot in ground.settings.shots:
        base = _values(plan, row, ground, shot, changes)
        first = int(base.get("train.seed", 0))
        runs = [plan_run(row, ground, base | {"train.seed": first + i}, plan.table.frozen) for i in range(seeds)]
        cells.append(Cell(row, ground, shot, tuple({run.digest: run for run in runs}.values())))
    return cells


def _values(plan: TablePlan, row: PaperRow, ground: Ground, shot: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(row, BackboneRow):
        return {**ground.test.part("train.", "eval."), **row.clips(ground.test), **changes, **row.settings}
    recipe, train = plan.recipe, ground.train
    values = dict(recipe.defaults) | dict(train.values) | _possible(recipe, train, ground.test, {})
    values |= dict(recipe.settings) | dict(changes) | dict(row.settings)
    if recipe.regions and row.settings.get("model.region.enabled"):
        values |= recipe.regions
        plan.notes[row.label] = recipe.regions_words
    return values | {"episode.shot": recipe.train_shot or shot}
