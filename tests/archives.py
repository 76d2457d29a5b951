"""Small real archives for tests: zip, tar and RAR 5, well-behaved, nested, hostile or broken; and data sets in them.

Contents are given as `{name inside: bytes}`; a value may also be a `Link` or a `Device`. RAR is written here because no
free program writes it: members are stored as they are, which every reader of RAR 5 unpacks.
"""

import io
import json
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from videos import make_video

NAME = "[Name]_(x)!_&_'quoted';_cartwheel_f_cm_np1_le_med_0.avi"
"""A name as HMDB51 has them."""


@dataclass(frozen=True)
class Link:
    """A symbolic (or hard) link inside an archive."""

    target: str
    hard: bool = False


@dataclass(frozen=True)
class Device:
    """A character device, or a named pipe."""

    pipe: bool = False


Contents = Mapping[str, bytes | Link | Device]


def make_zip(path: Path, contents: Contents, encrypted: bool = False) -> Path:
    """A zip; `encrypted` sets the flag that says so, as the reader sees it before any password."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name  # the constructor would mend what is to be tested
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, (stat.S_IFREG | 0o644) << 16
            if isinstance(content, Link):
                info.external_attr, content = (stat.S_IFLNK | 0o777) << 16, content.target.encode()
            elif isinstance(content, Device):
                info.external_attr, content = ((stat.S_IFIFO if content.pipe else stat.S_IFCHR) | 0o644) << 16, b""
            archive.writestr(info, content)
    if encrypted:
        data = bytearray(path.read_bytes())
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = data.find(mark)
            while at >= 0:
                data[at + offset] |= 1
                at = data.find(mark, at + 4)
        path.write_bytes(data)
    return path


def make_tar(path: Path, contents: Contents, form: str = "gz") -> Path:
    """A tar; `form` is gz, bz2, xz or empty, whatever the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    level = {"compresslevel": 1} if form in ("gz", "bz2") else {}
    with tarfile.open(path, f"w:{form}", format=tarfile.PAX_FORMAT, **level) as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo("placeholder")
            info.name, info.mtime = name, 1_600_000_000
            if isinstance(content, Link):
                info.type, info.linkname = (tarfile.LNKTYPE if content.hard else tarfile.SYMTYPE), content.target
            elif isinstance(content, Device):
                info.type = tarfile.FIFOTYPE if content.pipe else tarfile.CHRTYPE
            else:
                info.size = len(content)
                info.mode = 0o4755  # setuid: must not survive
                archive.addfile(info, io.BytesIO(content))
                continue
            archive.addfile(info)
    return path


_SIGNATURE = b"Rar!\x1a\x07\x01\x00"
_MAIN, _FILE, _ENCRYPTION, _END = 1, 2, 4, 5


def _vint(number: int) -> bytes:
    """RAR 5's variable-length integer: 7 bits a byte, lowest first, the top bit says that more follow."""
    result = bytearray()
    while number > 0x7F:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*result, number])


def _block(kind: int, fields: bytes, data: bytes = b"", extra: bytes = b"", split: int = 0) -> bytes:
    flags = bool(extra) * 1 | (kind == _FILE) * 2 | split
    sizes = (_vint(len(extra)) if extra else b"") + (_vint(len(data)) if kind == _FILE else b"")
    header = _vint(kind) + _vint(flags) + sizes + fields + extra
    sized = _vint(len(header)) + header
    return zlib.crc32(sized).to_bytes(4, "little") + sized + data


def _rar_file(name: str, content: bytes | Link | Device, packed: bool = False) -> bytes:
    extra, data, attributes = b"", content, stat.S_IFREG | 0o644
    if isinstance(content, Device):
        data, attributes = b"", (stat.S_IFIFO if content.pipe else stat.S_IFCHR) | 0o644
    if isinstance(content, Link):
        target = content.target.encode()
        record = _vint(5) + _vint(4 if content.hard else 1) + _vint(0) + _vint(len(target)) + target
        extra, data, attributes = _vint(len(record)) + record, b"", stat.S_IFLNK | 0o777
    encoded, checksum, unix, method = name.encode(), zlib.crc32(data).to_bytes(4, "little"), 1, 3 << 7 if packed else 0
    fields = _vint(4) + _vint(len(data)) + _vint(attributes) + checksum + _vint(method) + _vint(unix)
    return _block(_FILE, fields + _vint(len(encoded)) + encoded, data, extra)


