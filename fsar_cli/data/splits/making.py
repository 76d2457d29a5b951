"""How a split file is made: a published protocol matched to a tree, or a seeded partition of any tree.

- A protocol fixes the classes of each split; its names are matched to folders by `tree.fold`.
- `arn` style on any tree: every video of every class; classes drawn by ratio 31/10/10, by count, or named.
- `cmn` style: as many classes as there are, at most 100, by ratio 64/12/24, and 100 videos drawn of each.

The draw of classes depends on the seed and the class names; the draw of a class's videos on the seed, the class name
and its videos only, so that another class coming or going leaves it as it is.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fsar_cli import __version__
from fsar_cli.data.naming import match_folders
from fsar_cli.data.splits.file import Splits, Video
from fsar_cli.data.splits.groups import assign_groups
from fsar_cli.data.splits.protocols import SPLITS, STYLES, Protocol, protocol, protocols
from fsar_cli.data.splits.tree import Tree
from fsar_cli.errors import DataError, UsageError, did_you_mean

RATIOS = {"arn": (31, 10, 10), "cmn": (64, 12, 24)}
"""Classes of train, val and test in the protocol each style is named after."""

PER_CLASS = 100
"""Videos per class in cmn style."""


@dataclass(frozen=True)
class ClassCount:
    """One class of a split: its folder (None: absent), videos the rule asks for and videos there are."""

    split: str
    cls: str
    folder: str | None
    wanted: int
    found: int

    @property
    def missing(self) -> int:
        """Videos that are asked for and not there."""
        return max(self.wanted - self.found, 0)


@dataclass(frozen=True)
class Made:
    """A split list and what came of making it: a line a class, folders left out, videos the group rule did not fit."""

    splits: Splits
    classes: tuple[ClassCount, ...]
    unused: tuple[str, ...]
    ungrouped: int


@dataclass(frozen=True)
class _Plan:
    """For each split {class name: videos asked for, None for all there are}; `folders` {class name: folder}."""

    wanted: Mapping[str, Mapping[str, int | None]]
    folders: Mapping[str, str]
    header: Mapping[str, str]


def make(
    rule: str,
    tree: Tree,
    *,
    seed: int = 0,
    counts: Sequence[int] | None = None,
    lists: Mapping[str, Sequence[str]] | None = None,
    per_class: int | None = None,
    group_by: str | None = None,
    allow_missing: bool = False,
) -> Made:
    """Make the split list of a tree.

    Args:
        rule: name of a published protocol, or the style `arn` or `cmn`.
        counts: (train, val, test) classes exactly, or (total,) to be shared out by the style's ratio.
        lists: class names by split, in place of a draw.
        per_class: videos drawn of each class; default all for arn, 100 for cmn.
        group_by: regular expression on the id; its first capture group (else the whole match) is the video's group.
            None: the protocol's own rule, if it has one; "": no groups.
        allow_missing: keep what there is where classes or videos are missing.

    Raises:
        UsageError: unknown rule, or options that do not go together.
        DataError: classes or videos missing, or too few of them.
    """
    if rule in STYLES:
        plan = _style_plan(rule, tree, seed, counts, lists, per_class, allow_missing)
    else:
        if counts or lists or per_class:
            raise UsageError(
                f"the protocol '{_known(rule).name}' fixes the classes and videos",
                "drop --classes, --train, --val, --test and --videos, or take the style arn or cmn",
            )
        plan = _protocol_plan(protocol(rule), tree)
        group_by = protocol(rule).groups if group_by is None else group_by
    report = _report(plan, tree)
    if not allow_missing:
        _refuse_missing(report)
    splits, ungrouped = _rows(plan, tree, seed, group_by or "")
    unused = tuple(name for name in tree.classes if name not in {entry.folder for entry in report})
    return Made(splits, report, unused, ungrouped)


def _known(rule: str) -> Protocol:
    known = [*protocols(), *STYLES]
    if rule not in known:
        raise UsageError(f"unknown protocol '{rule}'", did_you_mean(rule, known) or f"allowed: {', '.join(known)}")
    return protocol(rule)


def _protocol_plan(chosen: Protocol, tree: Tree) -> _Plan:
    names = [cls for split in chosen.classes.values() for cls in split]
    folders = match_folders(names, tree.classes)
    if not folders:
        raise DataError(
            f"no class of {chosen.name} is in {tree.root}, which has {_some(list(tree.classes))}",
            f"`fsar splits show {chosen.name}` lists the classes; the folders must carry their names",
        )
    # Every clip of a class belongs to an arn protocol; a count above the published one is kept and shows in the report.
    return _Plan(chosen.classes, folders, {"protocol": chosen.name, "style": chosen.style})


def _style_plan(
    style: str,
    tree: Tree,
    seed: int,
    counts: Sequence[int] | None,
    lists: Mapping[str, Sequence[str]] | None,
    per_class: int | None,
    allow_missing: bool,
) -> _Plan:
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, not {seed}")
    limit = per_class or (PER_CLASS if style == "cmn" else None)
    if lists:
        if counts:
            raise UsageError("classes are given both by count and by name", "use --classes or --train/--val/--test")
        chosen = _named(lists, tree)
    else:
        chosen = _drawn(style, tree, seed, counts, 1 if allow_missing else limit or 1)
    wanted = {split: dict.fromkeys(names, limit) for split, names in chosen.items()}
    header = {"protocol": "none", "style": style}
    if not lists or limit:
        header["seed"] = str(seed)
    return _Plan(wanted, {name: name for names in chosen.values() for name in names}, header)


def _named(lists: Mapping[str, Sequence[str]], tree: Tree) -> dict[str, list[str]]:
    names = [name for split in lists.values() for name in split]
    folders = match_folders(names, tree.classes)
    for name in names:
        if name not in folders:
            known = list(tree.classes)
            raise DataError(f"no class '{name}' in {tree.root}", did_you_mean(name, known) or f"it has {_some(known)}")
    return {split: sorted({folders[name] for name in lists.get(split, ())}) for split in SPLITS}


def _drawn(style: str, tree: Tree, seed: int, counts: Sequence[int] | None, at_least: int) -> dict[str, list[str]]:
    able = [name for name, videos in tree.classes.items() if len(videos) >= at_least]
    if len(able) < (sum(counts) if counts else 2):
        raise DataError(
            f"{len(able)} of the {len(tree.classes)} classes in {tree.root} have {at_least} videos or more;"
            f" {sum(counts) if counts else 2} classes are needed",
            _remedy(tree, counts),
        )
    if counts and len(counts) == len(SPLITS):
        sizes = tuple(counts)
    else:
        total = counts[0] if counts else len(able) if style == "arn" else min(len(able), sum(RATIOS[style]))
        sizes = share_out(total, RATIOS[style])
    keys = np.random.default_rng([seed, zlib.crc32(b"classes")]).random(len(able))
    order = [able[i] for i in np.argsort(keys, kind="stable")]
    edges = np.cumsum((0, *sizes))
    return {split: sorted(order[edges[i] : edges[i + 1]]) for i, split in enumerate(SPLITS)}


def _remedy(tree: Tree, counts: Sequence[int] | None) -> str:
    sizes = sorted((len(videos) for videos in tree.classes.values()), reverse=True)
    need = sum(counts) if counts else len(sizes)
    if need > len(sizes):
        return f"ask for {len(sizes)} classes or fewer in all"
    return f"--per-class {sizes[need - 1]} leaves {need} classes; --allow-missing takes what there is"


def share_out(total: int, ratio: Sequence[int]) -> tuple[int, ...]:
    """Share `total` classes out by ratio (largest remainder); the last split, test, gets one at least.

    >>> share_out(6, (31, 10, 10))
    (4, 1, 1)
    """
    exact = [total * part / sum(ratio) for part in ratio]
    sizes = [int(value) for value in exact]
    # Ties go to the later split: an evaluation needs its test classes before training needs one more.
    by_remainder = sorted(range(len(ratio)), key=lambda i: (exact[i] - sizes[i], i), reverse=True)
    for i in by_remainder[: total - sum(sizes)]:
        sizes[i] += 1
    if total and not sizes[-1]:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[-1] = 1
    return tuple(sizes)


def _report(plan: _Plan, tree: Tree) -> tuple[ClassCount, ...]:
    lines = []
    for split in SPLITS:
        for cls, number in plan.wanted.get(split, {}).items():
            folder = plan.folders.get(cls)
            found = len(tree.classes[folder]) if folder else 0
            lines.append(ClassCount(split, cls, folder, found if number is None else number, found))
    return tuple(lines)


def _refuse_missing(report: Sequence[ClassCount]) -> None:
    absent = [entry.cls for entry in report if entry.folder is None]
    short = [f"{e.cls} ({e.found} of {e.wanted})" for e in report if e.folder and e.missing]
    if absent or short:
        parts = [f"no folder for {_some(absent)}"] if absent else []
        parts += [f"too few videos of {_some(short)}"] if short else []
        raise DataError(
            f"{sum(e.missing for e in report)} videos are missing: {'; '.join(parts)}",
            "complete the tree, or take what there is with --allow-missing (the report says what is missing)",
        )


def _rows(plan: _Plan, tree: Tree, seed: int, group_by: str) -> tuple[Splits, int]:
    # A protocol's count is what is published, not a number to draw: take every clip.
    draws = plan.header["protocol"] == "none"
    chosen: list[tuple[str, str, str]] = []
    for split, classes in plan.wanted.items():
        for cls, number in classes.items():
            videos = tree.classes.get(plan.folders.get(cls, ""), ())
            limit = number if draws else None
            chosen += [(split, cls, video) for video in _draw_videos(videos, cls, limit, seed)]
    groups = assign_groups([video for _, _, video in chosen], group_by)
    rows = tuple((split, Video(cls, video, groups[video])) for split, cls, video in chosen)
    header = {**plan.header, "group-by": group_by or "none", "tree": str(tree), "created-by": f"fsar {__version__}"}
    return Splits(rows, header), sum(not group for group in groups.values()) if group_by else 0


def _draw_videos(videos: Sequence[str], cls: str, number: int | None, seed: int) -> list[str]:
    if number is None or number >= len(videos):
        return list(videos)
    keys = np.random.default_rng([seed, zlib.crc32(cls.encode())]).random(len(videos))
    return sorted(videos[i] for i in np.argsort(keys, kind="stable")[:number])


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
