"""Video trees whose files are empty, for what looks at names only."""

from collections.abc import Iterable
from pathlib import Path

from fsar_cli.data.splits.tree import Tree


def touch(root: Path, *names: str) -> Path:
    """Empty files below a folder, which comes back."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def act_tree(root: Path) -> Path:
    """6 classes of 12 empty files, whose names hold brackets and a sequence."""
    return touch(root, *(f"act {c}/clip[{v}]_seq{v:02d}.avi" for c in range(6) for v in range(12)))


def tree_of(ids: Iterable[str]) -> Tree:
    """The tree `videos` that holds these ids, without a disk."""
    classes: dict[str, list[str]] = {}
    for video in sorted(ids):
        classes.setdefault(video.rpartition("/")[0], []).append(video)
    return Tree(Path("videos"), "videos", {name: tuple(videos) for name, videos in sorted(classes.items())})
