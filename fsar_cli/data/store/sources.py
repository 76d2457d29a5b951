"""Which videos an extraction reads, and the id each one gets.

Inputs, in any mixture:
- a folder: a class/video tree; the class of a video is the folder it lies in. Hidden names are left out; files that are
  no videos by their suffix, or do not lie at class/video, are left out and counted. A folder whose videos all lie
  directly in it is itself the one class.
- a tree without videos that holds folders of pictures, each a video: see `pictures.find_folders`, also for what is the
  class. Files that are no frames are left out and counted.
- a list: `.csv` with a column `path` and, if wanted, `class`; or `.txt` with one path a line (`#` starts a comment).
  Paths are relative to the list, and may be folders of pictures. Without a class column the class is the folder's name.
- a video file, whatever its suffix; its class is its folder's name.

The ids are those of `naming.ids_of_files`: `class/stem`, with the suffix where files of a class share a stem. They
depend on the set of files alone, never on its order. A folder of pictures keeps its whole name.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsar_cli.data.naming import VIDEO_EXTENSIONS, ids_of_files
from fsar_cli.data.store.pictures import find_folders, read_pictures
from fsar_cli.data.store.records import has_manifest
from fsar_cli.data.video import printable
from fsar_cli.errors import DataError, UsageError, unreadable


@dataclass(frozen=True, slots=True)
class Source:
    """One video to extract."""

    id: str
    """`class/name`, also the place of its frames in the store."""
    label: str
    """Class."""
    path: Path
    span: tuple[float, float] | None = None
    """The clip's start and end in seconds from the video's first frame, end excluded; None: the whole video."""
    pictures: bool = False
    """Whether `path` is a folder of pictures."""
    at: str = ""
    """Where that is written: file and row of the annotations."""


@dataclass(frozen=True)
class FoundVideos:
    """The videos of an extraction and what was left out of the folders."""

    sources: list[Source]
    """Sorted by id."""
    hidden: int
    not_video: list[Path]
    """Files without a video suffix."""
    misplaced: list[Path]
    """Videos directly in a tree's root or deeper than class/video."""
    not_picture: list[Path]
    """In trees of pictures: what is no frame."""

    def left_out(self) -> str:
        """One sentence about everything that was left out; empty when nothing was."""
        parts = [f"{self.hidden} hidden"] if self.hidden else []
        parts += [f"{len(self.not_video)} without a video suffix ({_some(self.not_video)})"] if self.not_video else []
        if self.misplaced:
            parts.append(f"{len(self.misplaced)} not at class/video (such as {printable(self.misplaced[0])})")
        if self.not_picture:
            parts.append(f"{len(self.not_picture)} that are no frames (such as {printable(self.not_picture[0])})")
        return f"left out: {', '.join(parts)}" if parts else ""


def _some(paths: list[Path], most: int = 3) -> str:
    """The name of the first file of each suffix."""
    firsts = list({path.suffix.lower(): printable(path.name) for path in reversed(paths)}.values())[: -most - 1 : -1]
    return ", ".join(firsts + ["..."] * (len(paths) > len(firsts)))


