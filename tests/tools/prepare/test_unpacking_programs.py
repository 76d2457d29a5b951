"""RAR and the like by installed programs: stand-ins for all of them but bsdtar, which `test_unpacking` really runs."""

import io
import re
import shlex
import sys
import zipfile
from pathlib import Path

import pytest
from archives import everything, files, make_rar, make_zip

from fsar_cli.errors import DataError
from fsar_cli.tools.prepare import tools, unpacking
from fsar_cli.tools.prepare.unpacking import unpack

NAME = "[Name]_(x)!_&_'quoted';_cartwheel_f_cm_np1_le_med_0.avi"

# For the shell a call of Python, whose path may hold spaces; for Python a text.
FAKE = """#!/bin/sh
''''exec {python} "$0" "$@" # '''
import json, pathlib, sys
tool, arguments, contents = pathlib.Path(sys.argv[0]).name, sys.argv[1:], {contents!r}
with open({log!r}, "a") as log:
    print([tool, *arguments], file=log)
if {fails!r}:
    sys.exit({fails!r})
if tool == "lsar":
    print(json.dumps({{"lsarContents": [{{"XADFileName": n, "XADFileSize": len(c)}} for n, c in contents.items()]}}))
elif arguments[0] == "lt":
    print("UNRAR 6.21 freeware\\n\\nArchive: x\\nDetails: RAR 5\\n")
    for n, c in contents.items():
        kind = "Unix symbolic link" if c is None else "File"
        print(f"        Name: {{n}}\\n        Type: {{kind}}\\n        Size: {{len(c or b'')}}\\n")
elif arguments[0] == "l":
    print("7-Zip 23\\n\\nPath = x.rar\\nType = Rar5\\n\\n----------")
    for n, c in contents.items():
        link = "/etc" if c is None else ""
        print(f"Path = {{n}}\\nFolder = -\\nSize = {{len(c or b'')}}\\nSymbolic Link = {{link}}\\n")
else:
    joined = [a[2:] for a in arguments if a.startswith("-o/")]
    folder = arguments[arguments.index("-o") + 1] if tool == "unar" else (joined or arguments[-1:])[0]
    for n, c in contents.items():
        place = pathlib.Path(folder, n)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(c)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch):
    """`program("unrar", contents)` puts a stand-in on an otherwise empty PATH; returns the log of its calls."""
    folder, log = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(name: str, contents: dict[str, bytes | None], fails: str = "") -> Path:
        script = FAKE.format(python=shlex.quote(sys.executable), log=str(log), contents=contents, fails=fails)
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
        return log

    return add


@pytest.mark.parametrize("names", [("unrar",), ("unar", "lsar"), ("7zz",), ("7z",)])
def test_any_of_the_programs_will_do(tmp_path: Path, program, names: tuple[str, ...]) -> None:
    contents = {f"cartwheel/{NAME}": b"video" * 1000, "cartwheel/b.avi": b"b"}
    for name in names:
        log = program(name, contents)
    archive = make_rar(tmp_path / "-x; touch 'pwned' [1].rar", contents)
    got = unpack(archive, tmp_path / "out", lambda parts: parts[-1] != "b.avi")
    assert files(tmp_path / "out") == {f"cartwheel/{NAME}": b"video" * 1000}
    assert (got.files, got.left_out) == (1, 1)
    assert not list(tmp_path.glob("*.raw"))
    assert all(re.search(r"'--', ['\"]/", call) for call in log.read_text().splitlines())
    assert not list(tmp_path.rglob("pwned*"))


@pytest.mark.parametrize("names", [("unrar",), ("unar", "lsar"), ("7zz",)])
def test_their_list_is_checked_before_they_write(tmp_path: Path, program, names: tuple[str, ...]) -> None:
    for name in names:
        log = program(name, {"../evil.avi": b"1"})
    with pytest.raises(DataError, match="outside its folder"):
        unpack(make_rar(tmp_path / "a.rar", {"x.avi": b"1"}), tmp_path / "out", everything)
    assert len(log.read_text().splitlines()) == 1


@pytest.mark.parametrize("name", ["unrar", "7z"])
def test_links_are_left_to_bsdtar(tmp_path: Path, program, name: str) -> None:
    program(name, {"a": None})
    with pytest.raises(DataError, match="is a link, which") as caught:
        unpack(make_rar(tmp_path / "a.rar", {"x.avi": b"1"}), tmp_path / "out", everything)
    assert "libarchive-tools" in caught.value.hint


def test_what_they_wrote_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.avi").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="leads to '/etc/passwd'"):
        budget = unpacking.Budget(Path(__file__), tmp_path)
        unpacking.write_members(tools._written(tmp_path / "raw"), tmp_path / "out", everything, budget, print)


def test_the_next_program_is_tried_where_one_gives_up(tmp_path: Path, program) -> None:
    program("unrar", {}, fails="Unsupported method")
    program("7z", {"a.avi": b"1"})
    archive = make_rar(tmp_path / "a.rar", {"a.avi": b"1"})
    assert unpack(archive, tmp_path / "out", everything).files == 1
    program("7z", {"other.avi": b"2"})
    with pytest.raises(DataError, match=r"by unrar, 7z \(Unsupported method\)"):
        unpack(archive, tmp_path / "out2", everything)
    program("7z", {}, fails="ERROR: Wrong password?")
    with pytest.raises(DataError, match=r"a\.rar is encrypted"):
        unpack(archive, tmp_path / "out3", everything)


def test_a_program_that_leaves_files_out_has_given_up(tmp_path: Path, program) -> None:
    """As bsdtar does without a word where a header in the middle is damaged."""
    program("unrar", {"a.avi": b"1"})
    archive = make_rar(tmp_path / "a.rar", {"a.avi": b"1", "b.avi": b"2"})
    with pytest.raises(DataError, match=r"by unrar \(unrar found 1 of 2 files\)"):
        unpack(archive, tmp_path / "out", everything)
    assert not (tmp_path / "out").exists()


def test_without_a_program_the_packages_are_named(tmp_path: Path, program) -> None:
    archive = make_rar(tmp_path / "hmdb51_org.rar", {"a.avi": b"1"})
    with pytest.raises(DataError, match=r"hmdb51_org\.rar needs a program") as caught:
        unpack(archive, tmp_path / "out", everything)
    assert "libarchive" in caught.value.hint or sys.platform == "win32"


def test_bsdtar_is_not_asked_for_an_archive_in_volumes(tmp_path: Path, program) -> None:
    log = program("bsdtar", {})
    for number in (1, 2):
        make_rar(tmp_path / f"a.part{number}.rar", {"a.avi": b"1"})
    with pytest.raises(DataError, match="reads no archive in several volumes"):
        unpack(tmp_path / "a.part1.rar", tmp_path / "out", everything)
    assert not log.exists()


def test_an_unknown_method_of_a_zip_is_left_to_a_program(tmp_path: Path, program) -> None:
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
