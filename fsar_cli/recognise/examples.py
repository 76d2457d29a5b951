"""Where examples come from: folders CLASS/clip.mp4, or files that name videos, times and classes."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fsar_cli.data.annotations.labelled import LabelledSegment, labelled_segments
from fsar_cli.data.naming import VIDEO_EXTENSIONS
from fsar_cli.data.store.sources import find_videos
from fsar_cli.data.video import printable
from fsar_cli.data.video.live import is_live
from fsar_cli.errors import DataError, UsageError, counted
from fsar_cli.recognise.support import UNKNOWN, SupportSet
from fsar_cli.reporting import SILENT, Reporter

NORMAL = "normal"
"""The class of what shows none of the classes: a rejected event of a review."""


@dataclass(frozen=True)
class ExampleClip:
    """A clip to enrol."""

    cls: str
    name: str
    """CLASS/CLIP, with its times where it is a part of a video."""
    path: Path
    start: float = 0.0
    end: float | None = None
    group: str = ""
    """The video, where several examples are parts of it."""


def find_examples(places: Sequence[Path], reporter: Reporter = SILENT) -> list[ExampleClip]:
    """The examples of folders and files, sorted by name; each once.

    Raises:
        DataError: there are none, or a file cannot be read or names a video that is not there.
        UsageError: a video without a class, or a class that is called `unknown`.
    """
    clips: dict[tuple[str, Path, float, float | None], ExampleClip] = {}
    for place in places:
        if not place.exists():
            raise DataError(f"no examples at {printable(place)}", "a folder EXAMPLES/CLASS/clip.mp4, or a CSV of them")
        for clip in _of_folder(place, reporter) if place.is_dir() else _of_file(place, reporter):
            clips.setdefault((clip.cls, clip.path, clip.start, clip.end), clip)
    if not clips:
        raise DataError(f"no examples in {', '.join(map(str, places))}", "EXAMPLES/CLASS/clip.mp4, a folder a class")
    if any(clip.cls == UNKNOWN for clip in clips.values()):
        hint = f"give the class another name; '{NORMAL}' is for what shows none of the classes"
        raise UsageError(f"no class can be called '{UNKNOWN}': clips of none of the classes are", hint)
    return sorted(_distinct(clips.values()), key=lambda clip: (clip.cls == NORMAL, clip.cls, clip.name))


def _of_folder(folder: Path, reporter: Reporter) -> list[ExampleClip]:
    found = find_videos([folder])
    if found.left_out():
        reporter.warn(found.left_out())
    return [ExampleClip(printable(s.label), printable(s.id), s.path.absolute()) for s in found.sources]


def _of_file(file: Path, reporter: Reporter) -> list[ExampleClip]:
    if file.suffix.lower() not in (".csv", ".tsv", ".json"):
        raise UsageError(
            f"{file} is one video, and its class is not known",
            "examples are EXAMPLES/CLASS/clip.mp4, or a CSV with the columns video,start,end,class",
        )
    named = labelled_segments(file, reporter)
    segments = [segment for segment in named if not is_live(segment.video)]
    if streams := len(named) - len(segments):
        reporter.warn(f"{file}: {counted(streams, 'row')} of live sources left out, as of those there is no video")
    paths = [_place(file, segment) for segment in segments]
    return [_of_segment(segment, path, paths.count(path) > 1) for segment, path in zip(segments, paths, strict=True)]


def _of_segment(segment: LabelledSegment, path: Path, shared: bool) -> ExampleClip:
    whole = segment.start == 0 and segment.end is None
    times = "" if whole else f"@{segment.start:g}" + ("" if segment.end is None else f"-{segment.end:g}")
    cls = printable(segment.cls)
    name = f"{cls}/{printable(path.stem)}{times}"
    return ExampleClip(cls, name, path, segment.start, segment.end, printable(path) if shared else "")


def _place(file: Path, segment: LabelledSegment) -> Path:
    """Where a video is that a file names: as it stands, or beside the file."""
    named = Path(segment.video).expanduser()
    path = named if named.is_absolute() else file.parent / named
    if not path.exists() and named.exists():
        path = named
    if not path.is_file():
        raise DataError(f"{file} names {segment.video}, which is not there", f"looked for at {path}")
    return path.absolute()


def _distinct(clips: Iterable[ExampleClip], taken: Iterable[str] = ()) -> list[ExampleClip]:
    """With a number behind names that are taken, or that several have."""
    known, result = set(taken), []
    for clip in clips:
        names = itertools.chain((clip.name,), (f"{clip.name} ({number})" for number in itertools.count(2)))
        name = next(name for name in names if name not in known)
        known.add(name)
        result.append(replace(clip, name=name))
    return result


def not_yet(clips: Sequence[ExampleClip], support: SupportSet) -> list[ExampleClip]:
    """The clips that are not enrolled yet, under names that are not taken."""
    known = {(example.cls, example.source, example.start, example.end) for example in support.examples}
    new = [c for c in clips if (c.cls, printable(c.path.resolve()), c.start, c.end) not in known]
    return _distinct(new, [example.name for example in support.examples])


def find_footage(places: Sequence[Path]) -> list[Path]:
    """Video files, and those of folders, sorted; each once. What scans wrote into folders is passed over.

    Raises:
        DataError: one is not there, or a folder has none.
    """
    files: dict[Path, None] = {}
    for place in places:
        if not place.is_dir():
            if not place.is_file():
                raise DataError(f"no video at {place}", "a video file, or a folder of them")
            files[place.absolute()] = None
            continue
        files_in = (file for file in place.rglob("*") if file.suffix.lower() in VIDEO_EXTENSIONS and file.is_file())
        inside = sorted(file for file in files_in if not _of_a_scan(file, place))
        if not inside:
            raise DataError(f"no videos in {place}", f"read are {', '.join(sorted(VIDEO_EXTENSIONS))}")
        files |= dict.fromkeys(file.absolute() for file in inside)
    return list(files)


def _of_a_scan(file: Path, place: Path) -> bool:
    """Whether a video below a folder is a clip of an event, or what a report plays."""
    parents = file.relative_to(place).parents
    written = (place / folder for folder in parents if folder.name in ("clips", "media"))
    return any((folder.parent / "scan.json").is_file() for folder in written)
