"""Does a split file fit a tree, can the episodes one wants be drawn from what is there, and what do they still tell?

Nothing is read here: what is known of the tree's videos (frames, which do not decode) is passed in.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from fsar_cli.data.checking.report import (
    HARMLESS,
    PROBLEMS,
    UNSEEN,
    UNUSABLE,
    Check,
    ClassCheck,
    Problem,
    Shape,
    SplitCheck,
    VideoFacts,
)
from fsar_cli.data.episodes import check_drawable
from fsar_cli.data.naming import Matches
from fsar_cli.data.splits.file import Splits, Video
from fsar_cli.data.splits.protocols import protocols
from fsar_cli.data.splits.tree import Tree
from fsar_cli.data.splits.twins import accepts_twins
from fsar_cli.errors import counted


def check(
    splits: Splits,
    tree: Tree,
    matches: Matches,
    shapes: Mapping[str, Shape],
    facts: VideoFacts = UNSEEN,
) -> Check:
    """Compare a split list with a tree, class by class, and try to draw each split's episodes from what can be used.

    Args:
        matches: what `match_videos` made of the list's ids and the tree's.
        shapes: the episodes wanted of each split the list holds.
    """
    problems = tuple(
        Problem(split, video.cls, video.id, kind, detail)
        for split, video in splits.rows
        for kind, detail in _problems(video, matches, facts)
    )
    unusable = {problem.video for problem in problems if problem.problem in UNUSABLE}
    rows = tuple(row for row in splits.rows if row[1].id not in unusable)
    usable = Splits(rows, splits.header) if unusable else splits
    classes = tuple(_classes(splits, usable, problems, shapes, facts))
    drawn = tuple(_split(splits, usable, classes, split, shapes[split]) for split in splits.names)
    unlisted = len(tree.ids) - len(matches.found)
    harmless = HARMLESS | ({"duplicate"} if accepts_twins(splits) else set())
    counts = Counter(problem.problem for problem in problems)
    return Check(classes, problems, drawn, unlisted, counts, harmless)


def _problems(video: Video, matches: Matches, facts: VideoFacts) -> Iterator[tuple[str, str]]:
    there = matches.found.get(video.id)
    if there is None:
        if video.id in matches.ambiguous:
            candidates = matches.ambiguous[video.id]
            yield "ambiguous", " or ".join(candidates) + ("" if len(candidates) > 1 else ", which others could be too")
        else:
            others = matches.other_clips.get(video.id)
            yield "missing", f"another clip of it: {', '.join(others)}" if others else ""
        return
    if reason := (facts.undecodable or {}).get(there):
        yield "undecodable", reason
    elif (frames := (facts.frames or {}).get(there, facts.least)) < facts.least:
        yield "short", f"{counted(frames, 'frame')} of {facts.least}"
    if there != video.id:
        yield "spelling", there
    if state := facts.stale.get(there):
        yield state, "since its frames were extracted"
    if twin := facts.twins.get(there):
        yield "duplicate", twin


def _classes(
    splits: Splits, usable: Splits, problems: Sequence[Problem], shapes: Mapping[str, Shape], facts: VideoFacts
) -> Iterator[ClassCheck]:
    """The classes of the list, and those of its protocol that it lacks."""
    counts = Counter((problem.split, problem.cls, problem.problem) for problem in problems)
    wanted = Counter((split, video.cls) for split, video in splits.rows)
    left = Counter((split, video.cls) for split, video in usable.rows)
    published = _published(splits)
    for split in splits.names:
        for cls in sorted({*splits.classes(split), *published.get(split, ())}):
            number = {kind: counts[split, cls, kind] for kind in PROBLEMS}
            shape = shapes[split]
            yield ClassCheck(
                split,
                cls,
                wanted=wanted[split, cls],
                found=wanted[split, cls] - number["missing"] - number["ambiguous"],
                missing=number["missing"],
                ambiguous=number["ambiguous"],
                undecodable=None if facts.undecodable is None else number["undecodable"],
                short=None if facts.frames is None else number["short"],
                **{kind: number[kind] for kind in ("spelling", "changed", "gone", "duplicate")},
                usable=left[split, cls],
                published=published[split].get(cls, 0) if split in published else None,
                enough=left[split, cls] >= shape.shot + shape.queries,
            )


def _published(splits: Splits) -> Mapping[str, Mapping[str, int]]:
    """{split: {class: videos}} of the protocol that a split list follows; empty for others.

    Where a protocol counts annotated videos the list has their segments, which do not compare.
    """
    known = protocols().get(splits.header.get("protocol", ""))
    return known.classes if known and known.clips != "annotated" else {}


def _split(splits: Splits, usable: Splits, classes: Sequence[ClassCheck], split: str, shape: Shape) -> SplitCheck:
    message, hint = check_drawable(usable, split, **asdict(shape)) or ("", "")
    own = [line for line in classes if line.split == split]
    sizes = [(line.wanted if line.published is None else line.published, line.usable) for line in own]
    whole = sum(whole for whole, _ in sizes)
    lacking = sum(max(whole - there, 0) for whole, there in sizes)
    extra = sum(max(there - whole, 0) for whole, there in sizes)
    # Each video of an episode is one of these with this chance, as if drawn one by one from the split.
    share = (lacking + extra) / (whole + extra)
    return SplitCheck(
        split,
        classes=len(splits.classes(split)),
        left=len(usable.classes(split)),
        protocol=splits.header["protocol"] if split in _published(splits) else None,
        whole=whole,
        lacking=lacking,
        extra=extra,
        shape=shape,
        touched=1 - (1 - share) ** (shape.way * (shape.shot + shape.queries)),
        problem=message,
        remedy=hint,
    )
