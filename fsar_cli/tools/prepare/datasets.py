"""What differs between the data sets: which class a video belongs to, what is left out, what describes the videos.

- HMDB51: `hmdb51_org.rar` holds 51 archives CLASS.rar, each with CLASS/NAME.avi.
- UCF101: `UCF101.rar` holds UCF-101/CLASS/v_CLASS_g01_c01.avi.
- UCF Crime v2: the 13 classes of UCF Crime in Anomaly-Videos-Part-1..4.zip, and Banner, MolotovBomb and annotations.
  Normal videos (Training-Normal-Videos-Part-1, -2, Testing_Normal_Videos, Normal_Videos_for_Event_Recognition), most of
  the bytes, belong to no class: they are not even unpacked unless they are asked for.
- Kinetics 400, 600 and 700: tars of clips `ytid_000086_000096.mp4`, and tables that say which class each id has.
  400 comes in parts (train/part_0.tar.gz, ...) with flat files: the class is in the annotations alone. 600 and 700 come
  as one archive a class (`abseiling.tar.gz`), also with flat files: the archive names it. Trees are shared as
  train/CLASS/ytid_000086_000096.mp4, with blanks or underscores. replacement_for_corrupted_k400.tgz holds whole copies
  of clips that are broken elsewhere. Annotations are CSV files with the columns label, youtube_id and time_start, or
  JSON {id: {"annotations": {"label": ...}}}. Where they name a file's id, they decide; else the folder does.
"""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fsar_cli.data.naming import fold
from fsar_cli.data.splits.protocols import protocols
from fsar_cli.tools.prepare.searching import SourceFile, archive_stem

ANNOTATIONS = ("TemporalAnnotations", "Splits", "CSV", "Anomaly_Detection_splits")
"""UCF Crime v2's folders of annotations as they are published; what lies in them keeps its place below them."""
YOUTUBE = re.compile(r"(?P<id>[A-Za-z0-9_-]{11})(?:_(?P<start>\d{1,6})_\d{1,6})?")
"""A file's name in Kinetics, without its ending."""

_NORMAL_NAME = re.compile(r"(?i)normal_videos?_?\d+")
_NORMAL_FOLDER = re.compile(r"(?:training|testing)?normal(?:videos?.*|part\d)?$")
_NO_CLASS = re.compile(
    r"(?:train|val|valid|validate|validation|test|holdout|videos?|clips?|data|downloads?|tmp|replacement\w*"
    r"|compress(?:ed)?|part\d+|k(?:inetics)?[467]00(?: ?2020)?(?:\w*\d+)?(?:targz)?|kinetics(?:targz)?)"
)
"""Folded names of folders that are no classes of Kinetics."""


@dataclass(frozen=True)
class TreePlace:
    """Where a video belongs: class folder and file name."""

    label: str
    name: str
    repaired: bool = False
    """Whether it was published to take the place of a broken one."""


@lru_cache(maxsize=10_000)
def _folded(name: str) -> str:
    """The folded name of a folder, or of an archive without its endings."""
    return fold(archive_stem(name) or name)


class PublishedSet:
    """One data set. The innermost folder or archive named after a class tells it; failing that, the file's name."""

    name = ""
    """On the command line."""
    title = ""
    preset = ""
    """The preset that the project file starts from."""
    protocol = ""
    """The published split whose classes and counts are expected."""
    class_in_name: re.Pattern[str] | None = None
    """Its first group is the class in a file's name."""
    annotated = False
    """Whether clips are to be cut from its videos by temporal annotations."""
    parts: Mapping[str, int] = {}
    """Number of parts of sets of archives, by folded name without the number."""

    def __init__(self, normal: bool = False) -> None:
        self.normal = normal
        self.known = {fold(name): name for name in self.expected()}
        """{folded name: class}."""

    @property
    def wish(self) -> str:
        """What is wanted of an archive, as a word: changed wishes unpack it anew."""
        return f"{self.name}+normal" if self.normal else self.name

    def unwanted(self, parents: tuple[str, ...], name: str) -> str:
        """Why a video need not even be unpacked; empty: it is wanted."""
        return ""

    def learn(self, texts: Iterable[SourceFile]) -> None:
        """Read what describes the videos, before the first is placed."""

    def place(self, video: SourceFile) -> TreePlace | str:
        """Where a video belongs, or why it has no place."""
        folders = (self.known[_folded(name)] for name in reversed(video.parents) if _folded(name) in self.known)
        match = self.class_in_name.match(video.name) if self.class_in_name else None
        label = next(folders, None) or (self.known.get(fold(match[1])) if match else None)
        return TreePlace(label, video.name) if label else f"no class of {self.title} in its folder or name"

    def annotation(self, text: SourceFile) -> Path | None:
        """Where below OUT/annotations a text file belongs; None: nowhere."""
        return None

    def expected(self) -> dict[str, int]:
        """Videos of each class in the published protocol."""
        return {name: n for split in protocols()[self.protocol].classes.values() for name, n in split.items()}


class HMDB51(PublishedSet):
    """Names of its clips say nothing that its folders do not."""

    name, title, preset, protocol = "hmdb51", "HMDB51", "hmdb51", "hmdb51-arn"


