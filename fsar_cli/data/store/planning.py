"""Which clips an extraction makes: the videos found, cut by annotations, kept to a split file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsar_cli.data.annotations.segments import Annotations, read_annotations
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.records import Clips
from fsar_cli.data.store.selecting import Selection, cut, listed
from fsar_cli.data.store.sources import Found, Source, find_videos
from fsar_cli.errors import DataError, counted

NAMED = 12
"""Videos that a line names; programs get all."""


@dataclass
class Chosen:
    """The clips to extract and what was left out on the way."""

    found: Found
    sources: list[Source]
    annotations: Annotations | None = None
    gaps: dict[str, Selection] = field(default_factory=dict)
    """What is missing of the annotations and of the split file, by their names."""

    def lines(self, names: int = NAMED) -> Iterator[str]:
        """A line for each kind of thing that was left out, with at most so many names."""
        if self.found.left_out():
            yield self.found.left_out()
        if self.annotations and (dropped := sum(finding.dropped for finding in self.annotations.findings)):
            yield f"annotations: dropped {counted(dropped, 'row or segment')} (`fsar annotations` names each)"
        for wish, gap in self.gaps.items():
            yield from _lines(wish, gap, names)

    def document(self) -> dict[str, Any]:
        """The same for programs, with all names of what is wanted."""
        return {wish: _document(gap) for wish, gap in self.gaps.items()}


def choose_clips(videos: Sequence[Path], annotations: Path | None, clips: Clips, splits: Path | None) -> Chosen:
    """Find the videos of folders, lists and files and what of them is to be extracted.

    Args:
        annotations: file or folder of temporal annotations; None: each video is a clip.
        splits: split file outside of which nothing is extracted; None: everything is.

    Raises:
        DataError: a path that cannot be read, or no clip at all.
        UsageError: as `find_videos`.
    """
    found = find_videos(videos)
    chosen = Chosen(found, found.sources)
    if annotations:
        chosen.annotations = read_annotations([annotations])
        _narrow(chosen, str(annotations), cut(chosen.sources, chosen.annotations.videos, clips))
    if splits:
        ids = [video.id for _, video in Splits.read(splits).rows]
        _narrow(chosen, str(splits), listed(chosen.sources, ids))
    return chosen


def _narrow(chosen: Chosen, wish: str, selection: Selection) -> None:
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
