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
from fsar_cli.tools.prepare.archives import archive_stem, is_piece, volume

TEXTS = frozenset((".csv", ".json", ".txt"))
"""Endings of annotations and lists of labels."""
LARGEST_TEXT = 2**30


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that was found."""

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
class Found:
    """Everything found; problems are sentences about files that should have been videos or archives."""

    videos: list[Entry] = field(default_factory=list)
    archives: list[Entry] = field(default_factory=list)
    texts: list[Entry] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(file, what is wrong with it)."""
    others: int = 0
    """Files that are none of these; hidden ones are not counted."""
    folders: set[tuple[str, ...]] = field(default_factory=set)


def useful(name: str) -> bool:
    """Whether a file of that name can matter here: `._a.mp4`, which macOS packs beside `a.mp4`, does not."""
    suffix = Path(name).suffix.lower()
    return not name.startswith(".") and (suffix in VIDEO_EXTENSIONS | TEXTS or archive_stem(name) is not None)


def hidden(name: str) -> bool:
    """Whether a folder is passed over."""
    return name.startswith(".") or name == "__MACOSX"


def search(paths: Iterable[Path], leave_out: Iterable[Path] = ()) -> Found:
    """Search files and folders.

    Args:
        leave_out: folders that are not entered: our own results.

    Raises:
        DataError: a path that does not exist.
    """
    found = Found()
    walk = _Walk(found, {path.resolve() for path in leave_out})
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
    _check_volumes(found)
    return found


def search_staged(folder: Path, parents: tuple[str, ...], found: Found) -> None:
    """Add what was unpacked into a folder of ours; `parents` are the names of the archive's folders and the archive."""
    extra = Found()
    _Walk(extra, set(), staged=True).folder(folder, parents)
    _check_volumes(extra)
    found.videos += extra.videos
    found.archives += extra.archives
    found.texts += extra.texts
    found.problems += extra.problems
    found.others += extra.others
    found.folders |= extra.folders


class _Walk:
    def __init__(self, found: Found, leave_out: set[Path], staged: bool = False) -> None:
        self.found, self.seen, self.staged = found, set(leave_out), staged

    def folder(self, folder: Path, parents: tuple[str, ...]) -> None:
        real = folder.resolve()
        if real in self.seen:  # given twice, or a link that leads back
            return
        self.seen.add(real)
        self.found.folders.add(parents)
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.found.problems.append((printable(folder), f"cannot be read ({error.strerror})"))
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
        entry, suffix = Entry(path, parents, self.staged), path.suffix.lower()
        if is_piece(path.name):
            join = "join its pieces first: cat NAME.zip.* > NAME.zip"
            self.found.problems.append((entry.origin, f"is a piece of an archive that was cut up; {join}"))
        elif not useful(path.name):
            self.found.others += 1
        elif not path.is_file():
            what = "is a link that leads nowhere" if path.is_symlink() else "is not a file"
            self.found.problems.append((entry.origin, what))
        elif (real := real_folder / path.name) not in self.seen:
            self.seen.add(real)
            self._list(suffix).append(entry)

    def _list(self, suffix: str) -> list[Entry]:
        if suffix in VIDEO_EXTENSIONS:
            return self.found.videos
        return self.found.texts if suffix in TEXTS else self.found.archives


def _check_volumes(found: Found) -> None:
    """Leave the first volume of every RAR in several; name the sets with a gap, which nothing can unpack."""
    sets: dict[tuple[Path, str], dict[int, Entry]] = defaultdict(dict)
    for entry in found.archives:
        if known := volume(entry.name):
            sets[entry.path.parent, known[0]][known[1]] = entry
    dropped = set()
    for (_, stem), volumes in sets.items():
        gaps = sorted(set(range(1, max(volumes) + 1)) - set(volumes))
        dropped |= {entry.path for number, entry in volumes.items() if number > 1 or gaps}
        if gaps:
            shown = ", ".join(map(str, gaps))
            first = volumes[min(volumes)]
            found.problems.append((first.origin, f"volume {shown} of '{printable(stem)}' is missing beside it"))
    found.archives = [entry for entry in found.archives if entry.path not in dropped]


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
