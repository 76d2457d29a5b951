"""A finished table beside the paper's: Markdown, CSV, HTML and JSON, with what it takes to repeat each cell."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fsar_cli.engine.pretraining import MARK
from fsar_cli.engine.statistics.words import p_value, plus_minus, points, signed
from fsar_cli.files import write_rows, write_whole
from fsar_cli.render.page import Block, Bullets, Grid, Heading, Text, as_html, as_markdown
from fsar_cli.tools.compare.words import notes, sentence, verdict
from fsar_cli.tools.reproduce.ground import source_of
from fsar_cli.tools.reproduce.outcome import Column, order_in_words
from fsar_cli.tools.reproduce.plan import TablePlan
from fsar_cli.tools.reproduce.repeat import NONE, commands_of, how_to_repeat
from fsar_cli.tools.reproduce.tables import PAPER_SETS, PAPER_SHOTS, PaperRow
from fsar_cli.tools.reproduce.work import Reproduction


@dataclass
class TableReport:
    """All there is to say of a reproduced table."""

    plan: TablePlan
    columns: list[Column]
    place: Reproduction

    @property
    def name(self) -> str:
        """Of its files: table2-demo-quick."""
        return next(iter(self.plan.documents))

    @property
    def title(self) -> str:
        """As it is headed."""
        number = self.plan.table.name.removeprefix("table")
        quick = "" if self.plan.recipe.faithful else " (quick look)"
        return f"Table {number}: {self.plan.table.title}{quick}"

    @property
    def exit_code(self) -> int:
        """0, or that of what failed: a bug's 1 before others."""
        codes = [failure.exit_code for column in self.columns for failure in column.failed.values()]
        return min(codes, default=0)

    def blocks(self) -> list[Block]:
        """The page."""
        plan = self.plan
        blocks: list[Block] = [Text(plan.words, notice=not plan.recipe.faithful), self.grid()]
        own = " *: what that method's own paper reports, for reference." if any(r.own for r in plan.table.rows) else ""
        legend = f"Accuracy in %, ± 95 % interval of the episodes{self._seeds()}; bold: best of its column.{own}"
        blocks.append(Text(legend))
        if remarks := list(self._remarks()):
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
        """The table in the paper's form."""
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
            rows.append([row.label, row.source, *[self._cell(row, column) for column in self.columns], *cells])
        here = [(f"here: {ground.title}", len(ground.settings.shots)) for ground in self.plan.grounds]
        groups = [("", 2), *here, *[(f"paper: {title}", len(table.shots)) for title in PAPER_SETS.values()]]
        names = ["row", "source", *[_task(c) for c in self.columns], *[f"{shot}-shot" for _, shot in paper]]
        return Grid(names, rows, groups, frozenset(bold), left=2)

    def _cell(self, row: PaperRow, column: Column) -> str:
        if row.label in column.failed:
            return "failed"
        if row.label not in column.scores:
            return NONE
        estimate = column.scores[row.label]
        seeds = "" if estimate.training is None else f" (seeds {plus_minus(estimate.training)})"
        seen = f" {MARK}" if self.plan.pretrainings[column.ground.name][row.label].seen else ""
        return f"{points(estimate.mean)} {plus_minus(estimate.episodes)}{seeds}{seen}"

    def _remarks(self) -> Iterator[str]:
        for label, why in self.plan.skipped.items():
            yield f"{label}: left out, {why}."
        for name, novelty in self.plan.novelties.items():
            if novelty.words:
                yield f"{name}: some classes are {novelty.words}."
        yield from self.plan.seen_before()
        for label, why in self.plan.notes.items():
            yield f"{label}: {why}."
        idle = dict.fromkeys(c.row.label for c in self.plan.cells if not any(run.trained for run in c.runs))
        if idle:
            yield f"Not trained, as they have nothing that could be trained here: {', '.join(idle)}."
        for column in self.columns:
            for label, failure in column.failed.items():
                yield f"{label} on {_on(column)} failed: {failure.message}"

    def order(self) -> dict[str, str]:
        """Column -> whether the paper's order shows in it."""
        return {_on(c): f"{_on(c)}: {order_in_words(self.plan.table, c)}." for c in self.columns}

    def _differences(self) -> Grid:
        rows = [
            [
                _on(column), f"{d.first} − {d.second}", signed(d.estimate.mean), plus_minus(d.estimate.episodes),
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
        """Everything as plain values for JSON; shares of 1, half widths of 95 % intervals, the paper's in %."""
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
            "skipped": plan.skipped, "notes": plan.notes, "cells": list(self.cells()),
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

    def cells(self) -> Iterator[dict[str, object]]:
        """One for each row, data set and number of shots."""
        for cell in self.plan.cells:
            column = next(c for c in self.columns if c.ground is cell.ground and c.shot == cell.shot)
            label, score = cell.row.label, column.scores.get(cell.row.label)
            failure, before = column.failed.get(label), self.plan.pretrainings[cell.ground.name][label]
            yield {
                "row": label, "method": cell.row.method, "dataset": cell.ground.name, "shot": cell.shot,
                "way": cell.ground.settings.way, "episodes": cell.ground.settings.episodes,
                "accuracy": score and score.mean, "ci95_episodes": score and score.episodes,
                "ci95_videos": score and score.videos, "ci95_training": score and score.training,
                "paper": column.published(self.plan.table, label), "trained": cell.runs[0].trained,
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
        folder, blocks = self.place.out, self.blocks()
        texts = {
            "md": as_markdown(self.title, blocks),
            "html": as_html(self.title, blocks),
            "json": json.dumps({"schema": 1, **self.document()}, indent=2, allow_nan=False) + "\n",
        }
        for ending, text in texts.items():
            write_whole(folder / f"{self.name}.{ending}", text)
        cells = list(self.cells())
        table = folder / f"{self.name}.csv"
        write_rows(table, cells[0] if cells else ["row"], [[_flat(value) for value in c.values()] for c in cells])
        return [folder / f"{self.name}.{ending}" for ending in ("md", "csv", "html", "json")]


def _sentences(column: Column) -> Iterator[str]:
    for step in column.steps:
        yield sentence(step.difference, column.comparison)


def _task(column: Column) -> str:
    return f"{column.shot}-shot"


def _on(column: Column) -> str:
    return f"{column.ground.title} {_task(column)}"


def _published(pair: tuple[float | None, float | None] | None, shot: int) -> str:
    value = None if pair is None else pair[PAPER_SHOTS.index(shot)]
    return NONE if value is None else f"{value:.1f}"


def _towards(expected: int | None, paper: float | None) -> str:
    if paper is not None:
        return f"{paper:+.1f}".replace("-", "−") if not math.isclose(paper, 0, abs_tol=0.05) else "0.0"
    return NONE if expected is None else {1: "ahead", -1: "behind", 0: "equal"}[expected]


def _flat(value: object) -> object:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "" if value is None else value
