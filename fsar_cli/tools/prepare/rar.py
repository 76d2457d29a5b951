"""The headers of a RAR: what it must hold, by which the work of a program is checked.

Programs differ in what they notice: bsdtar (libarchive 3.6) ends without an error where a damaged header hides the rest
of an archive, and does not compare the checksums of stored files. Both versions of the format are a chain of headers,
each with a checksum of its own and, for a file, that of its content. Nothing is unpacked here.

Source: RAR 5.0 archive format and technote.txt, both by the makers of RAR.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fsar_cli.tools.prepare.members import Encrypted

SIGNATURE = b"Rar!\x1a\x07"


@dataclass(frozen=True)
class Listed:
    """A file of a RAR: size and CRC-32 of its content, None where the header does not tell."""

    size: int
    crc: int | None


def rar_files(path: Path) -> list[Listed] | None:
    """All files of a RAR, folders aside; None where it goes on in another volume or is no RAR.

    Raises:
        Encrypted: it is. ValueError: a header is damaged, or the chain ends early.
    """
    with path.open("rb") as file:
        signature = file.read(8)
        if signature == SIGNATURE + b"\x01\x00":
            return _version_5(file)
        if signature.startswith(SIGNATURE + b"\x00"):
            file.seek(7)
            return _version_4(file)
    return None


def _damaged(file: IO[bytes]) -> ValueError:
    return ValueError(f"no intact header at byte {file.tell()}")


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise ValueError(f"it ends at byte {file.tell()}, within a header")
    return data


def _skip(file: IO[bytes], size: int, end: int) -> None:
    if file.tell() + size > end:
        raise ValueError(f"it ends at byte {end}, within a file")
    file.seek(size, 1)


def _end(file: IO[bytes]) -> int:
    here = file.tell()
    end = file.seek(0, 2)
    file.seek(here)
    return end


class _Fields:
    """Reads variable-length integers (7 bits a byte, the lowest first) and fixed ones from a header."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def vint(self) -> int:
        number = shift = 0
        while True:
            if self.at >= len(self.data):
                raise ValueError("a header ends early")
            byte = self.data[self.at]
            number |= (byte & 0x7F) << shift
            shift, self.at = shift + 7, self.at + 1
            if byte < 0x80:
                return number

    def fixed(self, size: int) -> int:
        self.at += size
        return int.from_bytes(self.data[self.at - size : self.at], "little")


def _headers_5(file: IO[bytes]) -> Iterator[_Fields]:
    """The headers of version 5, each behind its checksum and size."""
    while True:
        checksum = int.from_bytes(_exactly(file, 4), "little")
        size = b""
        while not size or size[-1] >= 0x80:
            size += _exactly(file, 1)
            if len(size) > 3:
                raise _damaged(file)
        data = _exactly(file, _Fields(size).vint())
        if zlib.crc32(size + data) != checksum:
            raise _damaged(file)
        yield _Fields(data)


def _version_5(file: IO[bytes]) -> list[Listed] | None:
    found, end = [], _end(file)
    for fields in _headers_5(file):
        kind, flags = fields.vint(), fields.vint()
        if flags & 1:
            fields.vint()
        packed = fields.vint() if flags & 2 else 0
        if kind == 4:
            raise Encrypted
        if kind == 5 or (kind == 1 and fields.vint() & 1):  # the end, or the first of several volumes
            return found if kind == 5 else None
        if kind == 2:
            attributes, size = fields.vint(), fields.vint()
            fields.vint()
            fields.fixed(4 if attributes & 2 else 0)
            crc = fields.fixed(4) if attributes & 4 else None
            found += [] if attributes & 1 else [Listed(size, crc)]
        _skip(file, packed, end)
    return found


def _version_4(file: IO[bytes]) -> list[Listed] | None:
    """Version 4 and older, whose end header is not always there."""
    found, end = [], _end(file)
    while file.tell() < end:
        start = _exactly(file, 7)
        checksum, kind, flags, size = (
            int.from_bytes(start[a:b], "little") for a, b in ((0, 2), (2, 3), (3, 5), (5, 7))
        )
        fields = _Fields(_exactly(file, max(size - 7, 0)))
        # The checksum of the main header leaves a comment within it out.
        if size < 7 or (kind != 0x73 and zlib.crc32(start[2:] + fields.data) & 0xFFFF != checksum):
            raise _damaged(file)
        if (kind == 0x73 and flags & 0x80) or (kind == 0x74 and flags & 4):
            raise Encrypted
        if kind == 0x7B or (kind == 0x73 and flags & 1):
            return found if kind == 0x7B else None
        packed = fields.fixed(4) if kind in (0x74, 0x7A) or flags & 0x8000 else 0
        if kind in (0x74, 0x7A):
            unpacked, _, crc, _ = fields.fixed(4), fields.fixed(1), fields.fixed(4), fields.fixed(12)
            if flags & 0x100:
                packed, unpacked = packed + (fields.fixed(4) << 32), unpacked + (fields.fixed(4) << 32)
            found += [Listed(unpacked, crc)] if kind == 0x74 and flags & 0xE0 != 0xE0 else []
        _skip(file, packed, end)
    return found
