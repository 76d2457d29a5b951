"""Splits of any tree in the two published styles: which classes are train, val and test, and which videos are drawn.

- `arn`: every video of every class; classes drawn by ratio 31/10/10, by count, or named.
- `cmn`: as many classes as have 100 videos, at most 100, by ratio 64/12/24, and 100 videos drawn of each.

The draw of classes depends on the seed and the class names; the draw of a class's videos on the seed, the class name
and its videos only, so that another class coming or going leaves it as it is.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from fsar_cli.data.naming import match_folders
from fsar_cli.data.splits.plan import ClassCount, SplitPlan, some
from fsar_cli.data.splits.protocols import SPLITS
from fsar_cli.data.splits.tree import Tree
from fsar_cli.errors import DataError, UsageError, did_you_mean

RATIOS = {"arn": (31, 10, 10), "cmn": (64, 12, 24)}
"""Classes of train, val and test in the protocol each style is named after."""

PER_CLASS = 100
"""Videos per class in cmn style."""


def plan_style(
    style: str,
    tree: Tree,
    seed: int = 0,
    counts: Sequence[int] | None = None,
    named: Mapping[str, Sequence[str]] | None = None,
    per_class: int | None = None,
    allow_missing: bool = False,
) -> SplitPlan:
    """Choose classes and videos of a tree; arguments as in `making.make`.

    Raises:
        UsageError: a negative seed, or classes both by count and by name.
        DataError: a class named is not there, or too few have the videos.
    """
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, not {seed}")
    limit = per_class or (PER_CLASS if style == "cmn" else None)
    if named and counts:
        raise UsageError("classes are given both by count and by name", "use --classes or --train/--val/--test")
    at_least = 1 if named or allow_missing else limit or 1
    chosen = _named(named, tree) if named else _drawn(style, tree, seed, counts, at_least)
    homes = [(split, cls, tree.classes[cls]) for split, names in chosen.items() for cls in names]
    lines = tuple(ClassCount(split, cls, cls, limit or len(videos), len(videos)) for split, cls, videos in homes)
    rows = [(split, cls, id) for split, cls, videos in homes for id in _draw_videos(videos, cls, limit, seed)]
    header = {"protocol": "none", "style": style}
    if not named or limit:
        header["seed"] = str(seed)
    return SplitPlan(
        rows, lines, header, {c: len(videos) for c, videos in tree.classes.items() if len(videos) < at_least}
    )


def _named(named: Mapping[str, Sequence[str]], tree: Tree) -> dict[str, list[str]]:
    names = [name for split in named.values() for name in split]
    folders = match_folders(names, tree.classes)
    for name in names:
        if name not in folders:
            known = list(tree.classes)
            raise DataError(f"no class '{name}' in {tree.root}", did_you_mean(name, known) or f"it has {some(known)}")
    return {split: sorted({folders[name] for name in named.get(split, ())}) for split in SPLITS}


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


def _draw_videos(videos: Sequence[str], cls: str, number: int | None, seed: int) -> list[str]:
    if number is None or number >= len(videos):
        return list(videos)
    keys = np.random.default_rng([seed, zlib.crc32(cls.encode())]).random(len(videos))
    return sorted(videos[i] for i in np.argsort(keys, kind="stable")[:number])
