"""A scan of files that is stopped at any moment, by any means, goes on to the very results of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from own_videos import action_film, as_it_happens, enrolled

SLOWLY = """
import sys, time
from fsar_cli.recognise.recognizer import Recognizer
scored = Recognizer.scored
Recognizer.scored = lambda self, windows: (time.sleep(0.1), scored(self, windows))[1]
from fsar_cli.cli.app import main
main()
"""
SAME = ("events.csv", "events.json", "events.jsonl", "film.vtt", "windows/0001.jsonl", "windows/0002.jsonl")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    action_film(root / "film.mp4")
    action_film(root / "other.mp4", 12.0)
    return root


def started(own: Path, support: Path, out: str) -> subprocess.Popen:
    """A slow `fsar scan` of two films, in a process of its own."""
    command = [sys.executable, "-c", SLOWLY, "scan", own / "film.mp4", own / "other.mp4", "--support", support,
               "--device", "cpu", "--quiet", "--out", out]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}  # as tests have
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_windows(log: Path, number: int) -> None:
    limit = time.monotonic() + 40
    while not log.exists() or log.read_bytes().count(b"\n") < number:
        assert time.monotonic() < limit
        time.sleep(0.02)


def document(folder: Path) -> dict:
    return json.loads((folder / "scan.json").read_text())


@pytest.mark.parametrize("number", [
    signal.SIGINT, signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
])  # fmt: skip
def test_a_scan_that_was_stopped_goes_on_to_the_same_results(fsar, own: Path, tmp_path: Path, number: int) -> None:
    support = enrolled(fsar, own)
    arguments = ("scan", own / "film.mp4", own / "other.mp4", "--support", support, "--device", "cpu", "--json")
    whole = own / "whole"
    if not whole.exists():
        assert as_it_happens(fsar(*arguments, "--out", whole).json["events"][:2])
    run = started(own, support, "o")
    wait_for_windows(tmp_path / "o" / "windows" / "0001.jsonl", 12)
    run.send_signal(number)
    out, err = run.communicate(timeout=20)
    assert run.returncode == (-number if number == signal.SIGKILL else 130) and out == ""
    if number != signal.SIGKILL:
        assert "stopped; windows and events so far are in o" in err and "--resume" in err and "Traceback" not in err
    left = {path.name for path in (tmp_path / "o").iterdir()}
    assert left <= {".lock", ".lock.holder", "events.jsonl", "scan.json", "windows"}
    assert document(tmp_path / "o")["complete"] is False
    assert fsar(*arguments, "--out", "o", "--resume").code == 0
    for name in SAME:
        assert (tmp_path / "o" / name).read_bytes() == (whole / name).read_bytes(), name
    own_words, others = document(tmp_path / "o"), document(whole)
    for words in (own_words, others):
        assert words.pop("folder") and words.pop("speed") > 0
    assert own_words == others


@pytest.mark.parametrize("damage", ["half a line", "words"])
def test_what_is_half_written_is_not_gone_on_from(fsar, own: Path, tmp_path: Path, damage: str) -> None:
    support = enrolled(fsar, own)
    arguments = ("scan", own / "film.mp4", "--support", support, "--device", "cpu", "--json", "--out", "o")
    whole = fsar(*arguments).json
    log = tmp_path / "o" / "windows" / "0001.jsonl"
    kept, lines = log.read_bytes(), log.read_bytes().splitlines(keepends=True)
    half = {"half a line": lines[20][:-9], "words": b"what?\n"}
    log.write_bytes(b"".join(lines[:20]) + half[damage])
    (tmp_path / "o" / "events.jsonl").write_bytes((tmp_path / "o" / "events.jsonl").read_bytes()[:-20])
    again = fsar(*arguments, "--resume").json
    assert again["events"] == whole["events"] and again["videos"] == whole["videos"]
    assert log.read_bytes() == kept
