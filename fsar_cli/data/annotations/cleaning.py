"""The rule by which rows of annotations become segments (`annotations`), one method a step."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fsar_cli.data.annotations.forms import Row, read_table
from fsar_cli.data.naming import bare, fold
from fsar_cli.errors import did_you_mean

SHORTEST = 0.01
"""Seconds; no frame is that short."""
# fmt: off
CLASSES = frozenset((
    "Abuse", "Arrest", "Arson", "Assault", "Banner", "Burglary", "Explosion", "Fighting", "MolotovBomb",
    "RoadAccidents", "Robbery", "Shooting", "Shoplifting", "Stealing", "Vandalism",
))
# fmt: on
"""Of UCF Crime v2."""
NORMAL = frozenset(("Normal", "Training_Normal_Videos_Anomaly", "Testing_Normal_Videos_Anomaly"))
"""Where UCF Crime keeps its videos without an anomaly."""
_WITHOUT_FOLDER = {"banner": "Banner", "molotof": "MolotovBomb"}


class Segment(NamedTuple):
    """A stretch of a video."""

    start: float
    """Seconds since the video's first frame."""
    end: float
    """The first moment that is no longer of it."""


@dataclass(frozen=True)
class Finding:
    """Something that was dropped, altered or odd."""

    file: str
    video: str
    """Id, or the name as written where it has none; empty: the whole file."""
    kind: str
    """One of the table above."""
    text: str
    dropped: bool


