"""What a data folder holds: the classes and video ids of a tree of video files or of a frame store, without decoding.

A video's id is "class/stem": the class folder's name and the file name without its extension; where two files of a
class share a stem, all of them keep their extension in the id. A frame store names its folders by the same ids. Where
all videos lie directly in the folder, it is itself the one class: its name is the first part of their ids.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fsar_cli.data.naming import VIDEO_EXTENSIONS, ids_of_files
from fsar_cli.data.store.records import has_manifest, read_manifest
from fsar_cli.errors import DataError


@dataclass(frozen=True)
class Tree:
    """Classes and video ids of a folder: `classes[name]` is a sorted tuple of ids; `kind` is `videos` or `frames`.

    `flat` says that the folder is itself the one class.
    """

    root: Path
    kind: str
    classes: dict[str, tuple[str, ...]]
    flat: bool = False

    @cached_property
    def ids(self) -> frozenset[str]:
        """All video ids."""
        return frozenset(video for videos in self.classes.values() for video in videos)

    @cached_property
    def files(self) -> dict[str, Path]:
        """{id: file} of a tree of videos, listed when it is first asked for; paths are absolute."""
        root = self.root.resolve()
        files: dict[str, Path] = {}
        for cls in self.classes:
            folder = root if self.flat else root / cls
            files |= {video: folder / name for name, video in _ids(cls, _visible(folder)).items()}
        return files

    @cached_property
    def is_store(self) -> bool:
        """Whether it is a frame store, and no tree of videos or of other tools' pictures."""
        return self.kind == "frames" and has_manifest(self.root)

    def cut_from(self) -> dict[str, str]:
        """{clip: "folder/name" of its video} of a frame store in which several clips are of one video; else empty."""
        if not self.is_store:
            return {}
        sources = {record.id: record.source for record in read_manifest(self.root)}
        if len(set(sources.values())) == len(sources):
            return {}
        return {clip: "/".join(Path(source).parts[-2:]) for clip, source in sources.items()}

    @property
    def digest(self) -> str:
        """16 hex digits that depend on the ids only, not on where the tree is or of which kind."""
        return hashlib.sha256("\0".join(sorted(self.ids)).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{len(self.classes)} classes, {len(self.ids)} videos, ids {self.digest}"


def scan_tree(root: Path) -> Tree:
    """List a class/video tree of video files, one folder of them, or a frame store (class/video/00000001.jpg).

    A frame store is known by its manifest, which then says what it holds, or by folders of pictures. Hidden files and
    files that are neither are passed over.

    Raises:
        DataError: no such folder, nothing in it that counts as a video, or a name that is not valid Unicode.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root}", "name the class/video tree with --root or data.videos in fsar.yaml")
    listed = _from_manifest(root)
    if listed is not None:
        kind, found, flat = "frames", listed, False
    else:
        kind, found, flat = _from_folders(root)
    classes = {name: tuple(sorted(videos)) for name, videos in sorted(found.items()) if videos}
    if not classes:
        raise DataError(
            f"no video in {root}",
            "expected CLASS/VIDEO files, as in kick/clip_01.avi, or a frame store, which `fsar extract-frames` makes of"
            " videos and of folders of pictures",
        )
    _refuse_broken_names(classes)
    return Tree(root, kind, classes, flat)


def _from_manifest(root: Path) -> dict[str, list[str]] | None:
    """Classes of a frame store by its manifest; None where there is none or it belongs to something else."""
    if not has_manifest(root):
        return None
    classes: dict[str, list[str]] = {}
    for record in read_manifest(root):
        classes.setdefault(record.label, []).append(record.id)
    return classes


def _visible(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def _from_folders(root: Path) -> tuple[str, dict[str, list[str]], bool]:
    """Kind, ids by class, and whether the folder is itself the class."""
    files: dict[str, list[str]] = {}
    stores: dict[str, list[str]] = {}
    entries = list(_visible(root))
    for cls in entries:
        if not cls.is_dir():
            continue
        inside = list(_visible(Path(cls.path)))
        files[cls.name] = list(_ids(cls.name, inside).values())
        stores[cls.name] = [f"{cls.name}/{e.name}" for e in inside if e.is_dir() and _has_picture(Path(e.path))]
    # A tree of both would be a mistake somewhere; the videos are the source, so they win.
    if any(files.values()) or any(stores.values()):
        return ("videos", files, False) if any(files.values()) else ("frames", stores, False)
    name = root.resolve().name
    return "videos", {name: list(_ids(name, entries).values())}, True


def _ids(cls: str, entries: Iterable[os.DirEntry[str]]) -> dict[str, str]:
    """{file name: id} of the videos among the entries of a class's folder."""
    names = [e.name for e in entries if Path(e.name).suffix.lower() in VIDEO_EXTENSIONS and e.is_file()]
    return ids_of_files(cls, names)


def _has_picture(folder: Path) -> bool:
    return any(entry.name.lower().endswith((".jpg", ".jpeg", ".png")) for entry in _visible(folder))


def _refuse_broken_names(classes: dict[str, tuple[str, ...]]) -> None:
    for videos in classes.values():
        for video in videos:
            try:
                video.encode()
            except UnicodeEncodeError:
                shown = video.encode(errors="backslashreplace").decode()
                raise DataError(f"the file name {shown} is not valid UTF-8", "rename the file") from None
