"""What is inside an archive, in one form, so that one piece of code can decide what may be written.

zip and tar are read by Python, a RAR's headers by rarfile. What a RAR holds packed, an installed program prints to a
pipe, one file after the other, and the headers tell where each ends and what its checksum is: no program writes a file
or is given a name of a member. 7z, Zstandard and zips with a method that Python lacks are turned into a tar by bsdtar.
Programs are called without a shell, with absolute paths, without a terminal to ask for passwords on, and each in its
own session, so that Ctrl-C reaches only fsar.
"""

import bz2
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Literal

import rarfile

from fsar_cli.data.video import printable
from fsar_cli.errors import DataError

Kind = Literal["zip", "tar", "rar", "other"]
_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PK\x07\x08", "zip"),
    (b"\x1f\x8b", "tar"),
    (b"BZh", "tar"),
    (b"\xfd7zXZ\x00", "tar"),
    (b"Rar!\x1a\x07", "rar"),
    (b"7z\xbc\xaf\x27\x1c", "other"),
    (b"\x28\xb5\x2f\xfd", "other"),
)
_HEADERS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE
)  # fmt: skip
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
PRINTERS = {
    "unrar": ("p", "-inul", "-p-", "--"),
    "unar": ("-q", "-o", "-", "--"),
    "7zz": ("e", "-so", "-bd", "-spd", "-pnone", "--"),
    "7z": ("e", "-so", "-bd", "-spd", "-pnone", "--"),
    "bsdtar": ("-xOf",),
}
"""Programs that print the files of a RAR in their order, and how; before the archive's name."""
INSTALL = {
    "linux": "apt install libarchive-tools (bsdtar), or unar, or unrar",
    "darwin": "bsdtar is part of macOS; brew install libarchive, or unar",
    "win32": "install 7-Zip or UnRAR and put it on PATH",
}
DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, rarfile.Error, EOFError, zlib.error, lzma.LZMAError, struct.error, ValueError,
    ArithmeticError, LookupError, NotImplementedError, RecursionError,
)  # fmt: skip
"""What the readers raise where the bytes make no sense; the last six in corners that they forgot."""
LONGEST_TARGET = 4096
LONGEST_HEADER = 2**20
"""Bytes of a long name, or of the facts of a member, in a tar."""
SIP = 512
"""Packed bytes, of which LZMA makes 4 MB at most."""


class Encrypted(Exception):
    """The archive needs a password."""


class Unreadable(Exception):
    """A program could not read the archive; another may."""


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
    """Opens a file's content; only until the next member is asked for."""
    crc: int | None = None
    """CRC-32 of the content where the reader itself does not compare it."""


Opened = Callable[[], AbstractContextManager[Iterator[Member]]]


def readers(path: Path) -> list[tuple[str, Opened]]:
    """The ways to read an archive: (program, opens its members); the program is empty where Python reads it alone.

    Raises:
        DataError: it is no archive. Encrypted: it is. Any of DAMAGED: its headers are.
    """
    kind = kind_of(path)
    if kind == "rar":
        infos = _rar_headers(path)
        if all(info.compress_type == rarfile.RAR_M0 for info in infos if not info.is_dir()):
            return [("", partial(_rar_members, path))]
        here = [name for name in PRINTERS if shutil.which(name)]
        return [(name, partial(_printed_members, name, path, infos)) for name in here]
    if kind == "zip" and _readable_zip(path):
        return [("", partial(zip_members, path))]
    if kind == "tar":
        return [("", partial(_tar_members, path))]
    return [("bsdtar", partial(_converted_members, path))] if shutil.which("bsdtar") else []


def kind_of(path: Path) -> Kind:
    """How to read an archive, by its first bytes: published sets hold plain tars called `.tar.gz`.

    Raises:
        DataError: it is none, but perhaps the web page of a refused download.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise DataError(f"{printable(path)} is empty (0 bytes)", "download it again")
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(
            f"{printable(path)} is a web page and not an archive",
            "the download was refused or needs a login: open the address in a browser",
        )
    if head[257:262] == b"ustar" or path.name.lower().endswith(".tar"):
        return "tar"
    raise DataError(f"{printable(path)} is not an archive, in spite of its name", "download it again")


def _readable_zip(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    if any(info.flag_bits & 1 for info in infos):
        raise Encrypted
    return all(info.compress_type in _ZIP_METHODS for info in infos)


@contextmanager
def zip_members(path: Path) -> Iterator[Iterator[Member]]:
    """The members of a zip."""
    with zipfile.ZipFile(path) as archive:
        yield (_from_zip(archive, info) for info in archive.infolist())


def _from_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    mode = info.external_attr >> 16
    if info.is_dir():
        return Member(info.filename, "folder")
    if stat.S_ISLNK(mode):
        with archive.open(info) as file:
            return Member(info.filename, "link", target=_target(file))
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return Member(info.filename, "other")
    if info.compress_type == zipfile.ZIP_BZIP2:
        read = partial(_from_bzip2, archive, info)
        return Member(info.filename, "file", info.file_size, read=read, crc=info.CRC)
    if info.compress_type == zipfile.ZIP_LZMA:
        return Member(info.filename, "file", info.file_size, read=lambda: _Sips(archive.open(info)))
    return Member(info.filename, "file", info.file_size, read=partial(archive.open, info))


def _from_bzip2(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """A member's content; zipfile itself would unpack 46 MB of 40 bytes at once."""
    packed = copy(info)
    packed.compress_type, packed.file_size, packed.CRC = zipfile.ZIP_STORED, info.compress_size, None
    return bz2.BZ2File(archive.open(packed))


