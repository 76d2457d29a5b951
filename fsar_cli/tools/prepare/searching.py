"""What lies in the given paths: videos, archives still packed, and the small text files that describe them.

Folders are searched at any depth and through links. What the folders above a file are called is kept with it, an
archive counting as a folder of its name: that is what tells the class of a video.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fsar_cli.data.naming import VIDEO_EXTENSIONS, fold
from fsar_cli.data.video import printable
from fsar_cli.errors import DataError

TEXTS = frozenset((".csv", ".json", ".txt"))
"""Endings of annotations and lists of labels."""
ENDINGS = (
    ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz", ".tbz2", ".txz", ".tzst", ".tar", ".zip", ".rar", ".7z",
)  # fmt: skip
"""What the names of archives end in, capitals aside."""
_RAR_VOLUME = re.compile(r"(?i)(?P<stem>.+)\.(?:part0*(?P<part>\d+)\.rar|r(?P<old>\d{2,}))")
_PIECE = re.compile(r"(?i).+\.(?:zip|tar|tgz|gz|7z|rar)\.\d{2,}")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was found: a video, an archive or a text."""

    path: Path
    parents: tuple[str, ...]
    """Names of the folders above it, outermost first, as the user sees them; an archive counts as a folder."""
    staged: bool = False
    """Whether it was unpacked by us, so that it may be moved and not only linked."""

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.name

    @property
    def origin(self) -> str:
        """Where it comes from, in one line."""
        return printable(str(Path(*self.parents, self.path.name)))


@dataclass
class Sources:
    """Everything found; problems are sentences about files that should have been videos or archives."""

    videos: list[SourceFile] = field(default_factory=list)
    archives: list[SourceFile] = field(default_factory=list)
    texts: list[SourceFile] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(file, what is wrong with it)."""
    others: int = 0
    """Files that are none of these; hidden ones are not counted."""
    folders: set[tuple[str, ...]] = field(default_factory=set)


def archive_stem(name: str) -> str | None:
    """An archive's name without its endings; None where it is not called an archive.

    >>> [archive_stem(name) for name in ("hmdb51_org.rar", "UCF.part02.rar", "part_0.tar.gz", "a.avi")]
    ['hmdb51_org', 'UCF', 'part_0', None]
    """
    if match := _RAR_VOLUME.fullmatch(name):
        return match["stem"]
    return next((name[: -len(end)] for end in ENDINGS if name.lower().endswith(end) and len(name) > len(end)), None)


def volume(name: str) -> tuple[str, int] | None:
    """(name of the set, number from 1 on) of a volume of a RAR that was written in several; None for other names.

    >>> volume("UCF.part02.rar"), volume("UCF.r00"), volume("UCF.rar")
    (('UCF.part', 2), ('UCF', 2), ('UCF', 1))
    """
    match = _RAR_VOLUME.fullmatch(name)
    if match and match["part"]:
        return f"{match['stem']}.part", int(match["part"])
    if match:
        return match["stem"], int(match["old"]) + 2
    return (name[:-4], 1) if name.lower().endswith(".rar") else None


def useful(name: str) -> bool:
    """Whether a file of that name can matter here: `._a.mp4`, which macOS packs beside `a.mp4`, does not."""
    suffix = Path(name).suffix.lower()
    return not name.startswith(".") and (suffix in VIDEO_EXTENSIONS | TEXTS or archive_stem(name) is not None)


def hidden(name: str) -> bool:
    """Whether a folder is passed over."""
    return name.startswith(".") or name == "__MACOSX"


def search(paths: Iterable[Path], leave_out: Iterable[Path] = ()) -> Sources:
    """Search files and folders.

    Args:
        leave_out: folders that are not entered: our own results.

    Raises:
        DataError: a path that does not exist.
    """
    sources = Sources()
    walk = _Walk(sources, {path.resolve() for path in leave_out})
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(
                f"{printable(path)} does not exist", "name what you downloaded: archives or folders of them"
            )
        absolute = Path(os.path.abspath(path))  # without `..`, but links keep their names
        if path.is_dir():
            walk.folder(absolute, absolute.parts)
        else:
            walk.file(absolute, absolute.parent.resolve(), absolute.parent.parts)
    _check_volumes(sources)
    return sources


def search_staged(folder: Path, parents: tuple[str, ...]) -> Sources:
    """What was unpacked into a folder of ours; `parents` are the names of the archive's folders and the archive."""
    staged = Sources()
    if folder.is_dir():
        _Walk(staged, set(), staged=True).folder(folder, parents)
        _check_volumes(staged)
    return staged


