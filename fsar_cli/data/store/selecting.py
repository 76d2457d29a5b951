"""Which clips an extraction makes of the videos found: those that annotations mark, those that a split file lists.

Names are matched by the rule of `naming`. A clip that is cut from a video is called after the video and its seconds, as
in Kinetics: `Abuse/Abuse001_x264_000008_000010`; six digits, and three decimals where a time is no whole second. Its
class is the annotation's.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from fsar_cli.data.naming import match_videos
from fsar_cli.data.store.records import Clips
from fsar_cli.data.store.sources import Source

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


def cut(sources: Sequence[Source], segments: Mapping[str, Sequence[Span]], clips: Clips) -> Selection:
    """The clips of annotated videos.

    Args:
        segments: {"class/stem": disjoint (start, end) in seconds, perhaps none}.
        clips: `segment` makes each a clip, `longest` the longest one (the first of equals), `whole` all of the video.
    """
    by_id = {source.id: source for source in sources}
    matches = match_videos(segments, by_id)
    chosen, uncut = [], []
    for video, found in matches.found.items():
        spans = _spans(segments[video], clips)
        chosen += [_clip(by_id[found], video, span) for span in spans]
        uncut += [] if spans else [video]
    unwanted = _unwanted(by_id, matches)
    return Selection(_sorted(chosen), matches.missing, matches.ambiguous, tuple(uncut), unwanted)


def listed(sources: Sequence[Source], ids: Iterable[str]) -> Selection:
    """The clips that a list names, under the ids they have here."""
    by_id = {source.id: source for source in sources}
    matches = match_videos(ids, by_id)
    chosen = _sorted(by_id[found] for found in matches.found.values())
    return Selection(chosen, matches.missing, matches.ambiguous, (), _unwanted(by_id, matches))


def _spans(spans: Sequence[Span], clips: Clips) -> Sequence[Span | None]:
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
    return Source(f"{cls}/{stem}{stamps}", cls, source.path, span and (float(span[0]), float(span[1])))


def _stamp(seconds: float) -> str:
    return f"{seconds:06.0f}" if seconds == round(seconds) else f"{seconds:010.3f}"


def _sorted(sources: Iterable[Source]) -> list[Source]:
    return sorted(sources, key=lambda source: source.id)


def _unwanted(ids: Iterable[str], matches) -> tuple[str, ...]:
    candidates = {name for names in matches.ambiguous.values() for name in names}
    return tuple(sorted(set(ids) - set(matches.found.values()) - candidates))