class Cleaner:
    """Collects videos and findings file by file."""

    def __init__(self) -> None:
        self.videos: dict[str, tuple[Segment, ...]] = {}
        self.findings: list[Finding] = []
        self._origin: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        self._lossy: set[str] = set()

    def note(self, file: str, video: str, kind: str, text: str, dropped: bool = False) -> None:
        """Add a finding."""
        self.findings.append(Finding(file, video, kind, text, dropped))

    def file(self, path: Path) -> None:
        """Read one file; where a video has segments in an earlier one, these of it replace them."""
        table, file = read_table(path), str(path)
        here: dict[str, list[Segment]] = {}
        for text in table.notes:
            self.note(file, "", "text", text)
        for row in table.rows:
            video = self._identify(file, row)
            if video is not None:
                self._take(file, video, row, here)
        for video, segments in here.items():
            self._settle(file, video, self._disjoint(file, video, segments))

    def _identify(self, file: str, row: Row) -> str | None:
        """The id "class/stem" of a row; None for one that is of no use."""
        at = f"{row.where}: " if row.where else ""
        path = PurePosixPath(row.video.replace("\\", "/"))
        folder, stem = path.parent.name, bare(path.name)
        cls = row.cls or folder
        if not cls and (known := next((c for name, c in _WITHOUT_FOLDER.items() if stem.startswith(name)), "")):
            cls = known
            self.note(file, f"{cls}/{stem}", "folder completed", f"{at}'{row.video}' is taken for one of {cls}")
        if not (_is_name(cls) and _is_name(stem)):
            self.note(file, row.video, "no class", f"{at}it does not name a class and a video", dropped=True)
            return None
        video = f"{self._folders.setdefault(fold(cls), cls)}/{stem}"
        if cls in NORMAL and not row.times:
            self.note(file, video, "normal video", f"{at}it shows no anomaly", dropped=True)
            return None
        if row.cls and folder and fold(folder) != fold(cls):
            self.note(file, video, "other class", f"{at}its folder is {folder}, its class {cls}: the class counts")
        self._check_extension(file, video, at, path.name, stem, row)
        return video

    def _check_extension(self, file: str, video: str, at: str, name: str, stem: str, row: Row) -> None:
        ending = name.removeprefix(stem)
        if ending != ending.lower():
            self.note(file, video, "extension", f"{at}{ending} in capitals is taken for any extension")
        elif not ending and row.whole:
            self.note(file, video, "extension", f"{at}'{name}' has none: any will do")

    def _take(self, file: str, video: str, row: Row, here: dict[str, list[Segment]]) -> None:
        """Add a row's segments to those of its video in this file."""
        segments = list(self._segments(file, video, row))
        if row.whole and video in here:
            if sorted(segments) == sorted(here[video]):
                self.note(file, video, "repeated", f"{row.where or 'it'} says the same again", dropped=True)
                return
            self.note(file, video, "two rows", f"{row.where or 'it'} has other segments: all of them count")
        here.setdefault(video, []).extend(segments)

    def _segments(self, file: str, video: str, row: Row) -> Iterator[Segment]:
        at, lost = f"{row.where}: " if row.where else "", []
        if row.fault:
            lost.append(("not a segment", row.fault))
        if row.open is not None:
            lost.append(("no end", f"the last start, {row.open}, has no end"))
        for pair in row.times:
            start, end = (_seconds(value, row.rate) for value in pair)
            if fault := _fault(start, end):
                lost.append((fault, f"start {pair[0]!r}, end {pair[1]!r}"))
            else:
                yield Segment(start, end)
        for kind, text in lost:
            self._lossy.add(video)
            self.note(file, video, kind, f"{at}{text}", dropped=True)

    def _disjoint(self, file: str, video: str, segments: list[Segment]) -> tuple[Segment, ...]:
        """The segments by start; what shares time is one."""
        merged: list[Segment] = []
        for segment in sorted(segments):
            before = merged[-1] if merged else None
            if before is None or segment.start >= before.end:
                merged.append(segment)
                continue
            if segment == before:
                self.note(file, video, "repeated", f"{_span(segment)} is there twice", dropped=True)
                continue
            merged[-1] = Segment(before.start, max(before.end, segment.end))
            text = f"{_span(before)} and {_span(segment)} share time: merged to {_span(merged[-1])}"
            self.note(file, video, "overlap", text)
        return tuple(merged)

    def _settle(self, file: str, video: str, segments: tuple[Segment, ...]) -> None:
        """Set a video's segments, which may be known from another file."""
        old, origin = self.videos.get(video), self._origin.get(video, "")
        if old == segments:
            self.note(file, video, "repeated", f"{Path(origin).name} says the same", dropped=True)
        elif old and not segments:
            self.note(file, video, "two files", f"no segment, but {Path(origin).name} has {_spans(old)}", dropped=True)
        else:
            if old:
                text = f"{_spans(old)} gives way to {_spans(segments)} of {Path(file).name}"
                self.note(origin, video, "two files", text, dropped=True)
            self.videos[video], self._origin[video] = segments, file

    def finish(self) -> None:
        """What shows only at the end: classes that are unknown and videos without a segment."""
        with_known = any(video.partition("/")[0] in CLASSES for video in self.videos)
        for video, segments in self.videos.items():
            cls = video.partition("/")[0]
            if with_known and cls not in CLASSES:
                hint = did_you_mean(cls, CLASSES) or "the data set may be another one"
                self.note(self._origin[video], video, "unknown class", f"{cls} is no class of UCF Crime v2; {hint}")
            if not segments:
                kind = "none left" if video in self._lossy else "no segment"
                self.note(self._origin[video], video, kind, "it can be a clip only as a whole")

    def in_no_split(self, folder: Path) -> None:
        """Name the videos that none of the published splits lists."""
        lists = [folder / f"{name}.json" for name in ("train", "val", "test")]
        if not all(file.is_file() for file in lists):
            return
        names = (PurePosixPath(row.video) for file in lists for row in read_table(file).rows)
        listed = {f"{name.parent.name}/{bare(name.name)}" for name in names}
        for video in sorted(self.videos.keys() - listed):
            self.note(
                self._origin[video], video, "in no split", f"no list in {folder.parent.name}/{folder.name} has it"
            )


def _is_name(text: str) -> bool:
    """Whether a folder may be called so: an id is a place in the frame store."""
    return bool(text) and not text.startswith(".") and "/" not in text and "\\" not in text


def _seconds(value: object, rate: int) -> float:
    """A time as written in seconds; NaN for anything else."""
    try:
        return float(value) / rate if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def _fault(start: float, end: float) -> str:
    """The kind of finding for which a segment is dropped; empty for a good one."""
    if not (math.isfinite(start) and math.isfinite(end)):
        return "not a segment"
    if start < 0 or end < 0:
        return "negative time"
    if end <= start:
        return "empty segment"
    return "too short" if end - start < SHORTEST else ""


def _span(segment: Segment) -> str:
    return f"{segment.start:g}-{segment.end:g} s"


def _spans(segments: Sequence[Segment]) -> str:
    return ", ".join(map(_span, segments)) or "no segment"