class _Walk:
    def __init__(self, sources: Sources, leave_out: set[Path], staged: bool = False) -> None:
        self.sources, self.seen, self.staged = sources, set(leave_out), staged

    def folder(self, folder: Path, parents: tuple[str, ...]) -> None:
        real = folder.resolve()
        if real in self.seen:  # given twice, or a link that leads back
            return
        self.seen.add(real)
        self.sources.folders.add(parents)
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.sources.problems.append((printable(folder), f"cannot be read ({error.strerror})"))
            return
        for entry in inside:
            if entry.is_dir():
                if not hidden(entry.name):
                    self.folder(Path(entry.path), (*parents, entry.name))
            else:
                self.file(Path(entry.path), real, parents)

    def file(self, path: Path, real_folder: Path, parents: tuple[str, ...]) -> None:
        if path.name.startswith("."):
            return
        source, suffix = SourceFile(path, parents, self.staged), path.suffix.lower()
        if _PIECE.fullmatch(path.name):
            join = "join its pieces first: cat NAME.zip.* > NAME.zip"
            self.sources.problems.append((source.origin, f"is a piece of an archive that was cut up; {join}"))
        elif not useful(path.name):
            self.sources.others += 1
        elif not path.is_file():
            what = "is a link that leads nowhere" if path.is_symlink() else "is not a file"
            self.sources.problems.append((source.origin, what))
        elif (real := real_folder / path.name) not in self.seen:
            self.seen.add(real)
            self._list(suffix).append(source)

    def _list(self, suffix: str) -> list[SourceFile]:
        if suffix in VIDEO_EXTENSIONS:
            return self.sources.videos
        return self.sources.texts if suffix in TEXTS else self.sources.archives


def _check_volumes(sources: Sources) -> None:
    """Leave the first volume of every RAR in several; name the sets with a gap, which nothing can unpack."""
    sets: dict[tuple[Path, str], dict[int, SourceFile]] = defaultdict(dict)
    for archive in sources.archives:
        if numbered := volume(archive.name):
            sets[archive.path.parent, numbered[0]][numbered[1]] = archive
    dropped = set()
    for (_, stem), volumes in sets.items():
        gaps = sorted(set(range(1, max(volumes) + 1)) - set(volumes))
        dropped |= {archive.path for number, archive in volumes.items() if number > 1 or gaps}
        if gaps:
            shown = ", ".join(map(str, gaps))
            first = volumes[min(volumes)]
            sources.problems.append((first.origin, f"volume {shown} of '{printable(stem)}' is missing beside it"))
    sources.archives = [archive for archive in sources.archives if archive.path not in dropped]


_PART = re.compile(r"(?i)(.*part[-_ ]?)0*(\d+)")


def missing_parts(names: Iterable[tuple[str, ...]], totals: dict[str, int]) -> list[str]:
    """The numbered parts that are absent though others of their set are there, such as `Anomaly-Videos-Part-3`.

    Args:
        names: parents and own name of archives and folders.
        totals: number of parts of known sets, by folded name without number; others end with their highest number.
    """
    sets: dict[tuple[object, ...], tuple[str, set[int]]] = {}
    for *parents, name in names:
        if part := _PART.fullmatch(archive_stem(name) or name):
            known = fold(part[1]) in totals
            key = (fold(part[1]),) if known else (*parents, fold(part[1]))
            sets.setdefault(key, (part[1], set()))[1].add(int(part[2]))
    absent = []
    for key, (prefix, numbers) in sorted(sets.items(), key=str):
        last = totals.get(str(key[-1]), max(numbers))
        absent += [f"{prefix}{number}" for number in range(min(1, *numbers), last + 1) if number not in numbers]
    return absent
