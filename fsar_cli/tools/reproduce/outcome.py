"""What a plan came to: accuracy of each cell, paired differences between rows, and whether the paper's order shows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fsar_cli.engine.results import ShotResult
from fsar_cli.engine.statistics.estimates import Difference, Estimate, Means
from fsar_cli.engine.statistics.jackknife import video_units
from fsar_cli.engine.statistics.paired import holm
from fsar_cli.errors import FsarError
from fsar_cli.tools.compare.comparison import Comparison, Side
from fsar_cli.tools.reproduce.jobs import Trial
from fsar_cli.tools.reproduce.plan import Cell, Plan
from fsar_cli.tools.reproduce.tables import Table, expected
from fsar_cli.tools.reproduce.work import Failure, Workshop

ROUNDING = 1e-9  # a mean of shares such as 1/3 that cancel is not quite zero


@dataclass(frozen=True)
class Step:
    """A difference beside the paper's direction of it."""

    difference: Difference
    expected: int | None
    """1: the paper has the first ahead, -1 the second, 0 neither; None: it does not tell."""
    paper: float | None
    """Points by which the first is ahead in the paper; None: no number for this data set."""

    @property
    def agrees(self) -> bool | None:
        """Whether the direction is the paper's; None where it gives none."""
        if self.expected in (None, 0):
            return None
        return self.difference.estimate.mean * self.expected > ROUNDING


@dataclass
class Column:
    """One data set at one number of shots."""

    trial: Trial
    shot: int
    scores: dict[str, Estimate] = field(default_factory=dict)
    """By label of the row."""
    results: dict[str, list[ShotResult]] = field(default_factory=dict)
    """By label, one for each seed."""
    failed: dict[str, Failure] = field(default_factory=dict)
    """Label -> why it has no score."""
    steps: list[Step] = field(default_factory=list)
    comparison: Comparison | None = None

    @property
    def best(self) -> str | None:
        """Label of the highest accuracy."""
        return max(self.scores, key=lambda label: self.scores[label].mean) if self.scores else None

    def published(self, table: Table, label: str) -> float | None:
        """The paper's number."""
        return table.row(label).published(self.trial.ground.paper, self.shot)


def gather(plan: Plan, shop: Workshop, failures: dict[str, Failure]) -> list[Column]:
    """The columns of a table whose jobs have been done.

    Args:
        failures: of jobs, by digest.
    """
    return [_column(plan, shop, failures, trial, shot) for trial in plan.trials for shot in trial.settings.shots]


def _column(plan: Plan, shop: Workshop, failures: dict[str, Failure], trial: Trial, shot: int) -> Column:
    column = Column(trial, shot)
    for (label, name), error in plan.refused.items():
        if name == trial.ground.name:
            column.failed[label] = Failure(error.message, error.exit_code)
    for cell in plan.cells:
        if cell.trial is trial and cell.shot == shot:
            _fill(column, cell, plan, shop, failures)
    if column.results:
        _compare(column, plan)
    return column


def _fill(column: Column, cell: Cell, plan: Plan, shop: Workshop, failures: dict[str, Failure]) -> None:
    broken = next((failures[job.digest] for job in cell.jobs if job.digest in failures), None)
    try:
        if broken is None:
            column.results[cell.row.label] = [shop.result(plan, job, cell.trial, cell.shot) for job in cell.jobs]
    except FsarError as error:
        broken = Failure(error.message, error.exit_code)
    if broken is not None:
        column.failed[cell.row.label] = broken


def _compare(column: Column, plan: Plan) -> None:
    trial, shot, labels = column.trial, column.shot, list(column.results)
    sampler = trial.samplers[shot]
    units = video_units(sampler.labels, trial.groups)
    right = [np.array([r.right.sum(1) for r in found]) for found in column.results.values()]
    trained = {cell.row.label: any(job.trained for job in cell.jobs) for cell in plan.cells}
    means = Means(right, sampler.way * sampler.queries, [trained[name] for name in labels], trial.drawn[shot],
                  sampler.labels, units)  # fmt: skip
    scores = means.scores()
    column.scores = dict(zip(labels, scores, strict=True))
    pairs = [(labels.index(a), labels.index(b)) for a, b in plan.table.pairs if a in labels and b in labels]
    differences = _adjusted(means.differences(pairs, labels, shot)) if pairs else []
    sides = [Side(name, (i,), trained[name]) for i, name in enumerate(labels)]
    column.comparison = Comparison(
        [], sides, trial.settings, units.name, len(trial.groups), sampler.classes, list(column.results.values()),
        {shot: scores}, differences,
    )  # fmt: skip
    column.steps = [_step(column, plan.table, difference) for difference in differences]


def _adjusted(differences: Sequence[Difference]) -> list[Difference]:
    adjusted = holm([difference.p for difference in differences])
    return [replace(d, p_holm=p, tests=len(differences)) for d, p in zip(differences, adjusted, strict=True)]


def _step(column: Column, table: Table, difference: Difference) -> Step:
    first, second = difference.first, difference.second
    one, other = column.published(table, first), column.published(table, second)
    paper = None if one is None or other is None else one - other
    direction = expected(table, first, second, column.trial.ground.paper, column.shot)
    return Step(difference, direction, paper)


def order_in_words(table: Table, column: Column) -> str:
    """Whether the paper's order of rows shows in a column."""
    steps = column.steps
    if table.steps:  # of the pairs only neighbours make the order
        labels = [row.label for row in table.rows if row.label in column.scores]
        neighbours = set(zip(labels[1:], labels, strict=False))
        steps = [s for s in steps if (s.difference.first, s.difference.second) in neighbours]
    told = [step for step in steps if step.agrees is not None]
    if not told:
        return "nothing to hold against the paper"
    alike = [step for step in told if step.agrees]
    sure = sum(step.difference.real for step in alike)
    order = " < ".join(row.label for row in table.rows if row.label in column.scores)
    if table.steps:
        verdict = "does not appear" if len(alike) < len(told) else "appears"
        verdict += " in the means alone" if verdict == "appears" and sure < len(told) else ""
        lead = f"the paper's order {order} {verdict}: {len(alike)} of {len(told)} steps go its way"
    else:
        first = told[0].difference.first
        lead = f"{len(alike)} of {len(told)} differences between {first} and others go the paper's way"
    text = f"{lead}, {sure or 'none'} of them real at these episodes"
    against = [step.difference for step in told if not step.agrees]
    if against:
        other = ", ".join(f"{_pair(d)} ({'real' if d.real else 'cannot be told from none'})" for d in against)
        text += f"; the other way: {other}"
    return text


def _pair(difference: Difference) -> str:
    return f"{difference.first} − {difference.second} {100 * difference.estimate.mean:+.2f}".replace("-", "−")
