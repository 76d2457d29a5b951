"""Archives that need an installed program: stand-ins for all of them, and bsdtar itself where it is installed."""

import base64
import io
import shlex
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from archives import NAME, Link, everything, files, make_old_rar, make_rar, make_tar, make_zip

from fsar_cli.errors import DataError
from fsar_cli.tools.prepare import archives
from fsar_cli.tools.prepare.unpacking import unpack

needs_bsdtar = pytest.mark.skipif(not shutil.which("bsdtar"), reason="bsdtar (libarchive-tools) is not installed")
# For the shell a call of Python, whose path may hold spaces; for Python a text.
FAKE = """#!/bin/sh
''''exec {python} "$0" "$@" # '''
import sys
with open({log!r}, "a") as log:
    print(sys.argv[1:], file=log)
sys.stdout.buffer.write({content!r})
sys.exit({fails!r})
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch):
    """`program("unrar", content)` puts a stand-in that prints it on an otherwise empty PATH; its calls are logged."""
    folder, log = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(name: str, content: bytes, fails: str | int = 0) -> Path:
        script = FAKE.format(python=shlex.quote(sys.executable), log=str(log), content=content, fails=fails)
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
        return log

    return add


def packed(path: Path, contents: dict[str, bytes | Link]) -> Path:
    return make_rar(path, contents, packed=True)


@pytest.mark.parametrize("name", archives.PRINTERS)
def test_any_of_the_programs_will_do(tmp_path: Path, program, name: str) -> None:
    contents = {"cartwheel/a.avi": b"a", f"cartwheel/{NAME}": b"video" * 1000, "cartwheel/empty.avi": b""}
    archive = packed(tmp_path / "-x; touch 'pwned' [1].rar", contents)
    log = program(name, b"".join(contents.values()))
    got = unpack(archive, tmp_path / "out", lambda parts: parts[-1] != "a.avi")
    assert files(tmp_path / "out") == {f"cartwheel/{NAME}": b"video" * 1000, "cartwheel/empty.avi": b""}
    assert (got.files, got.left_out) == (2, 1)
    (call,) = log.read_text().splitlines()
    assert str(archive) in call and "cartwheel" not in call
    assert not list(tmp_path.rglob("pwned*"))


def test_hostile_names_are_refused_before_a_byte_is_written(tmp_path: Path, program) -> None:
    program("unrar", b"1")
    with pytest.raises(DataError, match="outside its folder"):
        unpack(packed(tmp_path / "a.rar", {"../evil.avi": b"1"}), tmp_path / "out", everything)
    with pytest.raises(DataError, match="leads to '/etc/passwd'"):
        unpack(packed(tmp_path / "a.rar", {"a.avi": Link("/etc/passwd")}), tmp_path / "out", everything)
    assert files(tmp_path / "out") == {} and not (tmp_path / "evil.avi").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"1", "'b.avi' has 0 of 1 bytes"), (b"13", "checksum of 'b.avi' is wrong"), (b"123", "prints more than")],
)
def test_what_they_print_is_compared_with_the_headers(tmp_path: Path, program, content: bytes, reason: str) -> None:
    """As bsdtar does without a word where a header in the middle is damaged."""
    program("unrar", content)
    archive = packed(tmp_path / "a.rar", {"a.avi": b"1", "b.avi": b"2"})
    with pytest.raises(DataError, match=rf"could not be unpacked \(unrar: .*{reason}"):
        unpack(archive, tmp_path / "out", everything)
    assert not (tmp_path / "out").exists()


def test_the_next_program_is_tried_where_one_gives_up(tmp_path: Path, program) -> None:
    archive = packed(tmp_path / "a.rar", {"a.avi": b"1"})
    program("unrar", b"", fails="Unsupported method")
    program("7z", b"1")
    assert unpack(archive, tmp_path / "out", everything).files == 1
    program("7z", b"2", fails="CRC failed")
    with pytest.raises(DataError, match=r"\(unrar: Unsupported method; 7z: CRC failed\)"):
        unpack(archive, tmp_path / "out2", everything)
    program("7z", b"", fails="ERROR: Wrong password?")
    with pytest.raises(DataError, match=r"a\.rar is encrypted"):
        unpack(archive, tmp_path / "out3", everything)


def test_a_program_that_never_stops_is_stopped(tmp_path: Path, program) -> None:
    program("unrar", b"1" * 10_000_000)
    with pytest.raises(DataError, match="prints more than the archive holds"):
        unpack(packed(tmp_path / "a.rar", {"a.avi": b"1"}), tmp_path / "out", everything)


def test_without_a_program_the_packages_are_named(tmp_path: Path, program) -> None:
    archive = packed(tmp_path / "hmdb51_org.rar", {"a.avi": b"1"})
    with pytest.raises(DataError, match=r"hmdb51_org\.rar needs a program .*unrar, unar, 7zz") as caught:
        unpack(archive, tmp_path / "out", everything)
    assert "libarchive" in caught.value.hint or sys.platform == "win32"


def test_a_rar_of_stored_files_needs_no_program(tmp_path: Path, program) -> None:
    for make in (make_rar, make_old_rar):
        assert unpack(make(tmp_path / "a.rar", {"a.avi": b"1"}), tmp_path / make.__name__, everything).files == 1


def test_an_unknown_method_of_a_zip_is_left_to_bsdtar(tmp_path: Path, program) -> None:
    """Deflate64, which Windows uses for large zips, is not in zipfile."""
    archive = make_zip(tmp_path / "a.zip", {"a.avi": b"x" * 1000})
    data = archive.read_bytes()
    for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.find(mark) + offset
        data = data[:at] + (9).to_bytes(2, "little") + data[at + 2 :]
    archive.write_bytes(data)
    with zipfile.ZipFile(io.BytesIO(data)) as opened_zip, pytest.raises(NotImplementedError):
        opened_zip.read("a.avi")
    with pytest.raises(DataError, match=r"a\.zip needs a program"):
        unpack(archive, tmp_path / "out", everything)
    program("bsdtar", make_tar(tmp_path / "a.tar", {"a.avi": b"x", "../up.avi": b"y"}, "").read_bytes())
    with pytest.raises(DataError, match="outside its folder"):
        unpack(archive, tmp_path / "out", everything)
    harmless = make_tar(tmp_path / "a.tar", {"a.avi": b"x"}, "").read_bytes()
    program("bsdtar", harmless)
    assert unpack(archive, tmp_path / "out2", everything).files == 1
    program("bsdtar", harmless, fails="it is cut")
    with pytest.raises(DataError, match="bsdtar: it is cut"):
        unpack(archive, tmp_path / "out3", everything)


SOLID = (
    "UmFyIRoHAQAJ78hvCwEFBwQGAQGAgIAA3vVwchwCAroABIAQtoMCoua3xYAbAQpzdGVzdDEudHh0waw3REQj+iP2l/1iU1G+TJGB"
    "QQKMwQN5XL9Ho6otoDaT3aBYAEACANRQBHb2xH8y6p8ypcTM14PfABDoLYkcAgKNAASAELaDAqLmt8XAGwEKc3Rlc3QyLnR4dEUV"
    "CmABAAgD37f79vwdd1ZRAwUEAA=="
)
"""Two files of 2048 bytes in one packed stream, from the tests of rarfile (ISC licence)."""


@needs_bsdtar
def test_bsdtar_unpacks_a_solid_rar(tmp_path: Path) -> None:
    archive = tmp_path / "a.rar"
    archive.write_bytes(base64.b64decode(SOLID))
    got = unpack(archive, tmp_path / "out", lambda parts: parts[-1] == "stest2.txt")
    assert (got.files, got.left_out, got.bytes) == (1, 1, 2048)
    data = bytearray(archive.read_bytes())
    data[-30] ^= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.rar (could not be unpacked|is damaged)"):
        unpack(archive, tmp_path / "out2", everything)


@needs_bsdtar
def test_bsdtar_unpacks_a_7z(tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    (tmp_path / f"k/{NAME}").write_bytes(b"video")
    (tmp_path / "k/ü.avi").symlink_to("/etc/passwd")
    archives.subprocess.run(["bsdtar", "--format=7zip", "-cf", "a.7z", f"k/{NAME}"], cwd=tmp_path, check=True)
    assert unpack(tmp_path / "a.7z", tmp_path / "out", everything).files == 1
    assert files(tmp_path / "out") == {f"k/{NAME}": b"video"}
    archives.subprocess.run(["bsdtar", "--format=7zip", "-cf", "a.7z", "k"], cwd=tmp_path, check=True)
    with pytest.raises(DataError, match="leads to '/etc/passwd'"):
        unpack(tmp_path / "a.7z", tmp_path / "out2", everything)
