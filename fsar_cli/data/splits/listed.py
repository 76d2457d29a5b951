"""Listed videos looked up in a tree: a protocol's published lists, or a split file made elsewhere."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fsar_cli.data.naming import Matches, fold, match_videos
from fsar_cli.data.splits.file import Splits
from fsar_cli.data.splits.lists import Lists
from fsar_cli.data.splits.plan import ClassCount, SplitPlan, some
from fsar_cli.data.splits.protocols import SPLITS
from fsar_cli.data.splits.tree import Tree
from fsar_cli.errors import DataError

_EXAMPLES = 5
_COMPUTED = ("fsar-splits", "digest", "counts", "tree", "created-by")


def plan_lists(lists: Lists, tree: Tree) -> SplitPlan:
    """The videos of published lists as the tree has them.

    Raises:
        DataError: not one of them is there.
    """
    chosen = lists.protocol
    wanted = [(s, cls, f"{cls}/{video}") for s in SPLITS for cls, video in lists.lines.get(s, ())]
    name = f"{chosen.name}+{lists.variant}" if lists.variant else chosen.name
    hashes = ", ".join(f"{split} {sha}" for split, sha in lists.hashes.items())
    matches = _look_up(wanted, tree, name)
    return _plan(wanted, matches, tree, {"protocol": name, "style": chosen.style, "lists": hashes})


def plan_again(splits: Splits, tree: Tree, name: str) -> SplitPlan:
    """The videos of a split file made from another tree, with the groups it gives them.

    Raises:
        DataError: not one of them is there.
    """
    wanted = [(split, video.cls, video.id) for split, video in splits.rows]
    header = {key: value for key, value in splits.header.items() if key not in _COMPUTED}
    matches = _look_up(wanted, tree, name)
    plan = _plan(wanted, matches, tree, {"protocol": "none", **header, "made-from": splits.digest})
    return replace(plan, groups={matches.found[v.id]: v.group for _, v in splits.rows if v.id in matches.found})


def _look_up(wanted: Sequence[tuple[str, str, str]], tree: Tree, name: str) -> Matches:
    matches = match_videos((video for _, _, video in wanted), tree.ids)
    if not matches.found and not matches.ambiguous:
        raise DataError(
            f"no video of {name} is in {tree.root}, which has {tree} (such as {min(tree.ids)};"
            f" asked for are {some([video for _, _, video in wanted], 2)})",
            "--root names the folder with the videos, one folder a class or all in one",
        )
    return matches


def _plan(wanted: Sequence[tuple[str, str, str]], matches: Matches, tree: Tree, header: Mapping[str, str]) -> SplitPlan:
    rows = [(split, cls, matches.found[video]) for split, cls, video in wanted if video in matches.found]
    return SplitPlan(rows, tuple(_counts(wanted, matches, tree)), header, by_name_alone=matches.anywhere)


def _counts(wanted: Sequence[tuple[str, str, str]], matches: Matches, tree: Tree) -> Iterator[ClassCount]:
    folders = {fold(name): name for name in reversed(tree.classes)}
    classes: dict[tuple[str, str], list[str]] = {}
    for split, cls, video in wanted:
        classes.setdefault((split, cls), []).append(video)
    for (split, cls), videos in sorted(classes.items(), key=lambda pair: (SPLITS.index(pair[0][0]), pair[0][1])):
        homes = Counter(matches.found[v].rpartition("/")[0] for v in videos if v in matches.found)
        folder = homes.most_common(1)[0][0] if homes else folders.get(fold(cls))
        ambiguous = sum(video in matches.ambiguous for video in videos)
        lacking = [_instead(video, matches) for video in videos if video not in matches.found]
        yield ClassCount(split, cls, folder, len(videos), homes.total(), ambiguous, tuple(lacking[:_EXAMPLES]))


def _instead(video: str, matches: Matches) -> str:
    if video in matches.ambiguous:
        return f"{video} (could be {some(matches.ambiguous[video], 3)})"
    if video in matches.other_clips:
        return f"{video} (there is another clip of that video, {matches.other_clips[video][0]})"
    return video
