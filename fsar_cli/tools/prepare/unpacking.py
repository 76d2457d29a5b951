"""Unpacking that trusts nothing: no member is written outside its folder, no link is ever made, no disk is filled.

An archive with a member that would leave the folder (an absolute name, `..`, a drive letter, a link to outside), or
that is a device or a pipe, is refused as a whole: no published data set holds one. This is stricter than tarfile's own
`data` filter, which mends absolute names without a word and is missing from the first releases of Python 3.11. Modes
and owners are not taken over. A link to a member of the same archive becomes that member's content.
"""

import errno
import os
import re
import shutil
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fsar_cli.data.video import printable
from fsar_cli.errors import DataError, in_a_line
from fsar_cli.tools.prepare.archives import (
    DAMAGED,
    INSTALL,
    PRINTERS,
    Encrypted,
    Member,
    Unreadable,
    kind_of,
    readers,
    zip_members,
)

MIB = 2**20
RESERVE = 256 * MIB
"""Free disk that unpacking leaves."""
MAX_RATIO, SLACK = 100, 64 * MIB
"""An archive may become so many times its size, and so much more whatever its size; videos hardly shrink at all."""
CHUNK = MIB
PROTECTED = "encrypt|password"
"""How programs say that they lack a password."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
ROOM = "free some space, or name another disk with --out; run the same again to go on"

Wanted = Callable[[tuple[str, ...]], bool]
"""Whether a member, by the parts of its name, is to be written."""


class DiskFull(DataError):
    """There is no room: what ends the whole run and not one archive only."""


@dataclass
class Unpacked:
    """What came out of an archive; `left_out` are the members that nobody wanted."""

    files: int = 0
    bytes: int = 0
    left_out: int = 0


def safe_parts(name: str) -> tuple[str, ...]:
    r"""The parts of a member's name; either slash separates, as archives made on Windows use the other one.

    Raises:
        DataError: the name is absolute, has a drive letter or goes up.
    """
    parts = tuple(part for part in re.split(r"[/\\]", name) if part not in ("", "."))
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or ".." in parts or "\0" in name:
        raise DataError(f"its member '{printable(name)}' would be written outside its folder", "do not unpack it")
    return parts


def unpack(
    archive: Path, folder: Path, wanted: Wanted, progress: Callable[[int], None] = lambda size: None
) -> Unpacked:
    """Write the wanted members of an archive of any kind into a folder.

    Raises:
        DataError: hostile, damaged, encrypted, no archive, or nothing can read it; the message names the archive.
        DiskFull: no room for it.
    """
    name = printable(archive)
    try:
        return _by_any_reader(archive, folder, wanted, progress)
    except Encrypted as error:
        raise _encrypted(name) from error
    except DAMAGED as error:
        raise _damaged(name, str(error)) from error
    except DataError as error:
        text = error.message if in_a_line(name) in error.message else f"{name}: {error.message}"
        raise type(error)(text, error.hint) from error
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(f"{printable(folder)} takes no more: {error.strerror}", ROOM) from error
        if error.errno is None:  # how gzip and bzip2 say that their input is damaged
            raise _damaged(name, str(error)) from error
        reason = f"{error.strerror}: {printable(error.filename)}" if error.filename else error.strerror
        raise DataError(f"{name} could not be unpacked ({reason})") from error


def _by_any_reader(archive: Path, folder: Path, wanted: Wanted, progress: Callable[[int], None]) -> Unpacked:
    """By the first program that gets through, or by Python alone."""
    failed: list[tuple[str, str]] = []
    for program, opened in readers(archive):
        try:
            with opened() as members:
                return write_members(members, folder, wanted, Budget(archive, folder), progress)
        except Unreadable as error:
            failed.append((program, str(error)))
            shutil.rmtree(folder, ignore_errors=True)
    raise _unreadable(archive, failed)


def _unreadable(archive: Path, failed: list[tuple[str, str]]) -> DataError:
    name = printable(archive)
    where = next((text for system, text in INSTALL.items() if sys.platform.startswith(system)), INSTALL["linux"])
    if not failed:
        able = ", ".join(PRINTERS) if kind_of(archive) == "rar" else "bsdtar"
        return DataError(f"{name} needs a program that unpacks it ({able}), and none is on PATH", where)
    if any(re.search(PROTECTED, reason, re.IGNORECASE) for _, reason in failed):
        return _encrypted(name)
    tried = "; ".join(f"{program}: {reason}" for program, reason in failed)
    hint = f"download it again; if it is whole, another program may read it: {where}"
    return DataError(f"{name} could not be unpacked ({tried})", hint)


def _damaged(name: str, reason: str) -> DataError:
    text = " ".join(reason.split()).rstrip(".") or "its data end early"
    return DataError(f"{name} is damaged or incomplete ({text})", "download it again")


def _encrypted(name: str) -> DataError:
    return DataError(f"{name} is encrypted", "unpack it yourself with its password, give the folder")


class Budget:
    """How much an archive may still become: bounded by its own size and by the disk."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.packed, self.folder, self.used = archive.stat().st_size, folder, 0

    def take(self, size: int) -> None:
        """Count bytes about to be written. Raises DataError, DiskFull."""
        self.used += size
        if self.used > self.packed * MAX_RATIO + SLACK:
            raise DataError(
                f"would become more than {self.used // MIB} MiB from {self.packed} bytes", "no archive of videos does"
            )
        check_room(self.folder, size)


