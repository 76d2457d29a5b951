"""What a plan came to: accuracy of each cell, paired differences between rows, and whether the paper's order shows."""

from dataclasses import dataclass, field

from fsar_cli.engine.results import ShotResult
from fsar_cli.engine.statistics.estimates import Estimate, PairedDifference
from fsar_cli.errors import FsarError
from fsar_cli.tools.compare.comparison import MethodComparison, ModelGroup, compared
from fsar_cli.tools.reproduce.ground import Ground
from fsar_cli.tools.reproduce.plan import TablePlan
from fsar_cli.tools.reproduce.tables import PaperTable, expected
from fsar_cli.tools.reproduce.work import RunResults

ROUNDING = 1e-9  # a mean of shares such as 1/3 that cancel is not quite zero


@dataclass(frozen=True)
class Step:
    """A difference beside the paper's direction of it."""

    difference: PairedDifference
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

    ground: Ground
    shot: int
    results: dict[str, list[ShotResult]] = field(default_factory=dict)
    """By label of the row, one for each seed."""
    failed: dict[str, FsarError] = field(default_factory=dict)
    """Label -> why it has no score."""
    steps: list[Step] = field(default_factory=list)
    comparison: MethodComparison | None = None

    @property
    def scores(self) -> dict[str, Estimate]:
        """By label."""
        return dict(zip(self.results, self.comparison.scores[self.shot], strict=True)) if self.comparison else {}

    @property
    def best(self) -> str | None:
        """Label of the highest accuracy."""
        return max(self.scores, key=lambda label: self.scores[label].mean) if self.scores else None

    def published(self, table: PaperTable, label: str) -> float | None:
        """The paper's number."""
        return table.row(label).published(self.ground.paper, self.shot)


def gather(plan: TablePlan, made: RunResults) -> list[Column]:
    """The columns of a table whose runs have been made."""
    return [_column(plan, made, ground, shot) for ground in plan.grounds for shot in ground.settings.shots]


def _column(plan: TablePlan, made: RunResults, ground: Ground, shot: int) -> Column:
    column, groups, results = Column(ground, shot), [], []
    column.failed = {label: error for (label, name), error in plan.refused.items() if name == ground.name}
    for cell in plan.cells:
        if cell.ground is not ground or cell.shot != shot:
            continue
        label, broken = cell.row.label, [made.failures[r.digest] for r in cell.runs if r.digest in made.failures]
        if broken:
            column.failed[label] = broken[0]
            continue
        column.results[label] = [made.results[run.digest, ground.name, shot] for run in cell.runs]
        members = tuple(range(len(results), len(results) + len(cell.runs)))
        groups.append(ModelGroup(label, members, any(run.trained for run in cell.runs)))
        results += [[result] for result in column.results[label]]
    if groups:
        labels = list(column.results)
        pairs = [(labels.index(a), labels.index(b)) for a, b in plan.table.pairs if a in labels and b in labels]
        column.comparison = compared(groups, results, [ground.lists[shot]], ground.settings, ground.groups, pairs)
        column.steps = [_step(column, plan.table, difference) for difference in column.comparison.differences]
    return column


def _step(column: Column, table: PaperTable, difference: PairedDifference) -> Step:
    first, second = difference.first, difference.second
    one, other = column.published(table, first), column.published(table, second)
    paper = None if one is None or other is None else one - other
    direction = expected(table, first, second, column.ground.paper, column.shot)
    return Step(difference, direction, paper)


def order_in_words(table: PaperTable, column: Column) -> str:
    """Whether the paper's order of rows shows in a column."""
    steps = column.steps
    if table.steps:  # of the pairs only neighbours make the order
        labels = [row.label for row in table.rows if row.label in column.results]
        neighbours = set(zip(labels[1:], labels, strict=False))
        steps = [s for s in steps if (s.difference.first, s.difference.second) in neighbours]
    told = [step for step in steps if step.agrees is not None]
    if not told:
        return "nothing to hold against the paper"
    alike = [step for step in told if step.agrees]
    sure = sum(step.difference.real for step in alike)
    order = " < ".join(row.label for row in table.rows if row.label in column.results)
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


def _pair(difference: PairedDifference) -> str:
    return f"{difference.first} − {difference.second} {100 * difference.estimate.mean:+.2f}".replace("-", "−")
