"""Videos into OUT/videos/CLASS/NAME, each once, and nothing in place overwritten.

What we unpacked is moved; what belongs to the user is linked (hard, else symbolic; copied only when asked). Where
several files claim one place, equal contents are one video; a published replacement wins over an original that does
not decode; else the first stays and the others are named.
"""

import filecmp
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fsar_cli.data.video import count_frames, printable
from fsar_cli.errors import DataError
from fsar_cli.files import atomic
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.tools.prepare.rules import Place
from fsar_cli.tools.prepare.searching import Entry
from fsar_cli.tools.prepare.unpacking import FULL, ROOM, DiskFull


@dataclass
class Arranged:
    """What became of the videos."""

    moved: int = 0
    linked: int = 0
    """Hard links."""
    symlinked: int = 0
    copied: int = 0
    there: int = 0
    """In place before."""
    twice: int = 0
    """Equal to another one in place."""
    replaced: int = 0
    """Broken originals whose replacement was taken."""
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    """(file, why it has no place)."""


def arrange(
    wanted: Iterable[tuple[Entry, Place]], videos: Path, copy: bool = False, reporter: Reporter = SILENT
) -> Arranged:
    """Put each video into its place.

    Raises:
        DiskFull: no room for a copy.
    """
    claims: dict[Path, list[tuple[Entry, Place]]] = defaultdict(list)
    result = Arranged()
    for entry, place in wanted:
        if place.label.startswith(".") or re.search(r"[/\\\0]", place.label):  # labels are read from files
            result.conflicts.append((entry.origin, f"'{place.label}' cannot be the name of a class"))
        else:
            claims[videos / place.label / place.name].append((entry, place))
    with reporter.track("arrange", len(claims), "videos") as task:
        for place, claimed in claims.items():
            _settle(place, claimed, copy, result)
            task.advance()
    return result


def _settle(place: Path, claimed: list[tuple[Entry, Place]], copy: bool, result: Arranged) -> None:
    entries = [entry for entry, _ in claimed]
    if os.path.lexists(place):
        for entry in entries:
            _keep(place, entry, "there", result)
        return
    first, *others = _by_merit(claimed, result)
    place.parent.mkdir(parents=True, exist_ok=True)
    _put(first, place, copy, result)
    for entry in others:
        _keep(place, entry, "twice", result)


def _by_merit(claimed: list[tuple[Entry, Place]], result: Arranged) -> list[Entry]:
    """The claimants, the one that gets the place first; broken originals are gone."""
    originals = [entry for entry, place in claimed if not place.repaired]
    repaired = [entry for entry, place in claimed if place.repaired]
    if originals and repaired and not equal(originals[0].path, repaired[0].path):
        broken = [entry for entry in originals if not decodes(entry.path)]
        result.replaced += len(broken)
        originals = [entry for entry in originals if entry not in broken]
        for entry in broken:
            _discard(entry)
    return originals + repaired


def decodes(path: Path) -> bool:
    """Whether a video can be read to its end."""
    try:
        return count_frames(path) > 0
    except DataError:
        return False


def equal(one: Path, other: Path) -> bool:
    """Whether two files are one, or have the same content."""
    try:
        if os.path.samefile(one, other):
            return True
        return one.stat().st_size == other.stat().st_size and filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _keep(place: Path, entry: Entry, count: str, result: Arranged) -> None:
    """Leave what is in place; `count` names the figure that an equal file adds to."""
    if equal(place, entry.path):
        setattr(result, count, getattr(result, count) + 1)
        _discard(entry)
    else:
        what = f"differs from {printable(place)}, which has its place" if place.exists() else (
            f"{printable(place)} is a link that leads nowhere: remove it"
        )  # fmt: skip
        result.conflicts.append((entry.origin, what))


def _discard(entry: Entry) -> None:
    if entry.staged:
        entry.path.unlink()


def _put(entry: Entry, place: Path, copy: bool, result: Arranged) -> None:
    try:
        if entry.staged:
            os.replace(entry.path, place)
            result.moved += 1
        elif copy:
            with atomic(place) as part:
                shutil.copyfile(entry.path, part)
            result.copied += 1
        else:
            _link(entry.path.resolve() if entry.path.is_symlink() else entry.path, place, result)
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(f"{printable(place)} cannot be written: {error.strerror}", ROOM) from error
        result.conflicts.append((entry.origin, f"cannot be put to {printable(place)} ({error.strerror})"))


def _link(source: Path, place: Path, result: Arranged) -> None:
    try:
        os.link(source, place)
        result.linked += 1
    except OSError:  # another disk, or one that knows no hard links
        os.symlink(source, place)
        result.symlinked += 1


def count_classes(videos: Path) -> Mapping[str, int]:
    """Videos of each class in place; empty where there is no tree."""
    from fsar_cli.data.splits.tree import scan_tree

    try:
        return {name: len(ids) for name, ids in scan_tree(videos).classes.items()}
    except DataError:
        return {}
