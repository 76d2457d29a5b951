"""Unpacking: names and bytes come back, nothing leaves its folder, and no damage goes unnoticed."""

import errno
import os
import shutil
import stat
import tarfile
from pathlib import Path

import pytest
from archives import (
    NAME,
    Device,
    Link,
    cut,
    damage,
    everything,
    files,
    make_old_rar,
    make_rar,
    make_rar_volumes,
    make_tar,
    make_zip,
)

from fsar_cli.errors import DataError
from fsar_cli.tools.prepare import unpacking
from fsar_cli.tools.prepare.unpacking import DiskFull, safe_parts, unpack

MAKERS = {"zip": make_zip, "tar.gz": make_tar, "rar": make_rar, "old.rar": make_old_rar}
KINDS = list(MAKERS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_back_names_and_bytes(tmp_path: Path, kind: str) -> None:
    contents = {f"a b/{NAME}": os.urandom(300_000), "ü/-rf.MP4": b"", "deep/er/x.avi": b"x" * 70_000}
    archive = MAKERS[kind](tmp_path / f"-an [archive] & 'more'.{kind}", contents)
    got = unpack(archive, tmp_path / "out", everything)
    assert files(tmp_path / "out") == contents
    assert (got.files, got.bytes, got.left_out) == (3, 370_000, 0)


HOSTILE = {
    "up": {"../../evil.avi": b"1"},
    "hidden up": {"a/../../evil.avi": b"1"},
    "absolute": {"/tmp/evil.avi": b"1"},
    "drive": {"C:\\evil.avi": b"1"},
    "backslash up": {"a\\..\\..\\evil.avi": b"1"},
    "link": {"a.avi": Link("/etc/passwd")},
    "link up": {"d/a.avi": Link("../../secret")},
    "link to folder, then through it": {"d": Link("/tmp"), "d/evil.avi": b"1"},
    "hard link": {"a.avi": Link("/etc/passwd", hard=True)},
    "hard link up": {"a.avi": Link("../secret", hard=True)},
    "device": {"a.avi": Device()},
    "pipe": {"a.avi": Device(pipe=True)},
}


# zip knows no hard links, and our writer of old RARs no links and devices.
LACKS = {"zip": ("hard",), "tar.gz": (), "rar": (), "old.rar": ("device", "pipe", "link")}
CASES = [(kind, what) for kind in MAKERS for what in HOSTILE if not any(word in what for word in LACKS[kind])]


@pytest.mark.parametrize(("kind", "what"), CASES)
def test_a_hostile_archive_is_refused_and_nothing_leaves_the_folder(tmp_path: Path, kind: str, what: str) -> None:
    contents = HOSTILE[what]
    (tmp_path / "secret").write_text("mine")
    archive = MAKERS[kind](tmp_path / f"evil.{kind}", {"first.avi": b"good"} | contents)
    before = {path for path in tmp_path.rglob("*")}
    with pytest.raises(DataError) as caught:
        unpack(archive, tmp_path / "deep" / "out", everything)
    assert str(archive) in caught.value.message
    new = {path for path in tmp_path.rglob("*")} - before
    assert new <= {tmp_path / "deep", tmp_path / "deep/out", tmp_path / "deep/out/first.avi"}
    assert not Path("/tmp/evil.avi").exists()


@pytest.mark.parametrize("name", ["/a", "\\a", "c:a", "C:\\a", "../a", "a/..", "a/../b", "..\\a", "a\0b", "//a"])
def test_unsafe_names(name: str) -> None:
    with pytest.raises(DataError):
        safe_parts(name)


def test_harmless_names_keep_their_parts() -> None:
    assert safe_parts("./a//b/..c") == ("a", "b", "..c")
    assert safe_parts("UCF-101\\Archery\\v.avi") == ("UCF-101", "Archery", "v.avi")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "rar"])
def test_a_link_inside_the_archive_becomes_the_file_it_leads_to(tmp_path: Path, kind: str) -> None:
    contents = {"a/x.avi": b"video", "b/y.avi": Link("../a/x.avi"), "b/z.avi": Link("nowhere.avi")}
    got = unpack(MAKERS[kind](tmp_path / f"a.{kind}", contents), tmp_path / "out", everything)
    assert files(tmp_path / "out") == {"a/x.avi": b"video", "b/y.avi": b"video"}
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    assert got.left_out == 1


@pytest.mark.parametrize("form", ["", "gz", "bz2", "xz"])
def test_a_tar_is_read_by_what_it_is_and_gives_its_modes_to_no_file(tmp_path: Path, form: str) -> None:
    unpack(make_tar(tmp_path / "part_120.tar.gz", {"a.mp4": b"x" * 5000}, form), tmp_path / "out", everything)
    assert files(tmp_path / "out") == {"a.mp4": b"x" * 5000}
    assert not (tmp_path / "out/a.mp4").stat().st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)


@pytest.mark.parametrize("share", [0.05, 0.7, 0.999])
@pytest.mark.parametrize("kind", [*KINDS, "tar", "tar.xz"])
def test_an_archive_that_was_cut_off_is_noticed(tmp_path: Path, kind: str, share: float) -> None:
    contents = {f"{n}.avi": os.urandom(20_000) for n in range(5)}
    archive = tmp_path / f"a.{kind}"
    if kind.startswith("tar"):
        make_tar(archive, contents, kind.removeprefix("tar").removeprefix("."))
    else:
        MAKERS[kind](archive, contents)
    if kind == "tar" and share > 0.9:
        pytest.skip("that cuts only the padding behind the end mark")
    with pytest.raises(DataError, match=r"a\.\S+ is (damaged|not an archive)") as caught:
        unpack(cut(archive, share), tmp_path / "out", everything)
    assert caught.value.hint == "download it again"


