"""What a command cannot write is one sentence: the file, the reason, exit code 3, and nothing is left beside."""

import errno
import os
from pathlib import Path

import pytest

SPLITS = "split,class,video\n" + "".join(f"train,{c},{c}/{v}\n" for c in "ab" for v in range(3))
WRITERS = {
    "init {}": "fsar.yaml",
    "splits export s.csv --out {}": "trainlist03.txt",
    "splits check s.csv --root videos --way 2 --shot 1 --queries 1 --csv {}/c.csv": "c.csv",
    "splits make arn --classes 2/1/1 --root videos --out {}/s.csv": "s.csv",
    "extract-frames videos {}": "extract.json",
}


@pytest.fixture
def here(tmp_path, tree):
    (tmp_path / "s.csv").write_text(SPLITS)
    (tmp_path / "videos").symlink_to(tree)
    return tmp_path


@pytest.mark.parametrize(("command", "file"), WRITERS.items())
def test_a_full_disk(fsar, here, monkeypatch, command, file):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = fsar(*command.format(here / "out").split())
    assert result.code == 3
    assert result.err.splitlines()[-2:] == [
        f"error: {here}/out/{file}: No space left on device",
        "  free some disk, or name a place on another one",
    ]
    assert not [path for path in Path(here).rglob(".fsar-*")]


@pytest.mark.parametrize(("command", "file"), WRITERS.items())
@pytest.mark.parametrize(("place", "reason"), [("file/out", "Not a directory"), ("n" * 300, "File name too long")])
def test_a_place_that_cannot_be(fsar, here, command, file, place, reason):
    (here / "file").touch()
    result = fsar(*command.format(here / place).split())
    assert result.code == 3
    assert f"error: {here}/{place}" in result.err and f": {reason}\n  check the path" in result.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
def test_a_device_that_is_full_is_written_as_it_is(fsar, here):
    result = fsar(
        *[
            "splits",
            "check",
            "s.csv",
            "--root",
            "videos",
            "--way",
            "2",
            "--shot",
            "1",
            "--queries",
            "1",
            "--csv",
            "/dev/full",
        ]
    )
    assert (result.code, "error: /dev/full: No space left on device" in result.err) == (3, True)
