"""A comparison as tables, plain values and files."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np

from fsar_cli.engine.statistics.estimates import Estimate
from fsar_cli.files import write_rows, write_whole
from fsar_cli.render.figures import save_png
from fsar_cli.render.forest import Mark, Panel, forest
from fsar_cli.tools.compare.comparison import Comparison
from fsar_cli.tools.compare.words import notes, p_value, plus_minus, points, sentence, signed, verdict

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns, rows."""
SPARE = 60  # differences a picture has room for


def accuracy_table(comparison: Comparison) -> Table:
    """A row for each number of shots and side."""
    columns = ["task", "method", "accuracy %", "± episodes", "± videos", "± classes"]
    columns += ["± training"] if _grouped(comparison) else []
    rows = []
    for shot, estimates in comparison.scores.items():
        for side, estimate in zip(comparison.sides, estimates, strict=True):
            name = side.name if len(side.members) == 1 else f"{side.name}, {len(side.members)} runs"
            rows.append([_task(comparison, shot), name, points(estimate.mean), *_widths(comparison, estimate)])
    settings = comparison.settings
    title = f"{settings.episodes:,} episodes of {comparison.videos} videos in {len(comparison.classes)} classes"
    return f"accuracy, the same {title}", columns, rows


def difference_table(comparison: Comparison) -> Table:
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


def class_table(comparison: Comparison, shot: int) -> Table:
    """A row for each class, those that differ most first."""
    shares = comparison.class_accuracies(shot)  # [C, sides]
    names = [side.name for side in comparison.sides]
    with np.errstate(invalid="ignore"):
        spans = np.ptp(shares, axis=1)
    rows = []
    for c in np.argsort(-np.nan_to_num(spans, nan=-1), kind="stable"):
        cells = ["-" if math.isnan(share) else points(share, 1) for share in shares[c]]
        best = "-" if not spans[c] > 0 else f"{points(spans[c], 1)} ({names[int(shares[c].argmax())]})"
        rows.append([comparison.classes[c], *cells, best])
    return f"{_task(comparison, shot)}: accuracy by class, %", ["class", *names, "largest difference (best)"], rows


def _task(comparison: Comparison, shot: int) -> str:
    return f"{comparison.settings.way}-way {shot}-shot"


def _grouped(comparison: Comparison) -> bool:
    return any(len(side.members) > 1 for side in comparison.sides)


def _widths(comparison: Comparison, estimate: Estimate) -> list[str]:
    widths = [estimate.episodes, estimate.videos, estimate.classes]
    return [plus_minus(width) for width in [*widths, *([estimate.training] if _grouped(comparison) else [])]]


def document(comparison: Comparison) -> dict[str, object]:
    """The comparison as plain values for JSON; shares of 1, half widths of 95 % intervals."""
    settings = comparison.settings
    return {
        "way": settings.way, "queries": settings.queries, "episodes": settings.episodes, "split": settings.split,
        "seed": settings.seed, "group_disjoint": settings.group_disjoint, "videos": comparison.videos,
        "classes": list(comparison.classes), "units": comparison.units,
        "episode_digests": {result.shot: result.digest for result in comparison.results[0]},
        "compared": [
            {"name": entry.name, "method": entry.config.model.label, "run": str(entry.run.path) if entry.run else None,
             "changes": list(entry.changes),
             "accuracy": {result.shot: float(result.accuracies.mean()) for result in results}}
            for entry, results in zip(comparison.entries, comparison.results, strict=True)
        ],
        "results": [
            {"shot": shot, "name": side.name, "runs": len(side.members), **_plain(estimate)}
            for shot, estimates in comparison.scores.items()
            for side, estimate in zip(comparison.sides, estimates, strict=True)
        ],
        "differences": [
            {"shot": d.shot, "first": d.first, "second": d.second, **_plain(d.estimate), "p": d.p,
             "p_normal": d.p_normal, "p_holm": d.p_holm, "tests": d.tests, "real": d.real,
             "episodes_needed": d.needed, "words": sentence(d, comparison)}
            for d in comparison.differences
        ],
        "per_class": {
            shot: {
                name: {side.name: None if math.isnan(v) else float(v)
                       for side, v in zip(comparison.sides, row, strict=True)}
                for name, row in zip(comparison.classes, comparison.class_accuracies(shot), strict=True)
            }
            for shot in comparison.scores
        },
        "notes": list(notes(comparison)),
    }  # fmt: skip


def _plain(estimate: Estimate) -> dict[str, float | None]:
    return {name if name == "mean" else f"ci95_{name}": value for name, value in asdict(estimate).items()}


def tables(comparison: Comparison) -> list[Table]:
    """All of them, in the order of reading."""
    by_class = [class_table(comparison, shot) for shot in comparison.scores]
    return [accuracy_table(comparison), difference_table(comparison), *by_class]


def markdown(comparison: Comparison) -> str:
    """Tables, sentences and notes."""
    parts = ["# Comparison"]
    parts += [f"- {sentence(difference, comparison)}" for difference in comparison.differences]
    for title, columns, rows in tables(comparison):
        lines = [columns, ["---"] * len(columns), *rows]
        cells = [
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
        ]
        parts.append(f"\n## {title[0].upper()}{title[1:]}\n\n" + "\n".join(cells))
    parts.append("\n## What this means\n\n" + "\n".join(f"- {note}" for note in notes(comparison)))
    return "\n".join(parts).replace("# Comparison\n", "# Comparison\n\n") + "\n"


def write_report(comparison: Comparison, folder: Path) -> list[str]:
    """Write compare.json, compare.md, compare.png, accuracies.csv, differences.csv, classes.csv and, for each number of
    shots, episodes-<N>w<K>s.csv with the accuracy of each entry in each episode; returns their names.

    Raises:
        DataError: the picture cannot be written. OSError: another file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = document(comparison)
    text = json.dumps({"schema": 1, **found}, indent=2) + "\n"
    write_whole(folder / "compare.json", text)
    write_whole(folder / "compare.md", markdown(comparison))
    save_png(picture(comparison), folder / "compare.png")
    for name in ("results", "differences"):
        rows = found[name]
        file = folder / ("accuracies.csv" if name == "results" else "differences.csv")
        write_rows(file, rows[0], [["" if v is None else v for v in row.values()] for row in rows])
    by_class = [
        [shot, name, side, "" if share is None else share]
        for shot, classes in found["per_class"].items()
        for name, sides in classes.items()
        for side, share in sides.items()
    ]
    write_rows(folder / "classes.csv", ["shot", "class", "name", "accuracy"], by_class)
    names = ["compare.json", "compare.md", "compare.png", "accuracies.csv", "differences.csv", "classes.csv"]
    for i, shot in enumerate(comparison.scores):
        names.append(f"episodes-{comparison.settings.way}w{shot}s.csv")
        columns = [results[i].accuracies.tolist() for results in comparison.results]
        heading = ["episode", *[entry.name for entry in comparison.entries]]
        write_rows(folder / names[-1], heading, zip(range(comparison.settings.episodes), *columns, strict=True))
    return names


def picture(comparison: Comparison) -> np.ndarray:
    """Accuracies at the left, differences at the right, uint8 RGB [H, W, 3]."""
    accuracies = [
        Mark(side.name, shot, estimate.mean, estimate.episodes, estimate.videos)
        for shot, estimates in comparison.scores.items()
        for side, estimate in zip(comparison.sides, estimates, strict=True)
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