class UCF101(PublishedSet):
    """The class is in the names as well."""

    name, title, preset, protocol = "ucf101", "UCF101", "ucf101", "ucf101-arn"
    class_in_name = re.compile(r"(?i)v_([a-z]+)_g\d+_c\d+")


class UCFCrime(PublishedSet):
    """Names start with the class. Of the normal videos, which are asked for, one class is made."""

    name, title, preset, protocol, annotated = "ucf-crime-v2", "UCF Crime v2", "ucf-crime-v2", "ucf-crime-v2", True
    class_in_name = re.compile(r"([A-Za-z]+)")

    @property
    def parts(self) -> Mapping[str, int]:
        normal = {"trainingnormalvideospart": 2, "trainingnormalpart": 2} if self.normal else {}
        return {"anomalyvideospart": 4, **normal}

    def unwanted(self, parents: tuple[str, ...], name: str) -> str:
        return "is a normal video (--normal takes them)" if not self.normal and _is_normal(parents, name) else ""

    def place(self, video: SourceFile) -> TreePlace | str:
        if _is_normal(video.parents, video.name):
            return self.unwanted(video.parents, video.name) or TreePlace("Normal", video.name)
        return super().place(video)

    def annotation(self, text: SourceFile) -> Path | None:
        names = {fold(name): name for name in ANNOTATIONS}
        for depth in range(len(text.parents) - 1, -1, -1):
            if name := names.get(_folded(text.parents[depth])):
                return Path(name, *text.parents[depth + 1 :], text.name)
        return None


def _is_normal(parents: tuple[str, ...], name: str) -> bool:
    if _NORMAL_NAME.match(name):
        return True
    return any(_NORMAL_FOLDER.match(_folded(parent)) for parent in parents[-2:])


class Kinetics(PublishedSet):
    """The class of an id by the annotations, else by the folder or the archive."""

    name, title, preset, protocol = "kinetics", "Kinetics", "kinetics100", "kinetics100-cmn"

    def __init__(self, normal: bool = False) -> None:
        super().__init__(normal)
        self.labels: dict[str, list[tuple[int | None, str]]] = defaultdict(list)

    def learn(self, texts: Iterable[SourceFile]) -> None:
        for text in texts:
            for video, start, label in _kinetics_rows(text):
                self.labels[video].append((start, label))
        self.known = {fold(label): label for marks in self.labels.values() for _, label in marks} | self.known

    def place(self, video: SourceFile) -> TreePlace | str:
        name = YOUTUBE.fullmatch(video.path.stem)
        labels = self._labels(name["id"], name["start"]) if name else set()
        if len(labels) > 1:
            return f"its id has the labels {' and '.join(sorted(labels))}, and its name has no time that tells"
        label = labels.pop() if labels else self._by_folder(video.parents)
        if label is None:
            return "its id is not in the annotations" if self.labels else "its class is unknown: give the CSV files"
        repaired = any(_folded(name).startswith("replacement") for name in video.parents[-3:])
        return TreePlace(self.known.get(fold(label), label), video.name, repaired)

    def _labels(self, video: str, start: str | None) -> set[str]:
        marks = self.labels.get(video, [])
        exact = {label for second, label in marks if start is not None and second == int(start)}
        return exact or {label for _, label in marks}

    def _by_folder(self, parents: tuple[str, ...]) -> str | None:
        own = (archive_stem(parents[-1]) or parents[-1]) if parents else ""
        if fold(own) in self.known:
            return self.known[fold(own)]
        if self.labels or not own or _NO_CLASS.fullmatch(fold(own)):
            return None
        return self.known.setdefault(fold(own), own)  # `acting in play` is the same class from now on


def _kinetics_rows(text: SourceFile) -> Iterable[tuple[str, int | None, str]]:
    """(id, start in seconds, label) of an annotation file; nothing of any other file."""
    try:
        with text.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return list(_from_json(json.load(file)) if text.path.suffix.lower() == ".json" else _from_csv(file))
    except (OSError, ValueError, csv.Error, RecursionError):
        return []


def _from_csv(file: Iterable[str]) -> Iterable[tuple[str, int | None, str]]:
    reader = csv.DictReader(file)
    if not {"label", "youtube_id"} <= set(reader.fieldnames or ()):
        return
    for row in reader:
        if row["label"] and row["youtube_id"]:
            yield row["youtube_id"].strip(), _seconds(row.get("time_start")), row["label"].strip().strip('"')


def _from_json(document: object) -> Iterable[tuple[str, int | None, str]]:
    videos = document.items() if isinstance(document, dict) else ()
    for video, value in videos:
        marks = value.get("annotations") if isinstance(value, dict) else None
        if isinstance(marks, dict) and isinstance(marks.get("label"), str):
            segment = marks.get("segment") or [None]
            yield str(video)[:11], _seconds(segment[0] if isinstance(segment, list) else None), marks["label"]


def _seconds(text: object) -> int | None:
    try:
        return int(float(text))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


DATASETS: dict[str, type[PublishedSet]] = {dataset.name: dataset for dataset in (HMDB51, UCF101, Kinetics, UCFCrime)}
"""By the name on the command line."""
