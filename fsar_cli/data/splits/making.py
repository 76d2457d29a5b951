"""How a split file is made: a published protocol or another split file matched to a tree, or any tree in a style.

- A protocol of which every clip belongs to its class takes each class's folder (`naming.match_folders`).
- A protocol with lists, and a split file made elsewhere, take the listed videos (`naming.match_videos`).
- The styles `arn` and `cmn` draw classes and videos by a seed (`styles`).

Classes are disjoint by construction: a class has one split, and a file that says otherwise is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fsar_cli import __version__
from fsar_cli.data.naming import match_folders
from fsar_cli.data.splits.file import Splits, Video
from fsar_cli.data.splits.groups import assign_groups, group_pattern
from fsar_cli.data.splits.listed import plan_again, plan_lists
from fsar_cli.data.splits.lists import Lists
from fsar_cli.data.splits.plan import ClassCount, SplitPlan, some
from fsar_cli.data.splits.protocols import STYLES, Protocol, protocol, protocols
from fsar_cli.data.splits.styles import plan_style
from fsar_cli.data.splits.tree import Tree
from fsar_cli.errors import DataError, UsageError, did_you_mean

CUT_FROM = "the video that a clip is cut from"
"""Of the header's `group-by`, where no rule is given and several clips are of one video."""


@dataclass(frozen=True)
class Made:
    """A split list and what came of making it: a line a class, and what the rule left over.

    `unused` are folders without a video in it, `left_out` {class: videos} the classes too small for the style,
    `ungrouped` the number of videos that the group rule does not fit, `by_name_alone` whether no class had a folder.
    """

    splits: Splits
    classes: tuple[ClassCount, ...]
    unused: tuple[str, ...]
    ungrouped: int
    left_out: Mapping[str, int]
    by_name_alone: bool


def make(
    rule: str,
    tree: Tree,
    *,
    seed: int = 0,
    counts: Sequence[int] | None = None,
    lists: Mapping[str, Sequence[str]] | None = None,
    per_class: int | None = None,
    published: Lists | None = None,
    group_by: str | None = None,
    allow_missing: bool = False,
) -> Made:
    """Make the split list of a tree.

    Args:
        rule: name of a published protocol, or the style `arn` or `cmn`.
        counts: (train, val, test) classes exactly, or (total,) to be shared out by the style's ratio.
        lists: class names by split, in place of a draw.
        per_class: videos drawn of each class; default all for arn, 100 for cmn.
        published: the protocol's lists, where it needs them (`lists.find_lists`) or they are to be followed anyway.
        group_by: data set whose group rule to use, or a regular expression on the id; its first capture group (else
            the whole match) is the video's group. None: the protocol's own rule, if it has one, else the video that
            clips are cut from; "": no groups.
        allow_missing: keep what there is where classes or videos are missing.

    Raises:
        UsageError: unknown rule, or options that do not go together.
        DataError: classes or videos missing or ambiguous, or too few of them.
    """
    if rule in STYLES:
        return _made(
            plan_style(rule, tree, seed, counts, lists, per_class, allow_missing), tree, group_by, allow_missing
        )
    chosen = _known(rule)
    if counts or lists or per_class:
        raise UsageError(
            f"the protocol '{chosen.name}' fixes the classes and videos",
            "drop --classes, --train, --val, --test and --per-class, or take the style arn or cmn",
        )
    if chosen.needs_lists and published is None:
        raise UsageError(f"the protocol '{chosen.name}' is made from its published lists", "read them with find_lists")
    plan = plan_lists(published, tree) if published else _plan_classes(chosen, tree)
    return _made(plan, tree, chosen.groups if group_by is None else group_by, allow_missing)


def remake(
    splits: Splits,
    tree: Tree,
    *,
    name: str = "the split file",
    group_by: str | None = None,
    allow_missing: bool = False,
) -> Made:
    """Look the videos of a split file up in another tree; classes stay, groups too unless `group_by` is given.

    Raises:
        DataError: videos missing or ambiguous.
    """
    plan = plan_again(splits, tree, name)
    if group_by is not None:
        plan = replace(plan, groups=None)
    return _made(plan, tree, group_by, allow_missing)


def _known(rule: str) -> Protocol:
    allowed = [*protocols(), *STYLES]
    if rule not in allowed:
        raise UsageError(f"unknown protocol '{rule}'", did_you_mean(rule, allowed) or f"allowed: {', '.join(allowed)}")
    return protocol(rule)


def _plan_classes(chosen: Protocol, tree: Tree) -> SplitPlan:
    wanted = [(split, cls, number) for split in chosen.splits for cls, number in chosen.classes[split].items()]
    folders = match_folders((cls for _, cls, _ in wanted), tree.classes)
    if not folders:
        raise DataError(
            f"no class of {chosen.name} is in {tree.root}, which has {some(list(tree.classes))}",
            f"`fsar splits show {chosen.name}` lists the classes; the folders must carry their names",
        )
    # A count above the published one is kept and shows in the report.
    videos = {cls: tree.classes[folder] for cls, folder in folders.items()}
    lines = (
        ClassCount(split, cls, folders.get(cls), number, _count(chosen, videos.get(cls, ())))
        for split, cls, number in wanted
    )
    rows = [(split, cls, video) for split, cls, _ in wanted for video in videos.get(cls, ())]
    return SplitPlan(rows, tuple(lines), {"protocol": chosen.name, "style": chosen.style})


def _count(chosen: Protocol, videos: Sequence[str]) -> int:
    """Clips, or the videos they were cut from where the protocol counts those."""
    if chosen.clips != "annotated" or not chosen.groups:
        return len(videos)
    return len({group or video for video, group in assign_groups(videos, chosen.groups, strict=False).items()})


def _made(plan: SplitPlan, tree: Tree, group_by: str | None, allow_missing: bool) -> Made:
    if not allow_missing:
        plan.refuse_incomplete()
    pattern = group_pattern(group_by or "")
    videos = [video for _, _, video in plan.rows]
    cut_from = tree.cut_from() if plan.groups is None and group_by is None else {}
    groups = plan.groups if plan.groups is not None else cut_from or assign_groups(videos, pattern)
    rows = tuple((split, Video(cls, video, groups[video])) for split, cls, video in plan.rows)
    header = {"group-by": pattern or (CUT_FROM if cut_from else "none")} if plan.groups is None else {}
    header = {**plan.header, **header, "tree": str(tree), "created-by": f"fsar {__version__}"}
    used = {video.rpartition("/")[0] for video in videos}
    unused = tuple(name for name in tree.classes if name not in used and name not in plan.left_out)
    ungrouped = sum(not group for group in groups.values()) if pattern else 0
    return Made(Splits(rows, header), plan.classes, unused, ungrouped, plan.left_out, plan.by_name_alone)
