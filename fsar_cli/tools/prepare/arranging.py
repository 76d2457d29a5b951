"""Videos into OUT/videos/CLASS/NAME, each once, and nothing in place overwritten.

What we unpacked is moved; what belongs to the user is linked (hard, else symbolic; copied only when asked). Where
several files claim one place, equal contents are one video; a published replacement wins over an original that does
not decode; else the first stays and the others are named.
"""

import filecmp
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fsar_cli.data.video import count_frames, printable
from fsar_cli.errors import DataError
from fsar_cli.files import atomic
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.tools.prepare.datasets import TreePlace
from fsar_cli.tools.prepare.searching import SourceFile
from fsar_cli.tools.prepare.unpacking import FULL, ROOM, DiskFull

OUTCOMES = ("moved", "linked", "symlinked", "copied", "there", "twice", "replaced")
"""What became of a video: `there` was in place before, `twice` is equal to another one in place, `replaced` is a broken
original whose replacement was taken."""


@dataclass
class Arranged:
    """What became of the videos."""

    counts: Counter[str] = field(default_factory=Counter)
    """Videos by outcome."""
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    """(file, why it has no place)."""


def arrange(
    wanted: Iterable[tuple[SourceFile, TreePlace]], videos: Path, copy: bool = False, reporter: Reporter = SILENT
) -> Arranged:
    """Put each video into its place.

    Raises:
        DiskFull: no room for a copy.
    """
    claims: dict[Path, list[tuple[SourceFile, TreePlace]]] = defaultdict(list)
    result = Arranged()
    for file, place in wanted:
        if place.label.startswith(".") or re.search(r"[/\\\0]", place.label):  # labels are read from files
            result.conflicts.append((file.origin, f"'{place.label}' cannot be the name of a class"))
        else:
            claims[videos / place.label / place.name].append((file, place))
    with reporter.track("arrange", len(claims), "videos") as task:
        for place, claimed in claims.items():
            _settle(place, claimed, copy, result)
            task.advance()
    return result


def _settle(place: Path, claimed: list[tuple[SourceFile, TreePlace]], copy: bool, result: Arranged) -> None:
    files = [file for file, _ in claimed]
    if os.path.lexists(place):
        for file in files:
            _keep(place, file, "there", result)
        return
    first, *others = _by_merit(claimed, result)
    place.parent.mkdir(parents=True, exist_ok=True)
    _put(first, place, copy, result)
    for file in others:
        _keep(place, file, "twice", result)


def _by_merit(claimed: list[tuple[SourceFile, TreePlace]], result: Arranged) -> list[SourceFile]:
    """The claimants, the one that gets the place first; broken originals are gone."""
    originals = [file for file, place in claimed if not place.repaired]
    repaired = [file for file, place in claimed if place.repaired]
    if originals and repaired and not equal(originals[0].path, repaired[0].path):
        broken = [file for file in originals if not decodes(file.path)]
        result.counts["replaced"] += len(broken)
        originals = [file for file in originals if file not in broken]
        for file in broken:
            _discard(file)
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


def _keep(place: Path, file: SourceFile, outcome: str, result: Arranged) -> None:
    """Leave what is in place; `outcome` is that of an equal file."""
    if equal(place, file.path):
        result.counts[outcome] += 1
        _discard(file)
    else:
        what = f"differs from {printable(place)}, which has its place" if place.exists() else (
            f"{printable(place)} is a link that leads nowhere: remove it"
        )  # fmt: skip
        result.conflicts.append((file.origin, what))


def _discard(file: SourceFile) -> None:
    if file.staged:
        file.path.unlink()


def _put(file: SourceFile, place: Path, copy: bool, result: Arranged) -> None:
    try:
        if file.staged:
            os.replace(file.path, place)
            result.counts["moved"] += 1
        elif copy:
            with atomic(place) as part:
                shutil.copyfile(file.path, part)
            result.counts["copied"] += 1
        else:
            _link(file.path.resolve() if file.path.is_symlink() else file.path, place, result)
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(f"{printable(place)} cannot be written: {error.strerror}", ROOM) from error
        result.conflicts.append((file.origin, f"cannot be put to {printable(place)} ({error.strerror})"))


def _link(source: Path, place: Path, result: Arranged) -> None:
    try:
        os.link(source, place)
        result.counts["linked"] += 1
    except OSError:  # another disk, or one that knows no hard links
        os.symlink(source, place)
        result.counts["symlinked"] += 1
