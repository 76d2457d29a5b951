"""Which files are archives: by their names, the volumes they come in, and the kind that their first bytes tell.

The name decides whether a file is looked at; its content decides how: published sets hold plain tars called `.tar.gz`,
and what is called an archive may be the web page of a refused download.
"""

import re
from pathlib import Path
from typing import Literal

from fsar_cli.data.video import printable
from fsar_cli.errors import DataError

Kind = Literal["zip", "tar", "other"]
"""`other` is what neither zipfile nor tarfile reads (RAR, 7z, Zstandard): an installed program must."""

ENDINGS = (
    ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz", ".tbz2", ".txz", ".tzst", ".tar", ".zip", ".rar", ".7z",
)  # fmt: skip
"""What the names of archives end in, capitals aside."""

_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PK\x07\x08", "zip"),
    (b"\x1f\x8b", "tar"),
    (b"BZh", "tar"),
    (b"\xfd7zXZ\x00", "tar"),
    (b"Rar!\x1a\x07", "other"),
    (b"7z\xbc\xaf\x27\x1c", "other"),
    (b"\x28\xb5\x2f\xfd", "other"),
)
_RAR_VOLUME = re.compile(r"(?i)(?P<stem>.+)\.(?:part0*(?P<part>\d+)\.rar|r(?P<old>\d{2,}))")
_PIECE = re.compile(r"(?i).+\.(?:zip|tar|tgz|gz|7z|rar)\.\d{2,}")


def archive_stem(name: str) -> str | None:
    """An archive's name without its endings; None where it is not called an archive.

    >>> [archive_stem(name) for name in ("hmdb51_org.rar", "UCF.part02.rar", "part_0.tar.gz", "a.avi")]
    ['hmdb51_org', 'UCF', 'part_0', None]
    """
    if found := _RAR_VOLUME.fullmatch(name):
        return found["stem"]
    return next((name[: -len(end)] for end in ENDINGS if name.lower().endswith(end) and len(name) > len(end)), None)


def volume(name: str) -> tuple[str, int] | None:
    """(name of the set, number from 1 on) of a volume of a RAR that was written in several; None for other names.

    >>> volume("UCF.part02.rar"), volume("UCF.r00"), volume("UCF.rar")
    (('UCF.part', 2), ('UCF', 2), ('UCF', 1))
    """
    found = _RAR_VOLUME.fullmatch(name)
    if found and found["part"]:
        return f"{found['stem']}.part", int(found["part"])
    if found:
        return found["stem"], int(found["old"]) + 2
    return (name[:-4], 1) if name.lower().endswith(".rar") else None


def has_volumes(path: Path) -> bool:
    """Whether an archive goes on in other files beside it."""
    own = volume(path.name)
    others = [volume(other.name) for other in path.parent.iterdir()] if own else []
    return any(other is not None and other[0] == own[0] and other[1] > 1 for other in others)


def is_piece(name: str) -> bool:
    """Whether the name is that of a piece of an archive that was cut up, such as `videos.zip.001`."""
    return _PIECE.fullmatch(name) is not None


def kind_of(path: Path) -> Kind:
    """How to read an archive, by its first bytes.

    Raises:
        DataError: it is none.
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
