"""The table of frozen backbones: accuracy beside cost, the cheapest backbone first; and what is best at what cost."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from fsar_cli.engine.whitening import whitened_by
from fsar_cli.errors import FsarError, counted
from fsar_cli.render.dots import Dot, dot_plot
from fsar_cli.render.figures import save_png
from fsar_cli.render.page import Block, Bullets, Grid, Heading, Illustration, Text
from fsar_cli.tools.reproduce.backbones import FEATURES, HEADS, WHITENED, BackboneRow
from fsar_cli.tools.reproduce.cost import Cost
from fsar_cli.tools.reproduce.outcome import Column
from fsar_cli.tools.reproduce.pages import Report, on, task
from fsar_cli.tools.reproduce.plan import Cell
from fsar_cli.tools.reproduce.repeat import NONE, how_to_repeat

LEGEND = (
    "Accuracy in %, ± 95 % interval of the episodes (of other videos: ci95_videos in CSV and JSON); bold: "
    "best of its column."
)
CHOSEN = (
    "Bold: ahead of every backbone that costs less. The best of several rows is chosen by the test episodes themselves,"
    " which flatters it."
)

PICTURED = "Accuracy of each row, the cheapest backbone at the top; bars: 95 % intervals."


@dataclass(frozen=True)
class Weighed:
    """A backbone of the table, with its rows."""

    name: str
    weights: str
    rows: tuple[BackboneRow, ...]
    cost: Cost | None
    failure: str
    """Why it cannot be had; empty: it can."""

    @property
    def cells(self) -> tuple[str, str]:
        """GMAC and clips a second as they are printed."""
        if self.cost is None:
            return NONE, NONE
        return _figures(self.cost.multiply_adds / 1e9), _figures(self.cost.clips_per_second)


class BackboneReport(Report):
    """Of `backbone_table`."""

    heading = "Frozen backbones: accuracy and cost"

    @cached_property
    def backbones(self) -> list[Weighed]:
        """The cheapest first; those that cannot be had last."""
        rows = groupby((row for row in self.plan.rows if isinstance(row, BackboneRow)), lambda row: row.subject)
        all_of_them = [self._weighed(tuple(some)) for _, some in rows]
        return sorted(all_of_them, key=lambda one: one.cost.multiply_adds if one.cost else float("inf"))

    def _weighed(self, rows: tuple[BackboneRow, ...]) -> Weighed:
        labels, name = {row.label for row in rows}, rows[0].settings["model.backbone"]
        run = next((cell.runs[0] for cell in self.plan.cells if cell.row.label in labels), None)
        if run is None:
            refusals = [error.message for (label, _), error in self.plan.refused.items() if label in labels]
            return Weighed(name, NONE, rows, None, refusals[0])
        cost = self.made.costs.get(run.encoder) or self.made.failures[run.digest]
        word = Path(run.config.model.weights).name
        if isinstance(cost, FsarError):
            return Weighed(name, word, rows, None, cost.message)
        return Weighed(name, word, rows, cost, "")

    def blocks(self) -> list[Block]:
        plan = self.plan
        blocks: list[Block] = [Text(plan.words, notice=not plan.recipe.faithful)]
        if self._had:
            blocks += [Heading("What is best at what cost"), self.best(), Text(CHOSEN)]
            blocks.append(Illustration(f"{self.name}.png", PICTURED))
        blocks += [Heading("All rows, the cheapest backbone first"), self.grid(), Text(LEGEND)]
        blocks += [Bullets(list(self.remarks()))]
        return [*blocks, Heading("To repeat each cell"), *how_to_repeat(plan, self.place)]

    @property
    def _had(self) -> list[Weighed]:
        return [one for one in self.backbones if one.cost]

    def grid(self) -> Grid:
        rows, bold = [], set()
        for one in self.backbones:
            if one.failure:
                rows.append([one.name, one.weights, "failed", one.failure, *[NONE] * (len(self.columns) + 2)])
            for i, row in enumerate(self._shown(one)):
                bold |= {(len(rows), c + 4) for c, column in enumerate(self.columns) if column.best == row.label}
                named, cost = ((one.name, one.weights), one.cells) if i == 0 else (("", ""), ("", ""))
                cells = [self.accuracy(row, column) for column in self.columns]
                rows.append([*named, row.head, row.features, *cells, *cost])
        groups = [("", 4), *self._groups(), ("", 2)]
        names = ["backbone", "weights", "method", "features", *map(task, self.columns), "GMAC", "clips/s"]
        return Grid(names, rows, groups, frozenset(bold), left=4)

    def _groups(self) -> list[tuple[str, int]]:
        return [(ground.title, len(ground.settings.shots)) for ground in self.plan.grounds]

    def _shown(self, one: Weighed) -> list[BackboneRow]:
        """Its rows that some data set has."""
        labels = {cell.row.label for cell in self.plan.cells}
        return [] if one.failure else [row for row in one.rows if row.label in labels]

    def best(self) -> Grid:
        """The best row of each backbone in each column."""
        rows, bold = [], set()
        for one in self._had:
            ahead = [self._ahead(one, column) for column in self.columns]
            bold |= {(len(rows), c + 4) for c, first in enumerate(ahead) if first}
            chosen = [(self._best(one, column), column) for column in self.columns]
            cells = [f"{self.accuracy(r, c)} ({r.method}, {r.features})" if r else NONE for r, c in chosen]
            rows.append([one.name, one.weights, *one.cells, *cells])
        names = ["backbone", "weights", "GMAC", "clips/s", *map(task, self.columns)]
        return Grid(names, rows, [("", 4), *self._groups()], frozenset(bold), left=2)

    def _best(self, one: Weighed, column: Column) -> BackboneRow | None:
        tested = [row for row in one.rows if row.label in column.scores]
        return max(tested, key=lambda row: column.scores[row.label].mean, default=None)

    def _ahead(self, one: Weighed, column: Column) -> BackboneRow | None:
        """Its best row, where that is better than those of all that cost less."""
        cheaper = [other for other in self._had if other.cost.multiply_adds < one.cost.multiply_adds]
        before = [column.scores[row.label].mean for row in (self._best(o, column) for o in cheaper) if row]
        mine = self._best(one, column)
        return mine if mine and column.scores[mine.label].mean > max(before, default=-1.0) else None

    def lines(self) -> list[str]:
        return [self._in_words(column) for column in self.columns]

    def _in_words(self, column: Column) -> str:
        steps = [
            f"{self.accuracy(row, column)} {one.name} {row.method}, {row.features} ({one.cells[0]} GMAC)"
            for one in self._had
            if (row := self._ahead(one, column))
        ]
        return f"{on(column)}, the best for its cost, the cheapest first: {'; '.join(steps) or NONE}"

    def write(self) -> list[Path]:
        """As of all tables, and NAME.png where a backbone could be had."""
        return [*super().write(), *([self._draw()] if self._had else [])]

    def _draw(self) -> Path:
        bands = [f"{one.name}, {one.cells[0]} GMAC" for one in self._had]
        panels = {
            f"{on(column)}, accuracy in % (dashed: chance)": (1 / column.ground.settings.way, list(self._dots(column)))
            for column in self.columns
        }
        path = self.place.out / f"{self.name}.png"
        save_png(dot_plot(self.title, bands, list(HEADS), list(FEATURES), panels), path)
        return path

    def _dots(self, column: Column) -> Iterator[Dot]:
        for band, one in enumerate(self._had):
            for row in one.rows:
                if (score := column.scores.get(row.label)) is not None:
                    shape, colour = list(HEADS).index(row.method), list(FEATURES).index(row.features)
                    yield Dot(band, shape, colour, score.mean, score.episodes)

    def remarks(self) -> Iterator[str]:
        for ground in self.plan.grounds:
            yield f"{ground.title}: {ground.settings.episodes:,} {ground.settings.way}-way episodes for each number."
        yield from super().remarks()
        yield from self._scenes()
        for device, precision in dict.fromkeys((one.cost.device, one.cost.precision) for one in self._had):
            yield f"Clips/s: {device}, {precision}."
        yield from self.failures()

    def failures(self, told: Collection[str] = ()) -> Iterator[str]:
        """But for backbones that cannot be had, which the table has as rows."""
        lost = {row.label for one in self.backbones if one.failure for row in one.rows}
        yield from super().failures({*told, *lost})

    def _scenes(self) -> Iterator[str]:
        """What the whitening shares with the test, for each data set."""
        for cell in {c.ground.name: c for c in self.plan.cells if c.row.features == WHITENED}.values():
            splits = cell.ground.test.splits
            tested = splits.videos(cell.ground.settings.split)
            by = whitened_by(cell.runs[0].config, splits.videos("train"), tested)
            known = "which may show the test's scenes: the split file has no groups"
            if by.test_groups:
                groups = f"{by.shared} of the {counted(by.test_groups, 'group')} of the test videos"
                known = f"which show {groups}: what rows by other groups lack comes from there"
            yield f"{cell.ground.title}: whitened by {counted(by.clips, 'clip')}, {known}."

    def document(self) -> dict[str, object]:
        return {**super().document(), "backbones": [_plain(one) for one in self.backbones], "best": self.lines()}

    def cell(self, cell: Cell) -> dict[str, object]:
        row, model, cost = cell.row, cell.runs[0].config.model, self.made.costs.get(cell.runs[0].encoder)
        own = {"backbone": model.backbone, "backbone_weights": model.weights, "features": row.features}
        known = cost if isinstance(cost, Cost) else None
        return {
            **own, **super().cell(cell), "gmac": known and known.multiply_adds / 1e9,
            "clips_per_second": known and known.clips_per_second,
        }  # fmt: skip


def _plain(one: Weighed) -> dict[str, object]:
    cost = asdict(one.cost) if one.cost else {}
    return {"backbone": one.name, "weights": one.weights, **cost, "failed": one.failure or None}


def _figures(number: float) -> str:
    """Three significant digits."""
    return f"{number:.3g}" if number < 100 else f"{number:,.0f}"