class _VideoSearch:
    def __init__(self) -> None:
        self.files: dict[Path, str] = {}
        self.folders: dict[Path, str] = {}
        """Of pictures, with the last part of the id."""
        self.hidden = 0
        self.not_video: list[Path] = []
        self.misplaced: list[Path] = []
        self.not_picture: list[Path] = []

    def add(self, path: Path, label: str | None = None, folder: str = "") -> None:
        path = Path(path).absolute()
        label = path.parent.name if label is None else label
        path = path.parent.resolve() / path.name  # the file's own name stays, even where it is a link
        if not label or label.startswith(".") or "/" in label or "\\" in label:
            raise UsageError(f"{printable(path)}: '{printable(label)}' cannot be the name of a class")
        if self.files.setdefault(path, label) != label:
            text = f"{printable(path)} is listed as '{self.files[path]}' and as '{label}'"
            raise UsageError(text, "give it one class; a folder of one class may be a link to another's")
        if folder or (path.is_dir() and _listed(read_pictures, path).files):
            self.folders[path] = folder or path.name

    def tree(self, root: Path) -> None:
        if has_manifest(root):
            raise UsageError(f"{printable(root)} is a frame store, not videos", "`fsar train --frames` reads it")
        before, elsewhere, others = len(self.files), len(self.misplaced), (self.hidden, [*self.not_video])
        deeper = self._classes(root)
        # A folder may have a video's suffix; whatever else is called so is a video, broken or not.
        no_video = all(path.is_dir() for path in list(self.files)[before:]) and len(self.misplaced) == elsewhere
        if no_video and self._pictures(root):
            self.hidden, self.not_video = others
            return
        for folder in deeper:
            for path in sorted(p for p in folder.rglob("*") if not p.is_dir()):
                self._elsewhere(path)
        outside = self.misplaced[elsewhere:]
        if len(self.files) == before and all(path.parent == root for path in outside):
            del self.misplaced[elsewhere:]
            for path in outside:
                self.add(path, root.resolve().name)

    def _classes(self, root: Path) -> list[Path]:
        """Add the videos at class/video; the folders at that place come back."""
        deeper = []
        for folder in _entries(root):
            if folder.name.startswith("."):
                self.hidden += 1
            elif not folder.is_dir():
                self._elsewhere(folder)
            else:
                for path in _entries(folder):
                    deeper += self._in_class(path, folder.name)
        return deeper

    def _in_class(self, path: Path, label: str) -> list[Path]:
        if path.name.startswith("."):
            self.hidden += 1
        elif path.suffix.lower() in VIDEO_EXTENSIONS:
            self.add(path, label)  # even a folder of such a name: it is then refused by name, not passed over
        elif path.is_dir():
            return [path]
        else:
            self.not_video.append(path)
        return []

    def _pictures(self, root: Path) -> bool:
        """Add the folders of pictures; whether there are any."""
        found = _listed(find_folders, root)
        for folder, (label, name) in found.videos.items():
            self.add(folder, label, name)
        self.not_picture += found.others if found.videos else []
        return bool(found.videos)

    def _elsewhere(self, path: Path) -> None:
        if path.name.startswith("."):
            self.hidden += 1
        elif path.suffix.lower() in VIDEO_EXTENSIONS:
            self.misplaced.append(path)
        else:
            self.not_video.append(path)

    def listed(self, file: Path) -> None:
        for path, label in _read_list(file):
            self.add(file.parent / path, label)


def _listed(function: Callable[[Path], Any], folder: Path) -> Any:
    try:
        return function(folder)
    except OSError as error:
        where = printable(error.filename or folder)
        raise DataError(f"{where} cannot be read ({error.strerror})", "check its permissions") from error


def _entries(folder: Path) -> list[Path]:
    entries: list[Path] = _listed(lambda place: sorted(place.iterdir()), folder)
    return entries


def _read_list(file: Path) -> list[tuple[str, str | None]]:
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            if file.suffix.lower() == ".txt":
                lines = (line.strip("\r\n") for line in stream)
                return [(line, None) for line in lines if line.strip() and not line.startswith("#")]
            reader = csv.DictReader(stream)
            if "path" not in (reader.fieldnames or []):
                raise UsageError(f"{printable(file)} has no column 'path'", "a list is a CSV with path and class")
            return [(row["path"], row.get("class") or None) for row in reader]
    except OSError as error:
        raise unreadable(file, f"{printable(file)} cannot be read ({error.strerror})") from error


def find_videos(inputs: Iterable[Path]) -> FoundVideos:
    """Collect the videos of folders, lists and files; see the module docstring.

    Listed files that do not exist are kept: the extraction names them as failed.

    Raises:
        DataError: an input that does not exist or holds no video.
        UsageError: a list without paths, two videos with one id.
    """
    search, inputs = _VideoSearch(), [Path(path) for path in inputs]
    for path in inputs:
        if path.is_dir():
            search.tree(path)
        elif not path.exists():
            raise DataError(f"{printable(path)} does not exist", "give a folder class/video, a list or a video file")
        elif path.suffix.lower() in (".txt", ".csv"):
            search.listed(path)
        else:
            search.add(path)
    videos = FoundVideos(_sources(search), search.hidden, search.not_video, search.misplaced, search.not_picture)
    if not videos.sources:
        where = ", ".join(map(printable, inputs))
        hint = "videos lie in one folder a class: VIDEOS/class/video.mp4, or VIDEOS/class/video/00000001.jpg"
        raise DataError(f"no videos in {where}" + (f"; {videos.left_out()}" if videos.left_out() else ""), hint)
    return videos


def _sources(search: _VideoSearch) -> list[Source]:
    classes = defaultdict(list)
    for path, label in search.files.items():
        classes[label].append(path)
    sources: dict[str, Source] = {}
    for label, paths in classes.items():
        ids = ids_of_files(label, [path.name for path in paths if path not in search.folders])
        for path in paths:
            folder = search.folders.get(path)
            source = Source(f"{label}/{folder}" if folder else ids[path.name], label, path, pictures=folder is not None)
            other = sources.setdefault(source.id, source)
            if other is not source:
                raise UsageError(
                    f"{printable(other.path)} and {printable(path)} would both be '{printable(source.id)}'",
                    "rename one of them, or give them classes of their own in a CSV list",
                )
    return [sources[key] for key in sorted(sources)]
