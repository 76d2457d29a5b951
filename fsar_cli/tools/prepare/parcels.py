"""The unpacking of a preparation: every archive, also those inside others, each noted when it is complete."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fsar_cli.data.video import printable
from fsar_cli.errors import DataError
from fsar_cli.reporting import SILENT, Reporter, Task
from fsar_cli.tools.prepare import Rules
from fsar_cli.tools.prepare.searching import Entry, Found, hidden, search_staged, useful
from fsar_cli.tools.prepare.unpacking import DiskFull, Unpacked, Wanted, check_room, declared_size, unpack
from fsar_cli.tools.prepare.workshop import Workshop, key_of

MAX_DEPTH = 4
"""Archives within archives are unpacked so deep."""


@dataclass(frozen=True)
class Parcel:
    """An archive to unpack: packed size and what it becomes (bytes, at least)."""

    archive: Entry
    packed: int
    unpacked: int
    done: bool


@dataclass
class Unpacking:
    """What the unpacking did."""

    files: dict[str, int] = field(default_factory=dict)
    """Files that came out of each archive now."""
    skipped: int = 0
    """Archives that were unpacked before."""
    left_out: int = 0
    """Members of archives that nobody needs."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(archive, what is wrong with it)."""


def parcels(rules: Rules, found: Found, shop: Workshop | None = None) -> list[Parcel]:
    """The archives with their sizes."""
    return [
        Parcel(
            archive,
            archive.path.stat().st_size,
            declared_size(archive.path, lambda parts, a=archive: _wanted(rules, a, parts)),
            bool(shop and shop.is_done(archive)),
        )
        for archive in found.archives
    ]


def _wanted(rules: Rules, archive: Entry, parts: tuple[str, ...]) -> bool:
    *folders, name = parts or ("",)
    parents = (*archive.parents, archive.name, *folders)
    return not any(map(hidden, folders)) and useful(name) and not rules.unwanted(parents, name)


def unpack_all(rules: Rules, found: Found, shop: Workshop, result: Unpacking, reporter: Reporter = SILENT) -> None:
    """Unpack what was not unpacked before; `result` is filled as it goes, so that Ctrl-C loses no count.

    Raises:
        DiskFull: the archives do not fit.
    """
    todo = parcels(rules, found, shop)
    result.skipped = sum(parcel.done for parcel in todo)
    check_room(shop.root, sum(parcel.unpacked for parcel in todo if not parcel.done))
    first = [(parcel.archive, 0) for parcel in todo if not parcel.done]
    for row in list(shop.rows.values()):  # what lies packed in archives that were unpacked before
        first += _inside(shop, row.folder, Path(row.origin).parts, 1)
    with reporter.track("unpack", len(first), "archives") as task:
        for archive, depth in first:
            waiting = [(archive, depth)]
            while waiting:  # depth first: an archive inside another is deleted as soon as it is unpacked
                waiting[:0] = _unpack_one(rules, *waiting.pop(0), shop, result, reporter, task)
            task.advance()


def _unpack_one(
    rules: Rules,
    archive: Entry,
    depth: int,
    shop: Workshop,
    result: Unpacking,
    reporter: Reporter,
    task: Task,
) -> Sequence[tuple[Entry, int]]:
    """Unpack one archive; returns those that it holds, with their depth."""
    number = shop.free_number()
    folder, size = shop.folder(number), 0

    def progress(written: int) -> None:
        nonlocal size
        size += written
        task.advance(0, archive=printable(archive.name), MiB=size // 2**20)

    try:
        if depth >= MAX_DEPTH:
            raise DataError(f"lies in {depth} archives, one in another", "unpack it yourself and give the folder")
        if not shop.is_done(archive):
            got = _whole(archive, folder, lambda parts: _wanted(rules, archive, parts), progress)
            shop.add(archive, number, got.files, got.bytes)
            result.files[archive.origin], result.left_out = got.files, result.left_out + got.left_out
            reporter.detail(f"{archive.origin}: {got.files} files, {got.bytes / 2**20:.1f} MiB")
    except DiskFull:
        raise
    except DataError as error:
        reason = error.message.removeprefix(printable(archive.path)).lstrip(": ")
        result.problems.append((archive.origin, f"{reason}; {error.hint}" if error.hint else reason))
        reporter.warn(f"{archive.origin} {reason}")
        return []
    if archive.staged:
        archive.path.unlink()
    return _inside(shop, shop.rows[key_of(archive)].folder, (*archive.parents, archive.name), depth + 1)


def _whole(archive: Entry, folder: Path, wanted: Wanted, progress: Callable[[int], None]) -> Unpacked:
    """Unpack an archive into its folder, which does not stay where that fails or is interrupted."""
    try:
        return unpack(archive.path, folder, wanted, progress)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _inside(shop: Workshop, number: int, parents: tuple[str, ...], depth: int) -> list[tuple[Entry, int]]:
    inner = Found()
    if shop.folder(number).is_dir():
        search_staged(shop.folder(number), parents, inner)
    return [(archive, depth) for archive in inner.archives]
