"""A comparison as tables, plain values and files."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from fsar_cli.engine.model import Model
from fsar_cli.engine.outputs import remove_others
from fsar_cli.engine.pretraining import MARK
from fsar_cli.engine.statistics.estimates import Estimate
from fsar_cli.engine.statistics.words import p_value, plus_minus, points, signed
from fsar_cli.files import write_rows, write_whole
from fsar_cli.render.figures import save_png
from fsar_cli.render.forest import Mark, Panel, forest
from fsar_cli.render.page import Bullets, Grid, Heading, as_markdown
from fsar_cli.tools.compare.comparison import MethodComparison
from fsar_cli.tools.compare.words import notes, sentence, verdict

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns, rows."""
SPARE = 60  # differences a picture has room for


def accuracy_table(comparison: MethodComparison) -> Table:
    """A row for each number of shots and group."""
    columns = ["task", "method", "accuracy %", "± episodes", "± videos", "± classes"]
    columns += ["± training"] if _grouped(comparison) else []
    rows = []
    for shot, estimates in comparison.scores.items():
        for group, estimate in zip(comparison.groups, estimates, strict=True):
            runs = "" if len(group.members) == 1 else f", {len(group.members)} runs"
            name = f"{comparison.marked(group)}{runs}"
            rows.append([_task(comparison, shot), name, points(estimate.mean), *_widths(comparison, estimate)])
    settings = comparison.settings
    title = f"{settings.episodes:,} episodes of {comparison.videos} videos in {len(comparison.classes)} classes"
    return f"accuracy, the same {title}", columns, rows


def difference_table(comparison: MethodComparison) -> Table:
    """A row for each number of shots and pair."""
    columns = ["task", "difference", "points", "± episodes", "± videos", "± classes"]
    columns += ["± training"] if _grouped(comparison) else []
    columns += ["p (Holm)", "at these episodes"]
    rows = [
        [
            _task(comparison, d.shot), f"{d.first} − {d.second}", signed(d.estimate.mean),
            *_widths(comparison, d.estimate), p_value(d.p_holm), verdict(d),
        ]
        for d in comparison.differences
    ]  # fmt: skip
    return "paired differences", columns, rows


def class_table(comparison: MethodComparison, column: int) -> Table:
    """A row for each class, those that differ most first."""
    shares = comparison.class_accuracies(column)  # [C, groups]
    names = [group.name for group in comparison.groups]
    with np.errstate(invalid="ignore"):
        spans = np.ptp(shares, axis=1)
    rows = []
    for c in np.argsort(-np.nan_to_num(spans, nan=-1), kind="stable"):
        cells = ["-" if math.isnan(share) else points(share, 1) for share in shares[c]]
        best = "-" if not spans[c] > 0 else f"{points(spans[c], 1)} ({names[int(shares[c].argmax())]})"
        name = comparison.classes[c]
        seen = any(comparison.state(group, name) == "seen" for group in comparison.groups)
        rows.append([f"{name} {MARK}" if seen else name, *cells, best])
    task, columns = _task(comparison, comparison.settings.shots[column]), map(comparison.marked, comparison.groups)
    return f"{task}: accuracy by class, %", ["class", *columns, "largest difference (best)"], rows


def _task(comparison: MethodComparison, shot: int) -> str:
    return f"{comparison.settings.way}-way {shot}-shot"


def _grouped(comparison: MethodComparison) -> bool:
    return any(len(group.members) > 1 for group in comparison.groups)


def _widths(comparison: MethodComparison, estimate: Estimate) -> list[str]:
    widths = [estimate.episodes, estimate.videos, estimate.classes]
    return [plus_minus(width) for width in [*widths, *([estimate.training] if _grouped(comparison) else [])]]


def source_of(models: Sequence[Model]) -> dict[str, object]:
    """What a comparison compares, as compare.json has it."""
    sources = [[str(m.run.path.resolve()) if m.run else m.method, *m.changes] for m in models]
    stores = {str(model.config.data.frames.resolve()): None for model in models}
    return {"sources": sorted(",".join(parts) for parts in sources), "frames": list(stores)}


