"""One content in two splits: a video that is there twice, as a link or a copy, would be trained on and tested on.

A frame store remembers the content of its sources. Of video files those of one size are looked at, first their ends,
then whole, so that a hundred thousand different ones are told apart in seconds.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fsar_cli.data.splits.file import Splits
from fsar_cli.data.splits.plan import some
from fsar_cli.data.splits.protocols import SPLITS
from fsar_cli.data.splits.tree import Tree
from fsar_cli.data.store.origin import content_of
from fsar_cli.data.store.records import Record, read_manifest
from fsar_cli.errors import DataError, counted
from fsar_cli.reporting import Reporter

END = 1 << 16
"""Bytes at a file's end that are looked at first."""
TWINS = "duplicates"
"""Key of a split file's header: `allowed`."""
Place = tuple[str, str]
"""(split, id in the tree)."""


def find_twins(places: Iterable[Place], tree: Tree) -> list[tuple[Place, ...]]:
    """The videos of a split that another split holds too: groups of the same content, each in two splits or more."""
    groups = [sorted(set(places), key=lambda place: (SPLITS.index(place[0]), place[1]))]
    if tree.is_store:
        records = {record.id: record for record in read_manifest(tree.root)}
        steps: tuple[Callable[[str], Hashable], ...] = (lambda video: _remembered(records[video]),)
    elif tree.kind == "videos":
        files = tree.files
        steps = (lambda v: files[v].stat().st_size, lambda v: _end(files[v]), lambda v: content_of(files[v]))
    else:
        return []
    for step in steps:
        groups = [part for group in groups for part in _parted(group, step)]
    return sorted(map(tuple, groups))


def _parted(group: list[Place], of: Callable[[str], Hashable]) -> Iterable[list[Place]]:
    """The parts of a group whose videos have one key, and are in two splits; what has no key is in none."""
    parts = defaultdict(list)
    for split, video in group:
        with suppress(OSError, KeyError):  # gone since the tree was listed
            if key := of(video):
                parts[key].append((split, video))
    return [part for part in parts.values() if len({split for split, _ in part}) > 1]


def _remembered(record: Record) -> Hashable:
    return record.source_content and (record.source_content, record.start, record.source_frames)


def _end(file: Path) -> bytes:
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - END))
        return hashlib.blake2b(stream.read()).digest()


def accepts_twins(splits: Splits) -> bool:
    """Whether a published protocol lists its videos so, or whoever made the list took them as they are."""
    return splits.published or splits.header.get(TWINS) == "allowed"


def refuse_twins(splits: Splits, tree: Tree, allowed: bool, reporter: Reporter) -> Splits:
    """Refuse a split list of a tree with the same content in two splits; one that accepts it comes back.

    Args:
        allowed: accept it now; the list's header remembers it.

    Raises:
        DataError: there is such content, and it is not accepted.
    """
    twins = find_twins(((split, video.id) for split, video in splits.rows), tree)
    if not twins:
        return splits
    names = some([" = ".join(map(" ".join, group)) for group in twins])
    text = f"{counted(len(twins), 'video')} of the same content in two splits: {names}"
    if not allowed and not accepts_twins(splits):
        hint = "keep one of each, put their classes into one split, or take them as they are with --allow-duplicates"
        raise DataError(text, f"{hint}; `fsar extract-frames --prune` removes clips whose video is gone")
    reporter.warn(text)
    return replace(splits, header={**splits.header, TWINS: "allowed"}) if allowed else splits
