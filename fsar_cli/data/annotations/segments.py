"""Temporal annotations of long videos -> clean segments, and a report of everything that was dropped or altered.

What is read: one file or several (`forms`), a folder of such files, or the folder of UCF Crime v2 as published: there,
TemporalAnnotations/abnormal/train.json and test.json are taken, the union of which is the data set, and
Splits/abnormal/{train,val,test}.json to see what is in none of them.

The rule, each step one of five kinds of finding, by what a user can do about it:

- form (look at the file): a file of the folder in none of the forms is left out.
- class (look at the name): a video without a name is dropped, and so is a video of UCF Crime without an anomaly. The
  class is that of the column, else the folder that is written, else the folder in which the video will be found;
  `banner01` and `molotof001.mp4` of UCF Crime v2's CSV get theirs; one that is none of UCF Crime v2's beside some that
  are is kept. A video may have several classes, each with segments of its own; where these share time, both stay.
- time (mend the times): a segment is dropped whose start or end is missing, no time, infinite or below 0, that ends
  where it starts or before, or that is shorter than any frame. Frames of Label Studio become seconds by a rate that its
  export may not hold.
- repeated (nothing, or choose): what is there twice counts once. Other segments for a video in a second row of a file
  count as well; in a second file they replace those of the first, where the file with `test` in its name is the later
  one, as UCF Crime v2's was made from frames. Segments of a class that share time are merged, as two clips of one
  moment must not be support and query; touching ones are two. What several people annotated all counts.
- missing (annotate it): a video without a usable segment, which can be a clip only as a whole; a video that none of the
  published splits lists, which is kept.

Times are seconds from the video's first frame, the end excluded. Extensions and their case do not count.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath

from fsar_cli.data.annotations.annotated import AnnotatedVideo, AnnotationFinding, Annotations, Kind
from fsar_cli.data.annotations.forms import ENDINGS, read_rows
from fsar_cli.data.annotations.rows import FORMS, AnnotationRow, NotAnnotations
from fsar_cli.data.annotations.times import Segment, disjoint, fault
from fsar_cli.data.naming import bare, fold, is_storable, slashed
from fsar_cli.data.splits.protocols import protocol
from fsar_cli.errors import DataError, counted, did_you_mean

LONGEST = 255
"""Bytes of a file's name."""
NORMAL = frozenset(("Normal", "Training_Normal_Videos_Anomaly", "Testing_Normal_Videos_Anomaly"))
"""Where UCF Crime keeps its videos without an anomaly."""
_DRIVE = re.compile(r"^[A-Za-z]:/")
_WITHOUT_FOLDER = {"banner": "Banner", "molotof": "MolotovBomb"}
_PUBLISHED = Path("TemporalAnnotations/abnormal")
_SPLITS = Path("Splits/abnormal")


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
        why = f": {cleaner.findings[0].text}" if cleaner.findings else ", as there is no row"
        raise DataError(f"no annotated video in {', '.join(map(str, paths))}{why}", f"read are {FORMS}")
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
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in ENDINGS]
    if not files:
        hint = f"it holds neither {_PUBLISHED}/train.json and test.json nor any {', '.join(ENDINGS)}"
        raise DataError(f"no annotations in the folder {path}", hint)
    yield from ((file, True) for file in files)


