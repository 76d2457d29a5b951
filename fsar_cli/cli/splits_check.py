"""`fsar splits check`: a split file beside the data, video by video, and what can still be measured with it."""

import csv
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli.options import ConfigFile, Json, Quiet
from fsar_cli.cli.output import ConsoleReporter, print_json, stdout, table
from fsar_cli.cli.splits import Root, app, data_root
from fsar_cli.errors import DataError

if TYPE_CHECKING:
    from fsar_cli.config import Config
    from fsar_cli.data.checking.report import Check, Problem, Shape, SplitCheck, VideoFacts
    from fsar_cli.data.splits import Splits
    from fsar_cli.data.splits.tree import Tree

COLUMNS = ("split", "class", "video", "problem", "detail")
_TITLES = {"short": "too short", "spelling": "other spelling"}
_NUMBERS = ("published", "wanted", "found", "missing", "ambiguous", "undecodable", "short", "spelling")
_RARE = ("changed", "gone", "duplicate")
"""Columns only where there is something in them."""
NAMED = 12
"""Videos with such problems that are named one by one; --csv has all."""


@app.command("check")
def check(
    file: Annotated[Path | None, typer.Argument(help="Split file (default: data.splits).")] = None,
    root: Root = None,
    way: Annotated[int | None, typer.Option(min=2, help="Classes of an episode (default: fsar.yaml).")] = None,
    shot: Annotated[int | None, typer.Option(min=1, help="Support videos of each class.")] = None,
    queries: Annotated[int | None, typer.Option(min=1, help="Queries of each class.")] = None,
    group_disjoint: Annotated[bool, typer.Option(help="Support and queries from different groups.")] = False,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames below which a video is too short (default: clip.frames).")
    ] = None,
    decode: Annotated[
        bool,
        typer.Option(
            "--decode",
            help="Decode every listed video that is there, from its first frame to its last. Results are kept in the "
            "user's cache: stopped and run again it goes on, later it decodes what is new or changed. Of a frame "
            "store: no frame is missing, and the first, middle and last of each video decode (nothing is kept).",
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=0, max=256, help="Processes that decode; 0: none but this. Default: one a core, at most 8."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the problems to a CSV file.")] = None,
    config: ConfigFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare a split file with the data and see whether the wanted episodes can be drawn.

    Problems of a listed video: missing; ambiguous (several videos could be it); undecodable (with --decode); short
    (known of frame stores, of videos with --decode); spelling (found, but under another name: `fsar splits make FILE
    --root TREE --out NEW` writes a split file with the names of the tree); changed or gone since its frames were
    extracted; duplicate (another split holds the same content: a link or a copy).

    Episodes are drawn from what is left: found, not short, not undecodable. Where videos are missing, it says about how
    many episodes of the whole hold one of them, and so by how much an accuracy may differ at the very worst; the whole
    are the videos of the published protocol, if the file follows one, else those it lists.

    Exit code 3, after the report, where a video is missing, ambiguous, undecodable, spelt otherwise, changed or, unless
    a published protocol or --allow-duplicates says so, a duplicate, where episodes cannot be drawn, or where the frames
    are no frame store.

    --csv: a row a problem, with the columns split, class, video (the id in the split file), problem (the words above)
    and detail (reason, candidates, or the id in the tree).

    --json: file, root, kind (videos or frames), frames, decoded, ok, listed, found, missing, ambiguous, undecodable,
    short, spelling, changed, gone, duplicate, unlisted (numbers; null: not known); classes [split, class, published,
    wanted, found, missing, ambiguous, undecodable, short, spelling, changed, gone, duplicate, usable, enough];
    splits [split, classes, left, protocol, whole, lacking, extra, shape, touched (share of its episodes, of 1),
    problem, remedy]; problems [the columns of --csv].
    """
    from fsar_cli.data.checking.decoding import look
    from fsar_cli.data.checking.fit import check as check_splits
    from fsar_cli.data.naming import match_videos
    from fsar_cli.data.splits import Splits
    from fsar_cli.data.splits.tree import scan_tree
    from fsar_cli.data.store.changes import stale
    from fsar_cli.files import cache_folder, cores
    from fsar_cli.settings import resolve

    settings, reporter = resolve(path=config).config, ConsoleReporter(quiet)
    path = file or settings.data.splits
    if csv is not None:
        csv.parent.mkdir(parents=True, exist_ok=True)  # hours of decoding should not end at this
    splits, tree = Splits.read(path), scan_tree(root or data_root(settings))
    if splits.edited:
        reporter.warn(f"{path} was changed after it was made: its digest is now {splits.digest[:16]}")
    matches = match_videos((video.id for _, video in splits.rows), tree.ids)
    if matches.anywhere:
        reporter.warn("none of the classes has a folder of its name: the videos were found by their own names alone")
    workers = cores(8) if workers is None else workers
    cache = cache_folder() if decode else None
    facts = look(tree, matches.found.values(), frames or settings.clip.frames, cache, workers, reporter)
    store = tree.root if tree.kind == "frames" else None if root else settings.data.frames
    changed = stale(store, reporter=reporter) if store else {}
    facts = replace(facts, stale=changed, twins=_twins(splits, matches.found, tree))
    shapes = _shapes(settings, way, shot, queries, group_disjoint)
    report = check_splits(splits, tree, matches, shapes, facts)
    if csv is not None:
        _write_csv(csv, report)
        reporter.log(f"{len(report.problems)} problems: {csv}")
    print_json(_document(path, tree, report, facts)) if json else _show(path, tree, report, facts)
    _refuse(path, tree, report, store)


def _twins(splits: "Splits", found: Mapping[str, str], tree: "Tree") -> dict[str, str]:
    """{tree id: `SPLIT ID` of another split with the same content}."""
    from fsar_cli.data.splits.twins import find_twins

    groups = find_twins(((split, found[video.id]) for split, video in splits.rows if video.id in found), tree)
    return {
        video: " ".join(next(place for place in group if place[0] != split))
        for group in groups
        for split, video in group
    }


def _shapes(
    settings: "Config", way: int | None, shot: int | None, queries: int | None, group_disjoint: bool
) -> "dict[str, Shape]":
    from fsar_cli.data.checking.report import Shape

    episode, evaluation = settings.episode, settings.eval
    train = (episode.way, episode.shot, episode.queries, episode.group_disjoint)
    test = (evaluation.way, max(evaluation.shots), evaluation.queries, evaluation.group_disjoint)
    return {
        split: Shape(way or base[0], shot or base[1], queries or base[2], group_disjoint or base[3])
        for split, base in (("train", train), ("val", test), ("test", test))
    }


def _write_csv(path: Path, report: "Check") -> None:
    """A row a problem; any CSV reader gives names back as they are, line breaks included."""
    from fsar_cli.files import atomic

    with atomic(path) as part, part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        # QUOTE_ALL: which line breaks are quoted otherwise differs between Python versions.
        writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(COLUMNS)
        writer.writerows(_row(line) for line in report.problems)


def _row(line: "Problem") -> tuple[str, ...]:
    return line.split, line.cls, line.video, line.problem, line.detail


def _show(path: Path, tree: "Tree", report: "Check", facts: "VideoFacts") -> None:
    shown = [name for name in _NUMBERS if any(getattr(line, name) is not None for line in report.classes)]
    shown += [name for name in _RARE if report.counts[name]]
    examples: dict[tuple[str, str], list[str]] = {}
    for line in report.problems:
        examples.setdefault((line.split, line.cls), []).append(line.video)
    rows = []
    for line in report.classes:
        numbers = ("-" if (value := getattr(line, name)) is None else value for name in shown)
        some = ", ".join(examples.get((line.split, line.cls), [])[:2])
        rows.append([line.split, line.cls, *numbers, "yes" if line.enough else "no", some])
    titles = tuple(_TITLES.get(name, name) for name in shown)
    stdout.print(table(f"{path} in {tree.root}", ["split", "class", *titles, "enough", "for example"], rows, titles))
    for line in _lines(tree, report, facts):
        stdout.print(line)


def _lines(tree: "Tree", report: "Check", facts: "VideoFacts") -> Iterator[str]:
    for line in report.splits:
        gone = f", from {line.left} of its {line.classes} classes" if line.left < line.classes else ""
        yield f"{line.split}: {line.shape}: {line.problem or f'can be drawn{gone}'}"
    for line in report.splits:
        yield from _whole(line)
    if report.unlisted:
        yield f"{report.unlisted} videos of {tree.root} are not in the split file"
    for line in [line for line in report.problems if line.problem in _RARE][:NAMED]:
        yield f"{line.split}: {line.video}: {line.problem} ({line.detail})"
    if facts.undecodable is None:
        unknown = "whether they decode" if facts.frames is not None else "whether they decode and how long they are"
        yield f"not looked at: {unknown} (--decode)"


def _whole(split: "SplitCheck") -> Iterator[str]:
    """What a split lacks of the whole, and what that means for an accuracy."""
    if not split.lacking and not split.extra:
        if split.protocol:
            yield f"{split.split}: all {split.whole} videos of {split.protocol}"
        return
    share = f"{100 * split.lacking / split.whole:.1f} %" if split.whole else "all"
    parts = [f"{split.lacking} of {split.whole} videos missing or unusable ({share})"] if split.lacking else []
    parts += [f"{split.extra} more than published"] if split.extra else []
    yield f"{split.split}, beside {split.protocol or 'the split file'}: {', '.join(parts)}"
    held = f"about {100 * split.touched:.1f} % of the {split.shape.way}-way {split.shape.shot}-shot episodes"
    yield f"  {held} hold one of them; at the very worst an accuracy moves by about as much"


def _refuse(path: Path, tree: "Tree", report: "Check", store: Path | None) -> None:
    """Raise DataError where the split file and the data do not fit, with what to do."""
    from fsar_cli.data.checking.report import PROBLEMS
    from fsar_cli.data.store.frames import refuse_pictures

    if store:
        refuse_pictures(store)
    if report.ok:
        return
    names = {"spelling": "under another spelling", "changed": "changed since", "duplicate": "in another split, too"}
    kinds = [kind for kind in PROBLEMS if kind not in report.harmless]
    counts = [f"{report.counts[kind]} {names.get(kind, kind)}" for kind in kinds if report.counts[kind]]
    problems = [f"of {report.listed} listed videos in {tree.root}: {', '.join(counts)}"] if counts else []
    problems += [f"{line.split}: {line.problem}" for line in report.splits if line.problem]
    remedies = [line.remedy for line in report.splits if line.remedy]
    if report.counts["spelling"]:
        command = shlex.join(["fsar", "splits", "make", str(path), "--root", str(tree.root), "--out", "NEW"])
        remedies.insert(0, f"`{command}` writes the names of the tree")
    if report.counts["changed"]:
        remedies.append("`fsar extract-frames` extracts anew what changed")
    if report.counts["duplicate"]:
        remedies.append("keep one of each duplicate, or put their classes into one split, with `fsar splits make`")
    raise DataError("; ".join(problems), remedies[0] if remedies else "complete the data, or make the split file anew")


def _document(path: Path, tree: "Tree", report: "Check", facts: "VideoFacts") -> dict:
    counts = {kind: report.counts[kind] for kind in (*_NUMBERS[3:], *_RARE)}
    counts["undecodable"] = None if facts.undecodable is None else counts["undecodable"]
    counts["short"] = None if facts.frames is None else counts["short"]
    return {
        "file": str(path),
        "root": str(tree.root),
        "kind": tree.kind,
        "frames": facts.least,
        "decoded": facts.undecodable is not None,
        "ok": report.ok,
        "listed": report.listed,
        "found": sum(line.found for line in report.classes),
        **counts,
        "unlisted": report.unlisted,
        "classes": [
            {"class" if key == "cls" else key: value for key, value in asdict(line).items()} for line in report.classes
        ],
        "splits": [asdict(line) for line in report.splits],
        "problems": [dict(zip(COLUMNS, _row(line), strict=True)) for line in report.problems],
    }
