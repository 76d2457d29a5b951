"""How `fsar splits check` shows what it found: a table, a JSON document, a CSV file, and an error at the end."""

import csv
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fsar_cli.cli.output import print_json, stdout, table
from fsar_cli.errors import DataError

if TYPE_CHECKING:
    from fsar_cli.data.checking.deviation import Deviation
    from fsar_cli.data.checking.fit import Check, ClassCheck, Comparison, Problem, Seen, SplitCheck
    from fsar_cli.data.splits.tree import Tree

COLUMNS = ("split", "class", "video", "problem", "detail")
_TITLES = {"short": "too short", "spelling": "other spelling"}
_NUMBERS = ("published", "wanted", "found", "missing", "ambiguous", "undecodable", "short", "spelling")


def write_csv(path: Path, report: "Check") -> None:
    """A row a problem; any CSV reader gives names back as they are, line breaks included."""
    from fsar_cli.files import atomic

    with atomic(path) as part, part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        # QUOTE_ALL: which line breaks are quoted otherwise differs between Python versions.
        writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(COLUMNS)
        writer.writerows(_row(entry) for entry in report.problems)


def _row(entry: "Problem") -> tuple[str, ...]:
    return entry.split, entry.cls, entry.video, entry.problem, entry.detail


def show(path: Path, tree: "Tree", report: "Check", seen: "Seen", json: bool) -> None:
    """The whole report on stdout."""
    if json:
        return print_json(_document(path, tree, report, seen))
    known = [name for name in _NUMBERS if any(getattr(entry, name) is not None for entry in report.classes)]
    examples: dict[tuple[str, str], list[str]] = {}
    for entry in report.problems:
        examples.setdefault((entry.split, entry.cls), []).append(entry.video)
    rows = []
    for entry in report.classes:
        numbers = ("-" if (value := getattr(entry, name)) is None else value for name in known)
        some = ", ".join(examples.get((entry.split, entry.cls), [])[:2])
        rows.append([entry.split, entry.cls, *numbers, "yes" if entry.enough else "no", some])
    titles = tuple(_TITLES.get(name, name) for name in known)
    stdout.print(table(f"{path} in {tree.root}", ["split", "class", *titles, "enough", "for example"], rows, titles))
    for line in _lines(tree, report, seen):
        stdout.print(line, markup=False)


def _lines(tree: "Tree", report: "Check", seen: "Seen") -> Iterator[str]:
    for entry in report.splits:
        gone = f", from {entry.left} of its {entry.classes} classes" if entry.left < entry.classes else ""
        yield f"{entry.split}: {entry.shape}: {entry.problem or f'can be drawn{gone}'}"
    for entry in report.splits:
        yield from _whole(entry, [other for other in report.comparisons if other.split == entry.split])
    if report.unlisted:
        yield f"{report.unlisted} videos of {tree.root} are not in the split file"
    if seen.undecodable is None:
        unknown = "whether they decode" if seen.frames is not None else "whether they decode and how long they are"
        yield f"not looked at: {unknown} (--decode)"


def _whole(entry: "SplitCheck", comparisons: "list[Comparison]") -> Iterator[str]:
    """What a split lacks of the whole, and what that means for an accuracy."""
    if not entry.lacking and not entry.extra:
        if entry.protocol:
            yield f"{entry.split}: all {entry.whole} videos of {entry.protocol}"
        return
    share = f"{100 * entry.lacking / entry.whole:.1f} %" if entry.whole else "all"
    parts = [f"{entry.lacking} of {entry.whole} videos missing or unusable ({share})"] if entry.lacking else []
    parts += [f"{entry.extra} more than published"] if entry.extra else []
    yield f"{entry.split}, beside {entry.protocol or 'the split file'}: {', '.join(parts)}"
    for other in comparisons:
        if other.deviation is not None:
            published = "published" if entry.protocol else "listed"
            task = f"{other.shape.way}-way {other.shape.shot}-shot"
            yield f"  {_consequence(other.deviation, published, task, bool(entry.extra))}"


def _consequence(found: "Deviation", published: str, task: str, extra: bool) -> str:
    held = f"up to {_points(found.share)} % of the {task} episodes are not the {published} ones" if extra else (
        f"{_points(found.share)} % of the {published} {task} episodes hold one of them"
    )  # fmt: skip
    if found.at_random is None:
        return (
            f"{held}; a class has too few videos left, so the accuracy may move by up to {_points(found.share)} points"
        )
    return (
        f"{held}; if they are missing at random the accuracy moves by at most about {_points(found.at_random)} points"
        f" (95 %), at the very worst by {_points(found.share)}"
    )


def _points(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f}" if percent >= 10 else f"{percent:.1f}" if percent >= 0.05 else "less than 0.1"


def refuse(path: Path, tree: "Tree", report: "Check") -> None:
    """Raise DataError where the split file and the data do not fit, with what to do."""
    if report.ok:
        return
    names = {"spelling": "under another spelling"}
    kinds = ("missing", "ambiguous", "undecodable", "spelling")
    counts = [f"{report.counts[kind]} {names.get(kind, kind)}" for kind in kinds if report.counts[kind]]
    problems = [f"of {report.listed} listed videos in {tree.root}: {', '.join(counts)}"] if counts else []
    problems += [f"{entry.split}: {entry.problem}" for entry in report.splits if entry.problem]
    remedies = [entry.remedy for entry in report.splits if entry.remedy]
    if report.counts["spelling"]:
        command = shlex.join(["fsar", "splits", "make", str(path), "--root", str(tree.root), "--out", "NEW"])
        remedies.insert(0, f"`{command}` writes the names of the tree")
    raise DataError("; ".join(problems), remedies[0] if remedies else "complete the data, or make the split file anew")


def _document(path: Path, tree: "Tree", report: "Check", seen: "Seen") -> dict:
    known = {kind: report.counts[kind] for kind in ("missing", "ambiguous", "undecodable", "short", "spelling")}
    known["undecodable"] = None if seen.undecodable is None else known["undecodable"]
    known["short"] = None if seen.frames is None else known["short"]
    return {
        "file": str(path),
        "root": str(tree.root),
        "kind": tree.kind,
        "frames": seen.least,
        "decoded": seen.undecodable is not None,
        "ok": report.ok,
        "listed": report.listed,
        "found": sum(entry.found for entry in report.classes),
        **known,
        "unlisted": report.unlisted,
        "classes": [_plain(entry) for entry in report.classes],
        "splits": [asdict(entry) for entry in report.splits],
        "accuracy": [_accuracy(entry) for entry in report.comparisons],
        "problems": [dict(zip(COLUMNS, _row(entry), strict=True)) for entry in report.problems],
    }


def _plain(entry: "ClassCheck") -> dict:
    """A report line for JSON, where the key `class` is free."""
    return {"class" if key == "cls" else key: value for key, value in asdict(entry).items()}


def _accuracy(entry: "Comparison") -> dict:
    shape = {"way": entry.shape.way, "shot": entry.shape.shot, "queries": entry.shape.queries}
    found = asdict(entry.deviation) if entry.deviation else {"share": None, "at_random": None}
    return {"split": entry.split, **shape, **found}