def document(comparison: MethodComparison) -> dict[str, object]:
    """The comparison as plain values for JSON; shares of 1, half widths of 95 % intervals."""
    settings = comparison.settings
    return {
        "way": settings.way, "queries": settings.queries, "episodes": settings.episodes, "split": settings.split,
        "seed": settings.seed, "group_disjoint": settings.group_disjoint, "videos": comparison.videos,
        "classes": list(comparison.classes), "units": comparison.units,
        "episode_digests": {result.shot: result.digest for result in comparison.results[0]},
        "compared": [
            {"name": model.name, "method": model.config.model.label, "run": str(model.run.path) if model.run else None,
             "changes": list(model.changes),
             "accuracy": {result.shot: float(result.accuracies.mean()) for result in results},
             "whitening": whitening and whitening.document(), **novelty.document()}
            for model, results, novelty, whitening in zip(
                comparison.models, comparison.results, comparison.novelties, comparison.whitenings, strict=True
            )
        ],
        "results": [
            {"shot": shot, "name": group.name, "runs": len(group.members), **_plain(estimate)}
            for shot, estimates in comparison.scores.items()
            for group, estimate in zip(comparison.groups, estimates, strict=True)
        ],
        "differences": [
            {"shot": d.shot, "first": d.first, "second": d.second, **_plain(d.estimate), "p": d.p,
             "p_normal": d.p_normal, "p_holm": d.p_holm, "tests": d.tests, "real": d.real,
             "episodes_needed": d.needed, "words": sentence(d, comparison)}
            for d in comparison.differences
        ],
        "per_class": {
            shot: {
                name: {group.name: None if math.isnan(v) else float(v)
                       for group, v in zip(comparison.groups, row, strict=True)}
                for name, row in zip(comparison.classes, comparison.class_accuracies(i), strict=True)
            }
            for i, shot in enumerate(comparison.scores)
        },
        "notes": list(notes(comparison)),
    }  # fmt: skip


def _plain(estimate: Estimate) -> dict[str, float | None]:
    return {name if name == "mean" else f"ci95_{name}": value for name, value in asdict(estimate).items()}


def tables(comparison: MethodComparison) -> list[Table]:
    """All of them, in the order of reading."""
    by_class = [class_table(comparison, column) for column in range(len(comparison.scores))]
    return [accuracy_table(comparison), difference_table(comparison), *by_class]


def markdown(comparison: MethodComparison) -> str:
    """Tables, sentences and notes."""
    blocks = [Bullets([sentence(difference, comparison) for difference in comparison.differences])]
    for title, columns, rows in tables(comparison):
        left = columns.index("points" if "points" in columns else "accuracy %") if "task" in columns else 1
        blocks += [Heading(title[0].upper() + title[1:]), Grid(columns, rows, left=left)]
    return as_markdown("Comparison", [*blocks, Heading("What this means"), Bullets(list(notes(comparison)))])


def write_report(comparison: MethodComparison, folder: Path) -> list[str]:
    """Write compare.json, compare.md, compare.png, accuracies.csv, differences.csv, classes.csv and, for each number of
    shots, episodes-<N>w<K>s.csv with the accuracy of each model in each episode, in place of an earlier comparison's;
    returns their names.

    Raises:
        DataError: the picture cannot be written. OSError: another file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = document(comparison)
    text = json.dumps({"schema": 1, **source_of(comparison.models), **plain}, indent=2, allow_nan=False) + "\n"
    write_whole(folder / "compare.json", text)
    write_whole(folder / "compare.md", markdown(comparison))
    save_png(picture(comparison), folder / "compare.png")
    for name in ("results", "differences"):
        rows = plain[name]
        file = folder / ("accuracies.csv" if name == "results" else "differences.csv")
        write_rows(file, rows[0], [["" if v is None else v for v in row.values()] for row in rows])
    by_class = [
        [shot, name, group.name, "" if (share := shares[group.name]) is None else share, comparison.state(group, name)]
        for shot, classes in plain["per_class"].items()
        for name, shares in classes.items()
        for group in comparison.groups
    ]
    write_rows(folder / "classes.csv", ["shot", "class", "name", "accuracy", "pretraining"], by_class)
    names = ["compare.json", "compare.md", "compare.png", "accuracies.csv", "differences.csv", "classes.csv"]
    for i, shot in enumerate(comparison.scores):
        names.append(f"episodes-{comparison.settings.way}w{shot}s.csv")
        columns = [results[i].accuracies.tolist() for results in comparison.results]
        heading = ["episode", *[model.name for model in comparison.models]]
        write_rows(folder / names[-1], heading, zip(range(comparison.settings.episodes), *columns, strict=True))
    remove_others(folder, set(names), "episodes-[0-9]*w[0-9]*s.csv")
    return names


def picture(comparison: MethodComparison) -> np.ndarray:
    """Accuracies at the left, differences at the right, uint8 RGB [H, W, 3]."""
    accuracies = [
        Mark(group.name, shot, estimate.mean, estimate.episodes, estimate.videos)
        for shot, estimates in comparison.scores.items()
        for group, estimate in zip(comparison.groups, estimates, strict=True)
    ]
    differences = [
        Mark(f"{d.first} − {d.second}", d.shot, d.estimate.mean, d.estimate.episodes, d.estimate.videos, d.real)
        for d in comparison.differences
    ]
    settings = comparison.settings
    below = f"{settings.episodes:,} episodes, {settings.way}-way, {comparison.videos} videos of"
    return forest(
        Panel("accuracy, %", accuracies, 1 / settings.way, "chance"),
        Panel("difference, points", differences[:SPARE], 0.0, ""),
        f"{below} {len(comparison.classes)} classes",
        f"other {comparison.units}",
        len(differences) - SPARE,
    )
