"""A finished table beside the paper's: Markdown, CSV, HTML and JSON, with what it takes to repeat each cell."""

import math
from collections.abc import Iterator

from fsar_cli.engine.statistics.words import p_value, plus_minus, signed
from fsar_cli.render.page import Block, Bullets, Grid, Heading, Text
from fsar_cli.tools.compare.words import notes, sentence, verdict
from fsar_cli.tools.reproduce.outcome import Column, order_in_words
from fsar_cli.tools.reproduce.pages import Report, on, task
from fsar_cli.tools.reproduce.plan import Cell
from fsar_cli.tools.reproduce.repeat import NONE, how_to_repeat
from fsar_cli.tools.reproduce.tables import PAPER_SETS, PAPER_SHOTS


class TableReport(Report):
    """A table of the paper."""

    hidden = (1,)  # sources are in the files

    @property
    def heading(self) -> str:
        return f"Table {self.plan.table.name.removeprefix('table')}: {self.plan.table.title}"

    def blocks(self) -> list[Block]:
        plan = self.plan
        blocks: list[Block] = [Text(plan.words, notice=not plan.recipe.faithful), self.grid()]
        own = " *: what that method's own paper reports, for reference." if any(r.own for r in plan.table.rows) else ""
        legend = f"Accuracy in %, ± 95 % interval of the episodes{self._seeds()}; bold: best of its column.{own}"
        blocks.append(Text(legend))
        if remarks := list(self.remarks()):
            blocks.append(Bullets(remarks))
        blocks += [Heading("Does the paper's order appear?"), Bullets(list(self.order().values()))]
        blocks += [Heading("Paired differences on the same episodes"), self._differences()]
        blocks.append(Bullets([f"{c.ground.title} {text}" for c in self.columns for text in _sentences(c)]))
        if said := list(self._notes()):
            blocks.append(Bullets(said))
        blocks += [Heading("To repeat each cell"), *how_to_repeat(self.plan, self.place)]
        return blocks

    def _seeds(self) -> str:
        most = max((len(cell.runs) for cell in self.plan.cells), default=1)
        return f" (and of {most} training seeds: seeds ±)" if most > 1 else ""

    def _notes(self) -> Iterator[str]:
        """What the intervals mean, once for each data set."""
        for ground in self.plan.grounds:
            column = next((c for c in self.columns if c.ground is ground and c.comparison is not None), None)
            if column is not None:
                # Advice to `compare` has no place here.
                kept = [note for note in notes(column.comparison) if "--group" not in note]
                yield from (f"{ground.title}: {note}" for note in kept)

    def grid(self) -> Grid:
        """In the paper's form."""
        table = self.plan.table
        paper = [(name, shot) for name in PAPER_SETS for shot in PAPER_SHOTS if shot in table.shots]
        rows, bold = [], set()
        for row in table.rows:
            if any(value is not None for pair in row.own.values() for value in pair):
                cells = [_published(row.own.get(name), shot) for name, shot in paper]
                rows.append([f"{row.label}*", row.source, *[""] * len(self.columns), *cells])
            if row.label in self.plan.skipped and not row.paper:
                continue
            for c, column in enumerate(self.columns):
                if column.best == row.label:
                    bold.add((len(rows), c + 2))
            cells = [_published(row.paper.get(name), shot) for name, shot in paper]
            rows.append([row.label, row.source, *[self.accuracy(row, column) for column in self.columns], *cells])
        here = [(f"here: {ground.title}", len(ground.settings.shots)) for ground in self.plan.grounds]
        groups = [("", 2), *here, *[(f"paper: {title}", len(table.shots)) for title in PAPER_SETS.values()]]
        names = ["row", "source", *[task(c) for c in self.columns], *[f"{shot}-shot" for _, shot in paper]]
        return Grid(names, rows, groups, frozenset(bold), left=2)

    def remarks(self) -> Iterator[str]:
        yield from super().remarks()
        idle = dict.fromkeys(c.row.label for c in self.plan.cells if not any(run.trained for run in c.runs))
        if idle:
            yield f"Not trained, as they have nothing that could be trained here: {', '.join(idle)}."
        yield from self.failures()

    def lines(self) -> list[str]:
        return list(self.order().values())

    def order(self) -> dict[str, str]:
        """Column -> whether the paper's order shows in it."""
        return {on(c): f"{on(c)}: {order_in_words(self.plan.table, c)}." for c in self.columns}

    def _differences(self) -> Grid:
        rows = [
            [
                on(column), f"{d.first} − {d.second}", signed(d.estimate.mean), plus_minus(d.estimate.episodes),
                plus_minus(d.estimate.videos), *([plus_minus(d.estimate.training)] if self._seeds() else []),
                p_value(d.p_holm), verdict(d), _towards(step.expected, step.paper),
            ]
            for column in self.columns
            for step in column.steps
            for d in [step.difference]
        ]  # fmt: skip
        seeds = ["± training"] if self._seeds() else []
        names = ["task", "difference", "points", "± episodes", "± videos", *seeds, "p (Holm)", "verdict", "paper"]
        return Grid(names, rows, left=2)

    def document(self) -> dict[str, object]:
        """As of all tables; the paper's numbers in %."""
        return {
            **super().document(),
            "differences": [
                {"dataset": c.ground.name, "shot": c.shot, "first": s.difference.first,
                 "second": s.difference.second, "mean": s.difference.estimate.mean,
                 "ci95_episodes": s.difference.estimate.episodes, "ci95_videos": s.difference.estimate.videos,
                 "ci95_training": s.difference.estimate.training, "p_holm": s.difference.p_holm,
                 "real": s.difference.real, "paper": s.paper, "expected": s.expected, "agrees": s.agrees,
                 "words": sentence(s.difference, c.comparison)}
                for c in self.columns for s in c.steps
            ],
            "order": self.order(),
        }  # fmt: skip

    def cell(self, cell: Cell) -> dict[str, object]:
        return {**super().cell(cell), "paper": cell.row.published(cell.ground.paper, cell.shot)}


def _sentences(column: Column) -> Iterator[str]:
    for step in column.steps:
        yield sentence(step.difference, column.comparison)


def _published(pair: tuple[float | None, float | None] | None, shot: int) -> str:
    value = None if pair is None else pair[PAPER_SHOTS.index(shot)]
    return NONE if value is None else f"{value:.1f}"


def _towards(expected: int | None, paper: float | None) -> str:
    if paper is not None:
        return f"{paper:+.1f}".replace("-", "−") if not math.isclose(paper, 0, abs_tol=0.05) else "0.0"
    return NONE if expected is None else {1: "ahead", -1: "behind", 0: "equal"}[expected]
