"""Does a split file fit a tree, and can the episodes one wants be drawn from what is there?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from fsar_cli.data.episodes import check_drawable
from fsar_cli.data.splits.file import Splits
from fsar_cli.data.splits.tree import Tree


@dataclass(frozen=True)
class Shape:
    """What an episode of a split is to hold."""

    way: int
    shot: int
    queries: int
    group_disjoint: bool = False


@dataclass(frozen=True)
class ClassCheck:
    """One class of a split: videos the split file lists, how many the tree has, and the ids it lacks."""

    split: str
    cls: str
    wanted: int
    found: int
    missing: tuple[str, ...]
    enough: bool
    """Whether the videos found are enough for shot + queries."""


@dataclass(frozen=True)
class SplitCheck:
    """One split: why its episodes cannot be drawn from the videos found, and what would do; empty if they can."""

    split: str
    classes: int
    shape: Shape
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """The whole report; `unlisted` are the tree's videos that the split file does not name."""

    classes: tuple[ClassCheck, ...]
    splits: tuple[SplitCheck, ...]
    unlisted: int

    @property
    def missing(self) -> int:
        """Videos listed and not there."""
        return sum(len(entry.missing) for entry in self.classes)

    @property
    def ok(self) -> bool:
        """Nothing is missing and every split can be drawn from."""
        return not self.missing and not any(entry.problem for entry in self.splits)


def check(splits: Splits, tree: Tree, shapes: Mapping[str, Shape]) -> Check:
    """Compare a split list with a tree, class by class, and try to draw each split's episodes from what is there.

    Args:
        shapes: the episodes wanted of each split the list holds.
    """
    found = keep(splits, tree)
    classes = tuple(
        _class(splits, tree, split, cls, shapes[split]) for split in splits.names for cls in splits.classes(split)
    )
    drawable = []
    for split in splits.names:
        message, hint = check_drawable(found, split, **asdict(shapes[split])) or ("", "")
        drawable.append(SplitCheck(split, len(splits.classes(split)), shapes[split], message, hint))
    listed = {video.id for _, video in splits.rows}
    return Check(classes, tuple(drawable), len(tree.ids - listed))


def _class(splits: Splits, tree: Tree, split: str, cls: str, shape: Shape) -> ClassCheck:
    videos = splits.videos(split, cls)
    missing = tuple(video.id for video in videos if video.id not in tree.ids)
    found = len(videos) - len(missing)
    return ClassCheck(split, cls, len(videos), found, missing, found >= shape.shot + shape.queries)


def keep(splits: Splits, tree: Tree) -> Splits:
    """The rows of a split list whose video the tree has."""
    return Splits(tuple(row for row in splits.rows if row[1].id in tree.ids), splits.header)
