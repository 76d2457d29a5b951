"""Which clips an extraction makes: the videos found, cut by annotations, kept to a split file.

Names are matched by the rule of `naming`. A clip that is cut from a video is called after the video and its seconds, as
in Kinetics: `Abuse/Abuse001_x264_000008_000010`; six digits, and three decimals where a time is no whole second. Its
class is the annotation's, or where that has none the video's own.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zlib import crc32

from fsar_cli.data.annotations.lookup import look_up
from fsar_cli.data.annotations.segments import AnnotatedVideo, Annotations, read_annotations
from fsar_cli.data.annotations.times import Segment, disjoint
from fsar_cli.data.naming import match_videos
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.sources import FoundVideos, Source, find_videos
from fsar_cli.data.video import printable
from fsar_cli.errors import DataError, counted

NAMED = 12
"""Videos that a line names; programs get all."""
LONGEST = 255
"""Bytes of a file's name; where the stamps would make it longer, the video's name is cut and marked by its checksum."""


@dataclass(frozen=True)
class Selection:
    """The clips to extract, and what of the wish list has none."""

    sources: list[Source]
    """Sorted by id."""
    missing: tuple[str, ...]
    """Wanted videos that are not there."""
    ambiguous: Mapping[str, tuple[str, ...]]
    """{wanted video: the videos it could be}."""
    uncut: tuple[str, ...]
    """Videos that are there and annotated, but without a segment."""
    others: tuple[str, ...]
    """Videos that nobody wants."""


@dataclass
class ChosenClips:
    """The clips to extract and what was left out on the way."""

    videos: FoundVideos
    sources: list[Source]
    annotations: Annotations | None = None
    gaps: dict[str, Selection] = field(default_factory=dict)
    """What is missing of the annotations and of the split file, by their names."""

    def lines(self, names: int = NAMED) -> Iterator[str]:
        """A line for each kind of thing that was left out, with at most so many names."""
        if self.videos.left_out():
            yield self.videos.left_out()
        if self.annotations and (dropped := self.annotations.dropped()):
            yield f"annotations: dropped {counted(len(dropped), 'entry')} (`fsar annotations` names each)"
            yield from (f"  {finding}" for finding in dropped[:names])
        for wish, gap in self.gaps.items():
            yield from _lines(wish, gap, names)

    def document(self) -> dict[str, Any]:
        """The same for programs, with all names of what is wanted."""
        return {wish: _document(gap) for wish, gap in self.gaps.items()}


def choose_clips(videos: Sequence[Path], annotations: Path | None, clips: str, splits: Path | None) -> ChosenClips:
    """Find the videos of folders, lists and files and what of them is to be extracted.

    Args:
        annotations: file or folder of temporal annotations; None: each video is a clip.
        clips: as `extract.clips`.
        splits: split file outside of which nothing is extracted; None: everything is.

    Raises:
        DataError: a path that cannot be read, or no clip at all.
        UsageError: as `find_videos`.
    """
    there = find_videos(videos)
    chosen = ChosenClips(there, there.sources)
    if annotations:
        chosen.annotations = read_annotations([annotations])
        _narrow(chosen, str(annotations), cut(chosen.sources, chosen.annotations.videos, clips))
    if splits:
        ids = [video.id for _, video in Splits.read(splits).rows]
        _narrow(chosen, str(splits), listed(chosen.sources, ids))
    return chosen


def _narrow(chosen: ChosenClips, wish: str, selection: Selection) -> None:
    if not selection.sources:
        raise _nothing_left(chosen, wish, selection)
    chosen.sources, chosen.gaps[wish] = selection.sources, selection


def _nothing_left(chosen: ChosenClips, wish: str, selection: Selection) -> DataError:
    if not (selection.ambiguous or selection.uncut):
        text = f"none of the {len(chosen.sources)} clips or videos found is named by {wish}"
        return DataError(
            text, f"it names for example {selection.missing[0]}, there is {chosen.sources[0].id}: compare the two"
        )
    whys = list(_lines(wish, replace(selection, missing=(), others=()), NAMED))
    dropped = chosen.annotations.dropped() if chosen.annotations else []
    hint = (
        "write the folder before the name, as in cam1/clip.mp4"
        if selection.ambiguous
        else f"`fsar annotations {wish}` names each row"
    )
    return DataError(f"no clip is left: {'; '.join([*whys, *map(str, dropped[:1])])}", hint)


def _lines(wish: str, gap: Selection, names: int) -> Iterator[str]:
    if gap.missing:
        yield f"{len(gap.missing)} of {wish} are not there: {_some(gap.missing, names)}"
    if gap.ambiguous:
        pairs = [f"{name} ({' or '.join(ids)})" for name, ids in gap.ambiguous.items()]
        yield f"{len(pairs)} of {wish} could be several files and are left out: {_some(pairs, names)}"
    if gap.uncut:
        yield f"{len(gap.uncut)} of {wish} have no segment and are left out: {_some(gap.uncut, names)}"
    if gap.others:
        yield f"{len(gap.others)} found that {wish} does not name are left out: {_some(gap.others, names)}"


def _some(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more (--verbose names all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _document(gap: Selection) -> dict[str, Any]:
    return {
        "clips": len(gap.sources),
        "missing": list(gap.missing),
        "ambiguous": {name: list(ids) for name, ids in gap.ambiguous.items()},
        "without_segment": list(gap.uncut),
        "not_named": len(gap.others),
    }


def cut(sources: Sequence[Source], segments: Mapping[AnnotatedVideo, Sequence[Segment]], clips: str) -> Selection:
    """The clips of annotated videos.

    Args:
        segments: of each video and class, disjoint, perhaps none.
        clips: `segment` makes each a clip, `longest` the longest one (the first of equals), `whole` all of the video.

    Raises:
        DataError: two clips would have one id.
    """
    by_id = {source.id: source for source in sources}
    lookup = look_up(segments, by_id)
    stretches: dict[tuple[str, str], list[Segment]] = {}
    names: dict[tuple[str, str], str] = {}
    for video, file in lookup.found.items():
        clip = file, video.cls or by_id[file].label
        names.setdefault(clip, video.stem)
        stretches.setdefault(clip, []).extend(segments[video])
    names = _apart(names, by_id)
    chosen = [
        _clip(by_id[file], cls, names[file, cls], span)
        for (file, cls), spans in stretches.items()
        for span in _spans(disjoint(spans)[0], clips)  # two spellings of a video may share a moment
    ]
    _refuse_twins(chosen)
    empty = [] if clips == "whole" else [clip for clip, spans in stretches.items() if not spans]
    uncut = tuple(f"{clip[1]}/{names[clip]}" for clip in empty)
    ambiguous = {str(video): ids for video, ids in lookup.ambiguous.items()}
    candidates = {name for ids in ambiguous.values() for name in ids}
    others = tuple(sorted(by_id.keys() - set(lookup.found.values()) - candidates))
    return Selection(_sorted(chosen), tuple(map(str, lookup.missing)), ambiguous, uncut, others)


def _apart(names: Mapping[tuple[str, str], str], by_id: Mapping[str, Source]) -> dict[tuple[str, str], str]:
    """{(file, class): name}: videos of one name in one class, of two cameras say, get their folder's name in front."""
    shared = Counter((cls, name) for (_, cls), name in names.items())
    return {
        (file, cls): name if shared[cls, name] == 1 else f"{by_id[file].path.parent.name}_{name}"
        for (file, cls), name in names.items()
    }


