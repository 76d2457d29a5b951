"""What the pages of all tables share: files, cells as plain values, what failed, what a reader must know."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fsar_cli.engine.pretraining import MARK
from fsar_cli.engine.statistics.words import plus_minus, points
from fsar_cli.files import write_rows, write_whole
from fsar_cli.render.page import Block, Grid, as_html, as_markdown
from fsar_cli.tools.reproduce.ground import source_of
from fsar_cli.tools.reproduce.outcome import Column
from fsar_cli.tools.reproduce.plan import Cell, TablePlan
from fsar_cli.tools.reproduce.repeat import NONE, commands_of
from fsar_cli.tools.reproduce.tables import PaperRow
from fsar_cli.tools.reproduce.work import Reproduction, RunResults


@dataclass
class Report:
    """All there is to say of a table that was made."""

    plan: TablePlan
    columns: list[Column]
    place: Reproduction
    made: RunResults

    hidden: ClassVar[tuple[int, ...]] = ()
    """Columns of the grid that a terminal has no room for."""

    @property
    def name(self) -> str:
        """Of its files: table2-demo-quick."""
        return next(iter(self.plan.documents))

    @property
    def heading(self) -> str:
        """What it is, without the quick look."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """As it is headed."""
        return self.heading + ("" if self.plan.recipe.faithful else " (quick look)")

    @property
    def exit_code(self) -> int:
        """0, or that of what failed: a bug's 1 before others."""
        codes = [failure.exit_code for column in self.columns for failure in column.failed.values()]
        return min(codes, default=0)

    def blocks(self) -> list[Block]:
        """The page."""
        raise NotImplementedError

    def grid(self) -> Grid:
        """The table."""
        raise NotImplementedError

    def lines(self) -> list[str]:
        """What is said below it in a terminal."""
        raise NotImplementedError

    def failures(self, told: Collection[str] = ()) -> Iterator[str]:
        """What failed, and why, but for the labels that are `told` already."""
        for column in self.columns:
            for label, failure in column.failed.items():
                if label not in told:
                    yield f"{label} on {on(column)} failed: {failure.message}"

    def remarks(self) -> Iterator[str]:
        """What a reader must know of rows and weights."""
        for label, why in self.plan.skipped.items():
            yield f"{label}: left out, {why}."
        for name, novelty in self.plan.novelties.items():
            if novelty.words:
                yield f"{name}: some classes are {novelty.words}."
        yield from self.plan.seen_before()
        for label, why in self.plan.notes.items():
            yield f"{label}: {why}."

    def accuracy(self, row: PaperRow, column: Column) -> str:
        """A cell."""
        if row.label in column.failed:
            return "failed"
        if row.label not in column.scores:
            return NONE
        estimate = column.scores[row.label]
        seeds = "" if estimate.training is None else f" (seeds {plus_minus(estimate.training)})"
        seen = f" {MARK}" if self.plan.pretrainings[column.ground.name][row.label].seen else ""
        return f"{points(estimate.mean)} {plus_minus(estimate.episodes)}{seeds}{seen}"

    def document(self) -> dict[str, object]:
        """Everything as plain values for JSON; shares of 1, half widths of 95 % intervals."""
        plan = self.plan
        return {
            "table": plan.table.name, "title": self.title, "recipe": plan.recipe.name,
            "faithful": plan.recipe.faithful, "words": plan.words, **source_of(plan.grounds),
            "grounds": [
                {"name": g.name, "trained_on": g.train.name, "way": g.settings.way, "episodes": g.settings.episodes,
                 "seed": g.settings.seed, "group_disjoint": g.settings.group_disjoint,
                 "overlap": plan.novelties[g.name].document()["overlap"],
                 "split_digest": g.test.splits.digest, "train_split_digest": g.train.splits.digest,
                 "episode_digests": {shot: some.digest for shot, some in g.lists.items()}}
                for g in plan.grounds
            ],
            "skipped": plan.skipped, "notes": plan.notes,
            "cells": [self.cell(one) for one in plan.cells],
        }  # fmt: skip

    def cell(self, cell: Cell) -> dict[str, object]:
        """A row on a data set at a number of shots, as plain values."""
        column = next(c for c in self.columns if c.ground is cell.ground and c.shot == cell.shot)
        label, score = cell.row.label, column.scores.get(cell.row.label)
        failure, before = column.failed.get(label), self.plan.pretrainings[cell.ground.name][label]
        return {
            "row": label, "method": cell.row.method, "dataset": cell.ground.name, "shot": cell.shot,
            "way": cell.ground.settings.way, "episodes": cell.ground.settings.episodes,
            "accuracy": score and score.mean, "ci95_episodes": score and score.episodes,
            "ci95_videos": score and score.videos, "ci95_training": score and score.training,
            "trained": cell.runs[0].trained,
            "runs": [str(run.folder(self.place.out)) for run in cell.runs],
            "weights": [self.place.weights(run) for run in cell.runs],
            "episode_digest": cell.ground.lists[cell.shot].digest,
            "split_digest": cell.ground.test.splits.digest,
            "pretraining": before.source or None, "pretraining_known": before.known,
            "classes_seen": list(before.seen),
            "commands": [
                command for run in cell.runs
                for command in commands_of(run, self.place.out, cell.ground, [cell.shot])
            ],
            "failed": failure and failure.message,
        }  # fmt: skip

    def write(self) -> list[Path]:
        """Write NAME.md, NAME.csv, NAME.html and NAME.json into the folder; returns them."""
        folder, blocks, document = self.place.out, self.blocks(), self.document()
        texts = {
            "md": as_markdown(self.title, blocks),
            "html": as_html(self.title, blocks),
            "json": json.dumps({"schema": 1, **document}, indent=2, allow_nan=False) + "\n",
        }
        for ending, text in texts.items():
            write_whole(folder / f"{self.name}.{ending}", text)
        cells = document["cells"]
        table = folder / f"{self.name}.csv"
        write_rows(table, cells[0] if cells else ["row"], [[_flat(value) for value in c.values()] for c in cells])
        return [folder / f"{self.name}.{ending}" for ending in ("md", "csv", "html", "json")]


def task(column: Column) -> str:
    """A column's name below that of its data set."""
    return f"{column.shot}-shot"


def on(column: Column) -> str:
    """Its name alone."""
    return f"{column.ground.title} {task(column)}"


def _flat(value: object) -> object:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "" if value is None else value
