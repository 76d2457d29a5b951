"""Archives of any bytes: files inside a folder, or a refusal in a line."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from archives import everything
from hostile import check, file_of, inputs, lawful, place, seeds_of, tried
from hypothesis import given
from hypothesis import strategies as st

from fsar_cli.errors import DataError
from fsar_cli.tools.prepare.datasets import _kinetics_rows
from fsar_cli.tools.prepare.searching import SourceFile
from fsar_cli.tools.prepare.unpacking import unpack


def _header(name: str = "a", size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    data = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    data[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    data[148:156] = b"%06o\0 " % sum(data[:148] + b" " * 8 + data[156:])
    return bytes(data)


def _zip(method: int, content: bytes = b"a", flags: int = 0, declared: int | None = None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("a/b", content)
    data = bytearray(stream.getvalue())
    at = data.rfind(b"PK\x01\x02")
    data[at + 8] |= flags
    if declared is not None:
        data[at + 24 : at + 28] = declared.to_bytes(4, "little")
    return bytes(data)


def _newer(data: bytes) -> bytes:
    at = data.rfind(b"PK\x01\x02")
    return data[: at + 6] + b"\xff" + data[at + 7 :]


END = bytes(1024)
LONG = _header("././@LongLink", 1, tarfile.GNUTYPE_LONGNAME) + b"x" + bytes(511)
KEPT = {
    "a member of a negative size": _header(size=-512) + END,
    "a member that leads back to itself": _header() + _header(size=-1024) + END,
    "long names of long names": LONG * 3000 + _header() + END,
    "a long name of a gigabyte": _header("././@LongLink", 2**30, tarfile.GNUTYPE_LONGNAME) + END,
    "a long name of 256 MiB in a small file": gzip.compress(
        _header("././@LongLink", 2**28, tarfile.GNUTYPE_LONGNAME) + bytes(2**28)
    ),
    "facts of 256 MiB in a small file": gzip.compress(_header("x", 2**28, tarfile.XHDTYPE) + bytes(2**28)),
    "a zip of patches": _zip(zipfile.ZIP_STORED, flags=0x20),
    "a zip of strong encryption": _zip(zipfile.ZIP_STORED, flags=0x40),
    "a zip of a newer version": _newer(_zip(zipfile.ZIP_STORED)),
    "a zip of bzip2 that says it is small": _zip(zipfile.ZIP_BZIP2, bytes(2**29), declared=10**6),
    "a zip of LZMA that says it is small": _zip(zipfile.ZIP_LZMA, bytes(2**29), declared=10**6),
}


def test_what_is_valid_keeps_the_law() -> None:
    for data in seeds_of("archive"):
        check("archive", data)


@pytest.mark.parametrize("name", KEPT)
def test_an_archive_that_once_broke_it_keeps_the_law(name: str, tmp_path: Path) -> None:
    check("archive", KEPT[name])
    with pytest.raises(DataError):
        unpack(file_of(KEPT[name], "a.tar", tmp_path), tmp_path / "out", everything)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_is_read_in_sips_gives_back_its_bytes(method: int, tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    path, out = file_of(_zip(method, content), "a.zip", tmp_path), tmp_path / "out"
    unpack(path, out, everything)
    assert (out / "a/b").read_bytes() == content


@tried(150)
@given(inputs("archive"))
def test_any_bytes_are_unpacked_into_their_folder_or_refused(data: bytes) -> None:
    check("archive", data)


@tried(60)
@given(
    st.binary(max_size=60)
    | st.sampled_from(
        [b"label,youtube_id\na", b"[" * 99_999, b'{"a": {"annotations": {"label": "x", "segment": [[]]}}}']
    )
)
def test_tables_of_kinetics_are_read_or_passed_over(data: bytes) -> None:
    with place() as folder:
        for name in ("a.csv", "a.json"):
            path = file_of(data, name, folder)
            lawful(lambda path=path: _kinetics_rows(SourceFile(path, ())), len(data))
