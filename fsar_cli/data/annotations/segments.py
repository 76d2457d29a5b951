"""Temporal annotations of long videos -> clean segments, and a report of everything that was dropped or altered.

What is read: one file or several (`forms`), a folder of such files, or the folder of UCF Crime v2 as published: there,
TemporalAnnotations/abnormal/train.json and test.json are taken, the union of which is the data set, and
Splits/abnormal/{train,val,test}.json to see what is in none of them.

The rule, each step one of five kinds of finding, by what a user can do about it:

- form (look at the file): a file of the folder in none of the forms is left out.
- class (look at the name): a video without class or name is dropped, and so is a video of UCF Crime without an anomaly.
  A class column wins over the folder; `banner01` and `molotof001.mp4` of UCF Crime v2's CSV get their class; a class
  that is none of UCF Crime v2's beside some that are is kept.
- time (mend the times): a segment is dropped whose start or end is missing, no number, infinite or below 0, that ends
  where it starts or before, or that is shorter than any frame.
- repeated (nothing, or choose): what is there twice counts once. Other segments for a video in a second row of a file
  count as well; in a second file they replace those of the first, where the file with `test` in its name is the later
  one, as UCF Crime v2's was made from frames. Segments that share time are merged, as two clips of one moment must not
  be support and query; touching ones are two.
- missing (annotate it): a video without a usable segment, which can be a clip only as a whole; a video that none of the
  published splits lists, which is kept.

Times are seconds from the video's first frame, the end excluded. Extensions and their case do not count.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from fsar_cli.data.annotations.forms import FORMS, AnnotationRow, NotAnnotations, read_rows
from fsar_cli.data.naming import bare, fold
from fsar_cli.data.splits.protocols import protocol
from fsar_cli.errors import DataError, did_you_mean

Kind = Literal["form", "class", "time", "repeated", "missing"]
SHORTEST = 0.01
"""Seconds; no frame is that short."""
NORMAL = frozenset(("Normal", "Training_Normal_Videos_Anomaly", "Testing_Normal_Videos_Anomaly"))
"""Where UCF Crime keeps its videos without an anomaly."""
_WITHOUT_FOLDER = {"banner": "Banner", "molotof": "MolotovBomb"}
_PUBLISHED = Path("TemporalAnnotations/abnormal")
_SPLITS = Path("Splits/abnormal")


class Segment(NamedTuple):
    """A stretch of a video."""

    start: float
    """Seconds since the video's first frame."""
    end: float
    """The first moment that is no longer of it."""

    def __str__(self) -> str:
        return f"{self.start:g}-{self.end:g} s"


@dataclass(frozen=True)
class AnnotationFinding:
    """Something that was dropped, altered or odd."""

    file: str
    video: str
    """Id, or the name as written where it has none; empty: the whole file."""
    kind: Kind
    text: str
    dropped: bool


@dataclass(frozen=True)
class Annotations:
    """Segments by video, and what became of the rest."""

    videos: Mapping[str, tuple[Segment, ...]]
    """{"class/stem": its segments by start, disjoint; perhaps none}, sorted."""
    findings: tuple[AnnotationFinding, ...]


def read_annotations(paths: Iterable[Path]) -> Annotations:
    """Read and clean files and folders of annotations; see the module docstring.

    Raises:
        DataError: no such path, a file that cannot be read or is in none of the forms, or no video at all.
    """
    paths, cleaner = [Path(path) for path in paths], _Cleaner()
    files = sorted((pair for path in paths for pair in _files(path)), key=lambda pair: _is_test(pair[0]))
    for file, only_found in files:
        try:
            cleaner.file(file)
        except NotAnnotations as error:
            if not only_found:
                raise
            cleaner.note(str(file), "", "form", error.message, dropped=True)
    if not cleaner.videos:
        raise DataError(f"no annotated video in {', '.join(map(str, paths))}", f"read are {FORMS}")
    for path in paths:
        cleaner.in_no_split(path / _SPLITS)
    cleaner.finish()
    return Annotations(dict(sorted(cleaner.videos.items())), tuple(cleaner.findings))


def _is_test(file: Path) -> bool:
    return any(word.startswith("test") for word in re.split(r"[\W_]+", file.stem.casefold()))


def _files(path: Path) -> Iterator[tuple[Path, bool]]:
    """(file, whether nobody named it: it just lies in the folder)."""
    if not path.exists():
        raise DataError(f"the annotations {path} do not exist", "name a file or folder; data.annotations holds one")
    if not path.is_dir():
        yield path, False
        return
    for folder in (path / _PUBLISHED, path):
        published = [folder / "train.json", folder / "test.json"]
        if all(file.is_file() for file in published):
            yield from ((file, False) for file in published)
            return
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in (".json", ".csv", ".txt")]
    if not files:
        hint = f"it holds neither {_PUBLISHED}/train.json and test.json nor any .json, .csv or .txt"
        raise DataError(f"no annotations in the folder {path}", hint)
    yield from ((file, True) for file in files)