class _Cleaner:
    """Collects videos and findings file by file."""

    def __init__(self) -> None:
        self.videos: dict[AnnotatedVideo, tuple[Segment, ...]] = {}
        self.findings: list[AnnotationFinding] = []
        self._origin: dict[AnnotatedVideo, tuple[str, str]] = {}
        self._folders: dict[str, str] = {}
        self._endings: dict[tuple[str, str], str] = {}
        self._own = False

    def note(self, file: str, video: object, kind: Kind, text: str, dropped: bool = False) -> None:
        """Add a finding."""
        self.findings.append(AnnotationFinding(file, _sayable(str(video)), kind, _sayable(text), dropped))

    def file(self, path: Path) -> None:
        """Read one file; where a video has segments in an earlier one, these of it replace them."""
        file, unknown = str(path), 0
        here: dict[AnnotatedVideo, list[Segment]] = {}
        rows = read_rows(path)
        for kind, text in dict.fromkeys(note for row in rows for note in row.notes):
            self.note(file, "", kind, text)
        for row in rows:
            if video := self._identify(file, row):
                self._take(file, video, row, here)
                unknown += not video.cls
                self._own |= row.own
        if unknown:
            text = f"{counted(unknown, 'row')} without a class: it is the folder in which the video is found"
            self.note(file, "", "class", text)
        for video, segments in here.items():
            whole, notes = disjoint(segments)
            for text, gone in notes:
                self.note(file, video, "repeated", text, gone)
            self._settle(file, video, whole)

    def _identify(self, file: str, row: AnnotationRow) -> AnnotatedVideo | None:
        """The video and class that a row is about; None for one that is of no use."""
        path = PurePosixPath(_DRIVE.sub("", slashed(row.video)))
        folder, name = path.parent.name, path.name
        cls = row.cls or folder
        if not (cls or row.own) and (
            cls := next((c for key, c in _WITHOUT_FOLDER.items() if name.startswith(key)), "")
        ):
            self.note(file, f"{cls}/{bare(name)}", "class", f"{row.at}'{row.video}' is taken for one of {cls}")
        if fault := _no_name("video", bare(name)) or (cls and _no_name("class", cls)):
            self.note(file, row.video, "class", f"{row.at}{fault}", dropped=True)
            return None
        cls, folder = (self._folders.setdefault(fold(text), text) for text in (cls, folder))
        video = AnnotatedVideo(cls, "" if folder == cls else folder, self._stem(folder, name), name, not folder)
        if cls in NORMAL and not row.times:
            self.note(file, video, "class", f"{row.at}it shows no anomaly", dropped=True)
            return None
        return video

    def _stem(self, folder: str, name: str) -> str:
        """The name without its ending, which stays where another video has it with another one."""
        ending = name[len(bare(name)) :].casefold()
        first = self._endings.get((folder, bare(name))) or ending
        self._endings[folder, bare(name)] = first
        return bare(name) if ending in ("", first) else name

    def _take(
        self, file: str, video: AnnotatedVideo, row: AnnotationRow, here: dict[AnnotatedVideo, list[Segment]]
    ) -> None:
        """Add a row's segments to those of its video in this file."""
        place, segments = f"{Path(file).name}, {row.at or video}".removesuffix(": "), []
        for start, end in row.times:
            segment = row.segment(start, end, place)
            if why := fault(start, end, segment):
                self.note(file, video, "time", f"{row.at}start {start!r}, end {end!r}: {why}", dropped=True)
            else:
                segments.append(segment)
        if row.fault:
            self.note(file, video, "time", f"{row.at}{row.fault}", dropped=True)
        self._origin.setdefault(video, (file, row.at))
        if not row.own and video in here:
            if sorted(segments) == sorted(here[video]):
                self.note(file, video, "repeated", f"{row.at}it says the same again", dropped=True)
                return
            self.note(file, video, "repeated", f"{row.at}it has other segments: all of them count")
        here.setdefault(video, []).extend(segments)

    def _settle(self, file: str, video: AnnotatedVideo, segments: tuple[Segment, ...]) -> None:
        """Set a video's segments, which may be known from another file."""
        old, (origin, _) = self.videos.get(video), self._origin[video]
        if old == segments:
            self.note(file, video, "repeated", f"{Path(origin).name} says the same", dropped=True)
        elif old and not segments:
            self.note(file, video, "repeated", f"no segment, but {Path(origin).name} has {_all(old)}", dropped=True)
        else:
            if old:
                text = f"{_all(old)} gives way to {_all(segments)} of {Path(file).name}"
                self.note(origin, video, "repeated", text, dropped=True)
                self._origin[video] = file, ""
            self.videos[video] = segments

    def finish(self) -> None:
        """What shows only at the end: unknown classes, videos without a segment, moments of two classes."""
        published = protocol("ucf-crime-v2").classes["test"]
        of_ucf_crime = not self._own and any(video.cls in published for video in self.videos)
        moments: dict[tuple[str, str], list[tuple[Segment, AnnotatedVideo]]] = {}
        for video, segments in self.videos.items():
            file, at = self._origin[video]
            if of_ucf_crime and video.cls and video.cls not in published:
                hint = did_you_mean(video.cls, published) or "the data set may be another one"
                self.note(file, video, "class", f"{video.cls} is no class of UCF Crime v2; {hint}")
            if not segments:
                self.note(file, video, "missing", f"{at}no segment is left: it can be a clip only as a whole")
            moments.setdefault((video.place, video.stem), []).extend((segment, video) for segment in segments)
        for spans in moments.values():
            self._shared(sorted(spans))

    def _shared(self, spans: list[tuple[Segment, AnnotatedVideo]]) -> None:
        """Name the segments of a video, by start, that share time with one of another class."""
        for (before, first), (segment, video) in pairwise(spans):
            if segment.start < before.end and first.cls != video.cls:
                text = f"{before} of {first.cls} and {segment} of {video.cls} share time: both count"
                self.note(self._origin[video][0], video, "repeated", text)

    def in_no_split(self, folder: Path) -> None:
        """Name the videos that none of the published splits lists."""
        lists = [folder / f"{name}.json" for name in ("train", "val", "test")]
        if not all(file.is_file() for file in lists):
            return
        names = (PurePosixPath(row.video) for file in lists for row in read_rows(file))
        listed = {f"{name.parent.name}/{bare(name.name)}" for name in names}
        for video in sorted(self.videos):
            if str(video) not in listed:
                text = f"no list in {folder.parent.name}/{folder.name} has it"
                self.note(self._origin[video][0], video, "missing", text)


def _no_name(what: str, text: str) -> str:
    """Why a folder or clip cannot be called so, as an id is a place in the frame store; empty where it can."""
    if not text:
        return f"it names no {what}"
    if text.startswith(".") or any(mark in text for mark in "/\\\n\r") or not is_storable(text):
        return f"'{text}' cannot be the name of a {what}"
    return f"the name of its {what} is too long" if len(os.fsencode(text)) > LONGEST else ""


def _sayable(text: str) -> str:
    """Text that a table can hold: of a name that no file can have, its signs as escapes."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode("ascii", "backslashreplace").decode()
    return text


def _all(segments: Sequence[Segment]) -> str:
    return ", ".join(map(str, segments)) or "no segment"