def _refuse_twins(clips: Iterable[Source]) -> None:
    first: dict[str, Source] = {}
    for clip in clips:
        if (other := first.setdefault(clip.id, clip)) is not clip:
            text = f"clips of {printable(other.path)} and {printable(clip.path)} would both be '{printable(clip.id)}'"
            raise DataError(text, "rename one of the videos")


def listed(sources: Sequence[Source], ids: Iterable[str]) -> Selection:
    """The clips that a list names, under the ids they have here."""
    by_id = {source.id: source for source in sources}
    matches = match_videos(ids, by_id)
    chosen = _sorted(by_id[file] for file in matches.found.values())
    candidates = {name for names in matches.ambiguous.values() for name in names}
    others = tuple(sorted(by_id.keys() - set(matches.found.values()) - candidates))
    return Selection(chosen, matches.missing, matches.ambiguous, (), others)


def _spans(spans: Sequence[Segment], clips: str) -> Sequence[Segment | None]:
    if clips == "whole":
        return [None]
    if clips == "longest" and spans:
        return [max(spans, key=lambda span: span.end - span.start)]
    return spans


def _clip(source: Source, cls: str, stem: str, span: Segment | None) -> Source:
    stamps = f"_{_stamp(span.start)}_{_stamp(span.end)}" if span else ""
    if len(os.fsencode(stem + stamps)) > LONGEST:
        stem = f"{os.fsencode(stem)[:180].decode(errors='ignore')}~{crc32(os.fsencode(stem)):08x}"
    times = (float(span.start), float(span.end)) if span else None
    at = span.at if span else ""
    return replace(source, id=f"{cls}/{stem}{stamps}", label=cls, span=times, at=at)


def _stamp(seconds: float) -> str:
    return f"{seconds:06.0f}" if seconds == round(seconds) else f"{seconds:010.3f}"


def _sorted(sources: Iterable[Source]) -> list[Source]:
    return sorted(sources, key=lambda source: source.id)
