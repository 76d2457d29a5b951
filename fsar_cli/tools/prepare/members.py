"""What is inside a zip or a tar, in one form, so that one piece of code can decide what may be written."""

import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Literal

LONGEST_TARGET = 4096


class Encrypted(Exception):
    """The archive needs a password."""


@dataclass(frozen=True, slots=True)
class Member:
    """One thing in an archive."""

    name: str
    """As the archive says: nothing about it can be trusted."""
    kind: Literal["file", "folder", "link", "hard link", "other"]
    size: int = 0
    """Bytes of a file, as declared."""
    target: str = ""
    """Of a link: relative to the member's folder; of a hard link: relative to the archive's root."""
    read: Callable[[], IO[bytes]] | None = None
    """Opens a file's content."""


@contextmanager
def zip_members(path: Path) -> Iterator[Iterator[Member]]:
    """The members of a zip."""
    with zipfile.ZipFile(path) as archive:
        yield (_from_zip(archive, info) for info in archive.infolist())


def _from_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    if info.flag_bits & 1:
        raise Encrypted
    mode = info.external_attr >> 16
    if info.is_dir():
        return Member(info.filename, "folder")
    if stat.S_ISLNK(mode):
        with archive.open(info) as file:
            return Member(info.filename, "link", target=file.read(LONGEST_TARGET).decode(errors="surrogateescape"))
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return Member(info.filename, "other")
    return Member(info.filename, "file", info.file_size, read=partial(archive.open, info))


@contextmanager
def tar_members(path: Path) -> Iterator[Iterator[Member]]:
    """The members of a tar, packed by gzip, bzip2 or xz or not at all; its end is looked at as well."""
    with tarfile.open(path, "r:*", errorlevel=2) as archive:
        yield _to_the_end(archive)


@contextmanager
def streamed_members(stream: IO[bytes]) -> Iterator[Iterator[Member]]:
    """The members of a tar that comes through a pipe."""
    with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as archive:
        yield (_from_tar(archive, info) for info in archive)


def _to_the_end(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        yield _from_tar(archive, info)
    # tarfile takes a file that stops between two members, or goes on with garbage, for whole. Reading on to the end
    # also verifies the checksum of gzip.
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it stops without an end mark")
    while archive.fileobj.read(tarfile.RECORDSIZE):
        pass


def _from_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    if info.isdir():
        return Member(info.name, "folder")
    if info.issym() or info.islnk():
        return Member(info.name, "link" if info.issym() else "hard link", target=info.linkname)
    if not info.isfile():
        return Member(info.name, "other")
    return Member(info.name, "file", info.size, read=partial(archive.extractfile, info))