def test_a_tar_that_stops_between_two_members_is_noticed(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", {"a.avi": b"x" * 512, "b.avi": b"y" * 512}, "")
    archive.write_bytes(archive.read_bytes()[:1024])
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["a.avi"]  # tarfile alone does not see it
    with pytest.raises(DataError, match="without an end mark"):
        unpack(archive, tmp_path / "out", everything)


@pytest.mark.parametrize("share", [0.3, 0.498])
@pytest.mark.parametrize("kind", KINDS)
def test_changed_bytes_are_noticed(tmp_path: Path, kind: str, share: float) -> None:
    archive = MAKERS[kind](tmp_path / f"a.{kind}", {"a.avi": os.urandom(50_000), "b.avi": os.urandom(50_000)})
    with pytest.raises(DataError, match=r"damaged or incomplete|outside its folder"):
        unpack(damage(archive, share), tmp_path / "out", everything)


@pytest.mark.parametrize("make", [make_rar, make_old_rar])
def test_no_byte_of_a_rar_can_change_unnoticed(tmp_path: Path, make) -> None:
    archive = make(tmp_path / "a.rar", {"k/a.avi": b"first" * 8, "k/b.avi": b"second" * 8})
    whole = archive.read_bytes()
    for at in range(len(whole)):
        archive.write_bytes(whole[:at] + bytes([whole[at] ^ 0x11]) + whole[at + 1 :])
        with pytest.raises(DataError):
            unpack(archive, tmp_path / "out", everything)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)


def test_an_old_rar_may_lack_its_end_and_be_whole(tmp_path: Path) -> None:
    archive = make_old_rar(tmp_path / "a.rar", {"a.avi": b"1", "b.avi": b"22"}, end=False)
    assert unpack(archive, tmp_path / "out", everything).files == 2
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(DataError, match="ends within a file"):
        unpack(archive, tmp_path / "out", everything)


def test_a_rar_in_volumes_is_one_and_its_lack_of_one_is_told(tmp_path: Path) -> None:
    pieces = [os.urandom(30_000), os.urandom(20_000), os.urandom(10_000)]
    volumes = make_rar_volumes(tmp_path / "a", "k/a.avi", pieces)
    unpack(volumes[0], tmp_path / "out", everything)
    assert files(tmp_path / "out") == {"k/a.avi": b"".join(pieces)}
    cut(volumes[1])
    with pytest.raises(DataError, match=r"part1\.rar is damaged"):
        unpack(volumes[0], tmp_path / "out2", everything)
    volumes[1].unlink()
    with pytest.raises(DataError, match=r"Cannot open next volume: .*part2\.rar"):
        unpack(volumes[0], tmp_path / "out3", everything)


@pytest.mark.parametrize("kind", ["zip", "rar", "old.rar"])
def test_an_encrypted_archive_says_so(tmp_path: Path, kind: str) -> None:
    archive = MAKERS[kind](tmp_path / f"a.{kind}", {"a.avi": b"x" * 100}, encrypted=True)
    with pytest.raises(DataError, match=r"a\.\S+ is encrypted") as caught:
        unpack(archive, tmp_path / "out", everything)
    assert "password" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"<!DOCTYPE html><html>", "is a web page"), (b"junk" * 200, "is not an archive, in spite")],
)
def test_what_is_called_an_archive_and_is_none(tmp_path: Path, content: bytes, reason: str) -> None:
    for name in ("a.zip", "a.rar", "a.tar.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} {reason}"):
            unpack(tmp_path / name, tmp_path / "out", everything)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_refused_before_it_is_written(tmp_path: Path, kind: str, monkeypatch) -> None:
    monkeypatch.setattr(unpacking, "SLACK", 2**20)
    archive = MAKERS[kind](tmp_path / f"bomb.{kind}", {"a.avi": bytes(30_000_000)})
    assert archive.stat().st_size < 200_000
    with pytest.raises(DataError, match="would become more than"):
        unpack(archive, tmp_path / "out", everything)
    assert files(tmp_path / "out") == {}


@pytest.mark.parametrize(("size", "message"), [(1_000_000, "damaged"), (700, "has 700 of 1000 bytes")])
def test_a_zip_that_lies_about_a_size_writes_no_more_than_it_declared(tmp_path: Path, size: int, message: str) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.avi": bytes(size)})
    data = archive.read_bytes()
    at = data.find(b"PK\x01\x02") + 24
    archive.write_bytes(data[:at] + (1000).to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(DataError, match=message):
        unpack(archive, tmp_path / "out", everything)
    assert sum(map(len, files(tmp_path / "out").values())) <= 1000


def test_a_disk_without_room_is_said_before_writing(tmp_path: Path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda path: usage._replace(free=unpacking.RESERVE + 1000))
    archive = make_zip(tmp_path / "a.zip", {"small.avi": b"x" * 900, "large.avi": os.urandom(2000)})
    with pytest.raises(DiskFull, match="are free in") as caught:
        unpack(archive, tmp_path / "out", everything)
    assert "--out" in caught.value.hint
    assert files(tmp_path / "out") == {"small.avi": b"x" * 900}


def test_a_disk_that_fills_up_while_writing_ends_the_run(tmp_path: Path, monkeypatch) -> None:
    def full(content, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unpacking, "_chunks", full)
    with pytest.raises(DiskFull, match="takes no more: No space left"):
        unpack(make_zip(tmp_path / "a.zip", {"a.avi": b"x"}), tmp_path / "out", everything)