class _Sips:
    """Takes little at a time of a method whose bytes zipfile unpacks at once, however many they become."""

    def __init__(self, content: zipfile.ZipExtFile) -> None:
        self.content = content
        content.MIN_READ_SIZE = SIP

    def read(self, size: int) -> bytes:
        return self.content.read1(min(size, SIP))

    def __enter__(self) -> "_Sips":
        return self

    def __exit__(self, *_: object) -> None:
        self.content.close()


def _target(content: IO[bytes]) -> str:
    return content.read(LONGEST_TARGET).decode(errors="surrogateescape")


@contextmanager
def _tar_members(path: Path) -> Iterator[Iterator[Member]]:
    with tarfile.open(path, "r:*", errorlevel=2, tarinfo=_TarMember) as archive:
        yield _to_the_end(archive)


class _TarMember(tarfile.TarInfo):
    """A member of sensible size: a negative one leads back for ever, and headers are read into memory as a whole."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.type in _HEADERS and self.size > LONGEST_HEADER):
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(archive)


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


def _open_rar(path: Path, seen: Callable[[rarfile.RarInfo], object] | None = None) -> rarfile.RarFile:
    try:
        return rarfile.RarFile(path, errors="strict", info_callback=seen)
    except (AttributeError, TypeError) as error:  # a volume without its first header
        raise ValueError("its headers make no sense") from error


def _rar_headers(path: Path) -> list[rarfile.RarInfo]:
    """The files and folders of a RAR and its further volumes, whose chain of headers is whole.

    rarfile compares the checksum of each header; it takes for the end what it does not know, and a missing end.
    """
    blocks: list[rarfile.RarInfo] = []
    archive = _open_rar(path, blocks.append)
    if archive.needs_password():
        raise Encrypted
    sizes = {str(name): Path(name).stat().st_size for name in archive.volumelist()}
    ends = [(block.data_offset + block.add_size, sizes[str(block.volume_file)]) for block in blocks]
    if any(end > size for end, size in ends):
        raise ValueError("it ends within a file")
    if not blocks or (blocks[-1].type != rarfile.RAR_BLOCK_ENDARC and ends[-1][0] != ends[-1][1]):
        raise ValueError("its headers end early")  # old programs wrote no end: then the last file ends with the archive
    return archive.infolist()


@contextmanager
def _rar_members(path: Path) -> Iterator[Iterator[Member]]:
    """The members of a RAR whose files are all stored as they are: rarfile reads them and compares their checksums."""
    archive = _open_rar(path)
    yield (_from_rar(info, partial(archive.open, info)) for info in archive.infolist())


def _from_rar(info: rarfile.RarInfo, read: Callable[[], IO[bytes]]) -> Member:
    if info.is_dir():
        return Member(info.filename, "folder")
    if info.file_redir:
        return Member(info.filename, "link" if info.is_symlink() else "hard link", target=info.file_redir[2])
    if info.is_symlink():  # version 4 stores the target as content
        with read() as content:
            return Member(info.filename, "link", target=_target(content))
    if info.host_os == rarfile.RAR_OS_UNIX and stat.S_IFMT(info.mode) not in (0, stat.S_IFREG):
        return Member(info.filename, "other")
    return Member(info.filename, "file", info.file_size, read=read, crc=info.CRC)


@contextmanager
def _printed_members(program: str, path: Path, infos: Sequence[rarfile.RarInfo]) -> Iterator[Iterator[Member]]:
    """The members of a RAR whose files a program prints."""
    with _running([program, *PRINTERS[program], str(path.absolute())]) as process:
        yield _cut(process.stdout, infos)
        if process.stdout.read(1):
            raise Unreadable("it prints more than the archive holds")
        # Programs also fail for less than wrong content, which checksums tell better, where there are any.
        if process.wait() and any(info.CRC is None for info in infos if info.file_size):
            raise Unreadable(f"it ended with {process.returncode}")


def _cut(stream: IO[bytes], infos: Sequence[rarfile.RarInfo]) -> Iterator[Member]:
    for info in infos:
        content = _Piece(stream, 0 if info.is_dir() or info.file_redir else info.file_size)
        yield _from_rar(info, lambda content=content: content)
        while content.read(2**20):  # what nobody wanted
            pass


class _Piece:
    """The next bytes of a stream as a file of their own."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self.stream, self.left = stream, size

    def read(self, size: int) -> bytes:
        data = self.stream.read(min(size, self.left))
        self.left -= len(data)
        return data

    def __enter__(self) -> "_Piece":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@contextmanager
def _converted_members(path: Path) -> Iterator[Iterator[Member]]:
    """The members of the tar that bsdtar makes of any archive on its standard output."""
    with _running(["bsdtar", "-cf", "-", "--format=pax", f"@{path.absolute()}"]) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|", errorlevel=2) as archive:
            yield (_from_tar(archive, info) for info in archive)
        process.stdout.read(2**20)  # the padding
        process.stdout.close()
        if process.wait():
            raise Unreadable(f"it ended with {process.returncode}")


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen]:
    """A program at work, ended with the block. Raises Unreadable with its complaint where its output is of no use."""
    # Names inside are Unicode: in a plain C locale bsdtar cannot write them.
    environment = os.environ | ({"LC_ALL": "C.UTF-8"} if sys.platform.startswith("linux") else {})
    with tempfile.TemporaryFile() as stderr:  # a pipe nobody reads would stop it once it is full
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )
        try:
            yield process
        except (Unreadable, *DAMAGED) as error:
            process.stdout.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            stderr.seek(0)
            raise Unreadable(_complaint(stderr.read().decode(errors="replace")) or str(error)) from error
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def _complaint(text: str) -> str:
    """The first line that says something, without the program's and the file's name."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if "Error exit delayed" not in line] or lines
    return re.sub(r"^(?:bsdtar|ERROR): *(?:Error reading archive .+: )?", "", lines[0]) if lines else ""