def declared_size(archive: Path, wanted: Wanted) -> int:
    """Bytes an archive will become: exact for a zip, else its own size, since videos hardly shrink."""
    try:
        if kind_of(archive) == "zip":
            with zip_members(archive) as members:
                return sum(member.size for member in members if wanted(tuple(re.split(r"[/\\]", member.name))))
    except (DataError, OSError, RuntimeError, *DAMAGED):
        pass  # unpacking will name it
    return archive.stat().st_size


def check_room(folder: Path, size: int) -> None:
    """Raise DiskFull where `size` bytes do not fit."""
    free = shutil.disk_usage(folder).free
    if size + RESERVE > free:
        raise DiskFull(
            f"{size // MIB} MiB are to be written and {free // MIB} MiB are free in {printable(folder)}", ROOM
        )


def write_members(
    members: Iterable[Member], folder: Path, wanted: Wanted, budget: Budget, progress: Callable[[int], None]
) -> Unpacked:
    """Write members into a folder that holds nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    result = Unpacked()
    for member in members:
        parts = safe_parts(member.name)
        if member.kind == "other":
            raise DataError(f"its member '{printable(member.name)}' is a device or a pipe", "do not unpack it")
        source = folder.joinpath(*_inside(member, parts)) if "link" in member.kind else None
        if member.kind == "folder" or not parts:
            continue
        if not wanted(parts) or (source is not None and not source.is_file()):
            result.left_out += 1
            continue
        place = folder.joinpath(*parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        result.files += 1
        if source is not None:
            os.link(source, place)
        else:
            _write(member, place, budget, progress)
            result.bytes += member.size
    return result


def _inside(member: Member, parts: tuple[str, ...]) -> tuple[str, ...]:
    """Where in the archive a link leads. Raises DataError if it leads out of it."""
    hostile = DataError(
        f"its link '{printable(member.name)}' leads to '{printable(member.target)}'", "do not unpack it"
    )
    if member.target.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", member.target):
        raise hostile
    place = list(parts[:-1]) if member.kind == "link" else []
    for part in re.split(r"[/\\]", member.target):
        if part == "..":
            if not place:
                raise hostile
            place.pop()
        elif part not in ("", "."):
            place.append(part)
    return tuple(place)


def _write(member: Member, place: Path, budget: Budget, progress: Callable[[int], None]) -> None:
    """Write one file of exactly the size and, where it is known, the checksum that the archive declares."""
    budget.take(member.size)
    written = crc = 0
    with member.read() as content, place.open("wb") as file:
        for chunk in _chunks(content, member.size):
            file.write(chunk)
            written, crc = written + len(chunk), zlib.crc32(chunk, crc)
            progress(len(chunk))
    if written < member.size:
        raise tarfile.ReadError(f"'{printable(member.name)}' has {written} of {member.size} bytes")
    if member.crc not in (None, crc):
        raise tarfile.ReadError(f"the checksum of '{printable(member.name)}' is wrong")


def _chunks(content, size: int) -> Iterator[bytes]:
    """At most `size` bytes, so that nothing writes more than it declared."""
    while size > 0 and (chunk := content.read(min(CHUNK, size))):
        size -= len(chunk)
        yield chunk
