"""Kinetics 400, 600 and 700: tars of clips `ytid_000086_000096.mp4`, and tables that say which class each id has.

- Kinetics-400 comes in parts (train/part_0.tar.gz, ...) with flat files: the class is in the annotations alone.
- Kinetics-600 and 700 come as one archive a class (`abseiling.tar.gz`), also with flat files: the archive names it.
- Trees are shared as train/CLASS/ytid_000086_000096.mp4 and val/CLASS/..., with blanks or underscores.
- replacement_for_corrupted_k400.tgz holds whole copies of clips that are broken elsewhere.

Annotations are CSV files with the columns label, youtube_id and time_start, or JSON {id: {"annotations": {"label":
...}}}. Where they name a file's id, they decide; else the folder does, if it can be a class.
"""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterable

from fsar_cli.data.naming import fold
from fsar_cli.tools.prepare.archives import archive_stem
from fsar_cli.tools.prepare.rules import Place, Rules, by_fold, folded
from fsar_cli.tools.prepare.searching import Entry

YOUTUBE = re.compile(r"(?P<id>[A-Za-z0-9_-]{11})(?:_(?P<start>\d{1,6})_\d{1,6})?")
"""A file's name without its ending."""

_NO_CLASS = re.compile(
    r"(?:train|val|valid|validate|validation|test|holdout|videos?|clips?|data|downloads?|tmp|replacement\w*"
    r"|compress(?:ed)?|part\d+|k(?:inetics)?[467]00(?: ?2020)?(?:\w*\d+)?(?:targz)?|kinetics(?:targz)?)"
)
"""Folded names of folders that are no classes."""


class Kinetics(Rules):
    """The class of an id by the annotations, else by the folder or the archive."""

    name, preset, protocol = "kinetics", "kinetics100", "kinetics100-cmn"

    def __init__(self, normal: bool = False) -> None:
        super().__init__(normal)
        self.labels: dict[str, list[tuple[int | None, str]]] = defaultdict(list)
        self.known = by_fold(self.expected())
        self.annotated = False

    def learn(self, texts: Iterable[Entry]) -> None:
        for text in texts:
            for video, start, label in _rows(text):
                self.labels[video].append((start, label))
                self.annotated = True
        self.known = by_fold(label for rows in self.labels.values() for _, label in rows) | self.known

    def place(self, video: Entry) -> Place | str:
        name = YOUTUBE.fullmatch(video.path.stem)
        labels = self._labels(name["id"], name["start"]) if name else set()
        if len(labels) > 1:
            return f"its id has the labels {' and '.join(sorted(labels))}, and its name has no time that tells"
        label = labels.pop() if labels else self._by_folder(video.parents)
        if label is None:
            return "its id is not in the annotations" if self.annotated else "its class is unknown: give the CSV files"
        return Place(self.known.get(fold(label), label), video.name, _is_repaired(video.parents))

    def _labels(self, video: str, start: str | None) -> set[str]:
        rows = self.labels.get(video, [])
        exact = {label for second, label in rows if start is not None and second == int(start)}
        return exact or {label for _, label in rows}

    def _by_folder(self, parents: tuple[str, ...]) -> str | None:
        own = (archive_stem(parents[-1]) or parents[-1]) if parents else ""
        if folded(own) in self.known:
            return self.known[folded(own)]
        if self.annotated or not own or _NO_CLASS.fullmatch(folded(own)):
            return None
        return self.known.setdefault(folded(own), own)  # `acting in play` is the same class from now on


def _is_repaired(parents: tuple[str, ...]) -> bool:
    return any(folded(name).startswith("replacement") for name in parents[-3:])


def _rows(text: Entry) -> Iterable[tuple[str, int | None, str]]:
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
    entries = document.items() if isinstance(document, dict) else ()
    for video, entry in entries:
        marks = entry.get("annotations") if isinstance(entry, dict) else None
        if isinstance(marks, dict) and isinstance(marks.get("label"), str):
            segment = marks.get("segment") or [None]
            yield str(video)[:11], _seconds(segment[0] if isinstance(segment, list) else None), marks["label"]


def _seconds(text: object) -> int | None:
    try:
        return int(float(text))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
