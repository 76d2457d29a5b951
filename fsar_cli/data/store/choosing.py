"""Which clips an extraction makes: the videos found, cut by annotations, kept to a split file.

Names are matched by the rule of `naming`. A clip that is cut from a video is called after the video and its seconds, as
in Kinetics: `Abuse/Abuse001_x264_000008_000010`; six digits, and three decimals where a time is no whole second. Its
class is the annotation's.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zlib import crc32

from fsar_cli.data.annotations.segments import Annotations, read_annotations
from fsar_cli.data.naming import match_videos
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.sources import FoundVideos, Source, find_videos
from fsar_cli.errors import DataError, counted

NAMED = 12
"""Videos that a line names; programs get all."""
LONGEST = 255
"""Bytes of a file's name; where the stamps would make it longer, the video's name is cut and marked by its checksum."""
Span = tuple[float, float]


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
        if self.annotations and (dropped := sum(finding.dropped for finding in self.annotations.findings)):
            yield f"annotations: dropped {counted(dropped, 'row or segment')} (`fsar annotations` names each)"
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
        some = selection.missing or selection.uncut or selection.others
        raise DataError(
            f"none of the {len(chosen.sources)} clips or videos found is named by {wish}",
            f"it names for example {some[0]}, there is {chosen.sources[0].id}: compare the two",
        )
    chosen.sources, chosen.gaps[wish] = selection.sources, selection


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


def cut(sources: Sequence[Source], segments: Mapping[str, Sequence[Span]], clips: str) -> Selection:
    """The clips of annotated videos.

    Args:
        segments: {"class/stem": disjoint (start, end) in seconds, perhaps none}.
        clips: `segment` makes each a clip, `longest` the longest one (the first of equals), `whole` all of the video.
    """
    by_id = {source.id: source for source in sources}
    matches = match_videos(segments, by_id)
    chosen, uncut = [], []
    for video, file in matches.found.items():
        spans = _spans(segments[video], clips)
        chosen += [_clip(by_id[file], video, span) for span in spans]
        uncut += [] if spans else [video]
    unwanted = _unwanted(by_id, matches)
    return Selection(_sorted(chosen), matches.missing, matches.ambiguous, tuple(uncut), unwanted)


def listed(sources: Sequence[Source], ids: Iterable[str]) -> Selection:
    """The clips that a list names, under the ids they have here."""
    by_id = {source.id: source for source in sources}
    matches = match_videos(ids, by_id)
    chosen = _sorted(by_id[file] for file in matches.found.values())
    return Selection(chosen, matches.missing, matches.ambiguous, (), _unwanted(by_id, matches))


def _spans(spans: Sequence[Span], clips: str) -> Sequence[Span | None]:
    if clips == "whole":
        return [None]
    if clips == "longest" and spans:
        return [max(spans, key=lambda span: span[1] - span[0])]
    return spans


def _clip(source: Source, video: str, span: Span | None) -> Source:
    cls, _, stem = video.partition("/")
    stamps = "".join(f"_{_stamp(seconds)}" for seconds in span or ())
    if len(os.fsencode(stem + stamps)) > LONGEST:
        stem = f"{os.fsencode(stem)[:180].decode(errors='ignore')}~{crc32(os.fsencode(stem)):08x}"
    span = span and (float(span[0]), float(span[1]))
    return replace(source, id=f"{cls}/{stem}{stamps}", label=cls, span=span)


def _stamp(seconds: float) -> str:
    return f"{seconds:06.0f}" if seconds == round(seconds) else f"{seconds:010.3f}"


def _sorted(sources: Iterable[Source]) -> list[Source]:
    return sorted(sources, key=lambda source: source.id)


def _unwanted(ids: Iterable[str], matches) -> tuple[str, ...]:
    candidates = {name for names in matches.ambiguous.values() for name in names}
    return tuple(sorted(set(ids) - set(matches.found.values()) - candidates))