class _Cleaner:
    """Collects videos and findings file by file."""

    def __init__(self) -> None:
        self.videos: dict[str, tuple[Segment, ...]] = {}
        self.findings: list[AnnotationFinding] = []
        self._origin: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def note(self, file: str, video: str, kind: Kind, text: str, dropped: bool = False) -> None:
        """Add a finding."""
        self.findings.append(AnnotationFinding(file, video, kind, text, dropped))

    def file(self, path: Path) -> None:
        """Read one file; where a video has segments in an earlier one, these of it replace them."""
        file, here = str(path), {}
        for row in read_rows(path):
            if video := self._identify(file, row):
                self._take(file, video, row, here)
        for video, segments in here.items():
            self._settle(file, video, self._disjoint(file, video, segments))

    def _identify(self, file: str, row: AnnotationRow) -> str:
        """The id "class/stem" of a row; empty for one that is of no use."""
        path = PurePosixPath(row.video.replace("\\", "/"))
        folder, stem = path.parent.name, bare(path.name)
        cls = row.cls or folder
        if not cls and (cls := next((c for name, c in _WITHOUT_FOLDER.items() if stem.startswith(name)), "")):
            self.note(file, f"{cls}/{stem}", "class", f"{row.at}'{row.video}' is taken for one of {cls}")
        if not (_is_name(cls) and _is_name(stem)):
            self.note(file, row.video, "class", f"{row.at}it does not name a class and a video", dropped=True)
            return ""
        video = f"{self._folders.setdefault(fold(cls), cls)}/{stem}"
        if cls in NORMAL and not row.times:
            self.note(file, video, "class", f"{row.at}it shows no anomaly", dropped=True)
            return ""
        if row.cls and folder and fold(folder) != fold(cls):
            text = f"{row.at}its folder is {folder}, its class {cls}: the class counts"
            self.note(file, video, "class", text)
        return video

    def _take(self, file: str, video: str, row: AnnotationRow, here: dict[str, list[Segment]]) -> None:
        """Add a row's segments to those of its video in this file."""
        segments = []
        for pair in row.times:
            segment = Segment(*(_seconds(value, row.rate) for value in pair))
            if fault := _fault(segment):
                self.note(file, video, "time", f"{row.at}start {pair[0]!r}, end {pair[1]!r}: {fault}", dropped=True)
            else:
                segments.append(segment)
        if row.fault:
            self.note(file, video, "time", f"{row.at}{row.fault}", dropped=True)
        if row.whole and video in here:
            if sorted(segments) == sorted(here[video]):
                self.note(file, video, "repeated", f"{row.at}it says the same again", dropped=True)
                return
            self.note(file, video, "repeated", f"{row.at}it has other segments: all of them count")
        here.setdefault(video, []).extend(segments)

    def _disjoint(self, file: str, video: str, segments: list[Segment]) -> tuple[Segment, ...]:
        """The segments by start; what shares time is one."""
        merged: list[Segment] = []
        for segment in sorted(segments):
            before = merged[-1] if merged else None
            if before is None or segment.start >= before.end:
                merged.append(segment)
                continue
            if segment == before:
                self.note(file, video, "repeated", f"{segment} is there twice", dropped=True)
                continue
            merged[-1] = Segment(before.start, max(before.end, segment.end))
            self.note(file, video, "repeated", f"{before} and {segment} share time: merged to {merged[-1]}")
        return tuple(merged)

    def _settle(self, file: str, video: str, segments: tuple[Segment, ...]) -> None:
        """Set a video's segments, which may be known from another file."""
        old, origin = self.videos.get(video), self._origin.get(video, "")
        if old == segments:
            self.note(file, video, "repeated", f"{Path(origin).name} says the same", dropped=True)
        elif old and not segments:
            self.note(file, video, "repeated", f"no segment, but {Path(origin).name} has {_all(old)}", dropped=True)
        else:
            if old:
                text = f"{_all(old)} gives way to {_all(segments)} of {Path(file).name}"
                self.note(origin, video, "repeated", text, dropped=True)
            self.videos[video], self._origin[video] = segments, file

    def finish(self) -> None:
        """What shows only at the end: classes that are unknown and videos without a segment."""
        published = protocol("ucf-crime-v2").classes["test"]
        of_ucf_crime = any(video.partition("/")[0] in published for video in self.videos)
        for video, segments in self.videos.items():
            cls = video.partition("/")[0]
            if of_ucf_crime and cls not in published:
                hint = did_you_mean(cls, published) or "the data set may be another one"
                self.note(self._origin[video], video, "class", f"{cls} is no class of UCF Crime v2; {hint}")
            if not segments:
                text = "no segment is left: it can be a clip only as a whole"
                self.note(self._origin[video], video, "missing", text)

    def in_no_split(self, folder: Path) -> None:
        """Name the videos that none of the published splits lists."""
        lists = [folder / f"{name}.json" for name in ("train", "val", "test")]
        if not all(file.is_file() for file in lists):
            return
        names = (PurePosixPath(row.video) for file in lists for row in read_rows(file))
        listed = {f"{name.parent.name}/{bare(name.name)}" for name in names}
        for video in sorted(self.videos.keys() - listed):
            text = f"no list in {folder.parent.name}/{folder.name} has it"
            self.note(self._origin[video], video, "missing", text)


def _is_name(text: str) -> bool:
    """Whether a folder may be called so: an id is a place in the frame store."""
    return bool(text) and not text.startswith(".") and "/" not in text and "\\" not in text


def _seconds(value: object, rate: int) -> float:
    """A time as written in seconds; NaN for anything else."""
    try:
        return float(value) / rate if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def _fault(segment: Segment) -> str:
    """Why a segment is dropped; empty for a good one."""
    if not all(map(math.isfinite, segment)):
        return "not two numbers"
    if min(segment) < 0:
        return "before the video starts"
    if segment.end <= segment.start:
        return "it ends before it starts"
    return "shorter than a frame" if segment.end - segment.start < SHORTEST else ""


def _all(segments: Sequence[Segment]) -> str:
    return ", ".join(map(str, segments)) or "no segment"