def make_rar(path: Path, contents: Contents, encrypted: bool = False, packed: bool = False) -> Path:
    """A RAR 5 archive of stored members.

    Args:
        encrypted: hide the headers, as `rar -hp` does.
        packed: say so of the members, which are none the less stored, so that a program is asked for them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    members = b"".join(_rar_file(name, content, packed) for name, content in contents.items())
    secret = _block(_ENCRYPTION, _vint(0) + _vint(0) + bytes([15]) + bytes(16)) if encrypted else b""
    path.write_bytes(_SIGNATURE + secret + _block(_MAIN, _vint(0)) + members + _block(_END, _vint(0)))
    return path


def make_rar_volumes(path: Path, name: str, pieces: list[bytes]) -> list[Path]:
    """A RAR 5 of one stored file in volumes `path.part1.rar`, ..., a piece of the file in each."""
    volumes, content = [], b"".join(pieces)
    for number, piece in enumerate(pieces):
        first, last = number == 0, number == len(pieces) - 1
        checksum = zlib.crc32(content if last else piece).to_bytes(4, "little")
        fields = _vint(4) + _vint(len(content)) + _vint(stat.S_IFREG | 0o644) + checksum + _vint(0) + _vint(1)
        split = (not first) * 8 | (not last) * 16
        file = _block(_FILE, fields + _vint(len(name.encode())) + name.encode(), piece, split=split)
        main = _block(_MAIN, _vint(1) if first else _vint(3) + _vint(number))
        volumes.append(path.with_name(f"{path.name}.part{number + 1}.rar"))
        volumes[-1].write_bytes(_SIGNATURE + main + file + _block(_END, _vint(not last)))
    return volumes


def make_old_rar(path: Path, contents: Mapping[str, bytes], encrypted: bool = False, end: bool = True) -> Path:
    """A RAR of version 4, as the data sets of 2011 and 2012 are, of stored members; old programs write no end."""

    def block(kind: int, flags: int, fields: bytes, data: bytes = b"") -> bytes:
        header = bytes([kind]) + flags.to_bytes(2, "little") + (7 + len(fields)).to_bytes(2, "little") + fields
        return (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little") + header + data

    def member(name: str, data: bytes) -> bytes:
        size, crc, encoded = len(data).to_bytes(4, "little"), zlib.crc32(data).to_bytes(4, "little"), name.encode()
        unix, time, version, stored = bytes([3]), bytes(4), bytes([20]), bytes([0x30])
        mode = (stat.S_IFREG | 0o644).to_bytes(4, "little")
        fields = size + size + unix + crc + time + version + stored + len(encoded).to_bytes(2, "little") + mode
        return block(0x74, 0x8000, fields + encoded, data)

    path.parent.mkdir(parents=True, exist_ok=True)
    members = b"".join(member(name, data) for name, data in contents.items())
    main = block(0x73, 0x80 if encrypted else 0, bytes(6))
    path.write_bytes(b"Rar!\x1a\x07\x00" + main + members + (block(0x7B, 0x4000, b"") if end else b""))
    return path


def cut(path: Path, share: float = 0.6) -> Path:
    """An archive whose download stopped."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def damage(path: Path, share: float = 0.5) -> Path:
    """An archive with some bytes changed in the middle."""
    data = bytearray(path.read_bytes())
    at = int(len(data) * share)
    data[at : at + 16] = bytes(255 - byte for byte in data[at : at + 16])
    path.write_bytes(data)
    return path


def everything(wanted: tuple[str, ...]) -> bool:
    """Whether a member is wanted: each is."""
    return True


def files(folder: Path) -> dict[str, bytes]:
    """{path inside: bytes} of all files in a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@cache
def clip(number: int = 0, suffix: str = ".mp4", frames: int = 4) -> bytes:
    """A small video, another one for each number; MPEG-4 in AVI as in HMDB51 and UCF101, else H.264."""
    options = {"codec": "mpeg4", "bframes": 0} if suffix == ".avi" else {}
    with TemporaryDirectory() as folder:
        return make_video(Path(folder, f"clip{suffix}"), frames=frames, first=37 * number, **options).read_bytes()


def make_hmdb51(path: Path, classes: Mapping[str, list[str]]) -> Path:
    """HMDB51's download: a RAR with a RAR of each class, given as {class: names}."""
    inner, number = {}, 0
    for label, names in classes.items():
        contents = {f"{label}/{name}": clip(number := number + 1, ".avi") for name in names}
        one = make_rar(path.with_name(f"{label}.rar"), contents)
        inner[one.name] = one.read_bytes()
        one.unlink()
    return make_rar(path, inner)


def make_ucf_crime(
    down: Path, parts: tuple[int, ...] = (1, 2, 3, 4), splits: tuple[str, ...] = ("train", "test"), frames: int = 4
) -> Path:
    """UCF Crime's downloads with one class a part, and its second version's, which marks two segments in each video."""
    videos = {}
    for part, label in enumerate(("Abuse", "Explosion", "Robbery", "Stealing"), 1):
        names = [f"{label}/{label}{n:03}_x264.mp4" for n in range(2)]
        videos |= {name: clip(2 * part + n, frames=frames) for n, name in enumerate(names)}
        if part in parts:
            contents = {f"Anomaly-Videos-Part-{part}/{name}": videos[name] for name in names}
            make_zip(down / f"Anomaly-Videos-Part-{part}.zip", contents)
    extra = ("Banner/banner18.MP4", "Banner/banner04.mp4", "MolotovBomb/molotof001.mp4", "MolotovBomb/molotof002.mp4")
    more = {name: clip(10 + n, frames=frames) for n, name in enumerate(extra)}
    marks = {name: [{"start": 0, "end": 1}, {"start": 2, "end": 3}] for name in videos | more}
    for n, split in enumerate(splits):
        text = json.dumps(dict(list(marks.items())[n :: len(splits)]))
        more[f"TemporalAnnotations/abnormal/{split}.json"] = text.encode()
    more |= {"CSV/UCF - Crime Temporal.csv": b"Filepath\n", "README.md": b"about"}
    inside = {f"ucf_crime_v2/{name}": content for name, content in more.items()}
    make_zip(down / "UCF Crime v2.zip", inside | {"__MACOSX/Banner/banner18.MP4": b"x"})
    normal = "Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264.mp4"
    make_zip(down / "Testing_Normal_Videos.zip", {normal: clip(9)})
    return down
