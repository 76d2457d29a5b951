"""Which file of a tree an annotated video is; names are matched by the rule of `naming`.

With a folder, a video is looked for there. A name alone is looked for in the folder of its class, where there is one,
and then in the whole tree. Several annotated videos may be one file: in several classes, or spelt in several ways.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from fsar_cli.data.annotations.annotated import AnnotatedVideo
from fsar_cli.data.naming import bare, fold, match_videos


@dataclass(frozen=True)
class Lookup:
    """What became of the annotated videos: each is in exactly one of the three."""

    found: dict[AnnotatedVideo, str] = field(default_factory=dict)
    """{video: id in the tree}."""
    ambiguous: dict[AnnotatedVideo, tuple[str, ...]] = field(default_factory=dict)
    """{video: the ids it could be}."""
    missing: list[AnnotatedVideo] = field(default_factory=list)


def look_up(videos: Iterable[AnnotatedVideo], ids: Collection[str]) -> Lookup:
    """Find annotated videos among the ids "folder/name" of a tree."""
    videos, result = list(videos), Lookup()
    folders = {fold(name.rpartition("/")[0]) for name in ids}
    with_folder = {video: f"{video.place}/{video.name}" for video in videos if not video.alone}
    of_class = {video: f"{video.cls}/{video.name}" for video in videos if video.alone and fold(video.cls) in folders}
    for names in (with_folder, of_class):
        _settle(names, ids, result)
    alone = [video for video in videos if video.alone and not (video in result.found or video in result.ambiguous)]
    _settle({video: f"/{video.name}" for video in alone}, ids, result)
    settled = result.found.keys() | result.ambiguous.keys()
    result.missing.extend(video for video in videos if video not in settled)
    return result


def _settle(names: Mapping[AnnotatedVideo, str], ids: Collection[str], result: Lookup) -> None:
    """Note the videos whose names are found, or could be several files."""
    left = set(names.values())
    while left:
        # Names of one spelling but for case and signs take turns: to the rule they would be rivals for one file.
        turn = {(fold(name.rpartition("/")[0]), fold(bare(name.rpartition("/")[2]))): name for name in sorted(left)}
        left.difference_update(turn.values())
        matches = match_videos(turn.values(), ids)
        for video, name in names.items():
            if name in matches.found:
                result.found[video] = matches.found[name]
            elif name in matches.ambiguous:
                result.ambiguous[video] = matches.ambiguous[name]
