"""`fsar` under torchrun: extraction and scans that several processes divide, and torchrun itself."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from own_videos import HAPPENS, action_film, enrolled
from together import command, start
from videos import make_video

from fsar_cli.data.store.records import manifest_rows
from fsar_cli.recognise.windowlog import read_windows

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--standalone"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """11 videos of 3 classes, two of them broken."""
    root = tmp_path_factory.mktemp("videos [of] all")
    for number in range(11):
        make_video(
            root / f"class {number % 3}" / f"v{number}.mp4", frames=6 + number, content="counter", first=9 * number
        )
    for number in (4, 9):
        (root / f"class {number % 3}" / f"v{number}.mp4").write_bytes(b"no video")
    return root


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a store but its tables and its lock."""
    tables = {"manifest.csv", "failed.csv", ".lock", ".holder", "index.csv"}
    files = [path for path in root.rglob("*") if path.is_file() and path.name not in tables]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def frames_of(root: Path) -> dict[str, list[bytes]]:
    """The frames of every video, by whatever kind of store."""
    from fsar_cli.data.store.frames import FrameStore

    store = FrameStore(root)
    return {row[0]: [store.read(row[0], [i], 32, "bicubic").tobytes() for i in range(store.count(row[0]))]
            for row in manifest_rows(root)}  # fmt: skip


@pytest.mark.parametrize("kind", ["files", "packed"])
def test_processes_divide_the_videos_and_store_what_one_stores(videos, tmp_path, kind):
    options = ("extract-frames", str(videos), "out", "--store", kind, "--short-side", "32", "--json")
    for world in (1, 3):
        ends = command(world, tmp_path / str(world), *options)
        assert [end.code for end in ends] == [3] + [0] * (world - 1), [end.err for end in ends]
        result = json.loads(ends[0].out)
        assert (result["done"], len(result["failed"])) == (9, 2)
        assert not any(end.out for end in ends[1:])
    one, three = (tmp_path / world / "out" for world in "13")
    assert sorted(map(str, manifest_rows(one))) == sorted(map(str, manifest_rows(three)))
    assert frames_of(one) == frames_of(three)
    if kind == "files":
        assert contents(one) == contents(three)
    assert not list(three.glob(".partial/*"))
    again = command(2, tmp_path / "3", *options)
    assert json.loads(again[0].out)["skipped"] == 9, "nothing is repeated"


def _extract_slowly(*arguments: str) -> None:
    from together import _command

    from fsar_cli.data.store import extraction

    plain = extraction.store_video

    def slow(task):
        time.sleep(0.3)
        return plain(task)

    extraction.store_video = slow
    _command(*arguments)


@pytest.mark.parametrize("dies", [0, 1])
def test_an_extraction_of_which_a_process_is_killed_goes_on_to_the_same_store(videos, tmp_path, dies):
    options = ("extract-frames", str(videos), "out", "--short-side", "32", "--workers", "0")
    team = start(2, tmp_path, _extract_slowly, *options)
    deadline = time.monotonic() + 120
    while not (tmp_path / "out/manifest.csv").exists() or len(list(manifest_rows(tmp_path / "out"))) < 2:
        assert time.monotonic() < deadline, team.finished(1)
        time.sleep(0.02)
    os.kill(team.processes[dies].pid, signal.SIGKILL)
    os.kill(team.processes[1 - dies].pid, signal.SIGTERM)  # as torchrun does
    ends = team.finished(30)
    assert ends[1 - dies].code == 130 and "the same command goes on where it stopped" in ends[1 - dies].err
    before = len(list(manifest_rows(tmp_path / "out")))
    again = command(2, tmp_path, *options, "--json")
    assert json.loads(again[0].out)["skipped"] == before
    command(1, tmp_path / "whole", *options)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole/out")


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """Two films, one shorter than a stretch."""
    root = tmp_path_factory.mktemp("films")
    action_film(root / "film.mp4")
    make_video(root / "calm.mp4", frames=60, fps=10, content="noise", first=2000)
    return root


def _scan_in_stretches(seconds: float, *arguments: str) -> None:
    from together import _command

    from fsar_cli.recognise import stretches

    stretches.SECONDS = seconds
    _command("scan", *arguments)


def results(folder: Path) -> dict[str, bytes]:
    """What does not tell how long it took."""
    names = ["events.csv", "events.json", "windows/0001.jsonl", "windows/0002.jsonl"]
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("seconds", [2.0, 5.0, 60.0])
def test_processes_divide_the_windows_and_find_the_events_that_one_finds(fsar, films, tmp_path, seconds):
    support, found = enrolled(fsar, films), {}
    options = (str(films / "film.mp4"), str(films / "calm.mp4"), "--support", str(support), "--device", "cpu")
    for world in (1, 3):
        ends = start(world, tmp_path, _scan_in_stretches, seconds, *options, "--out", f"o{world}").finished()
        assert [end.code for end in ends] == [0] * world, [end.err for end in ends]
        assert not any(end.out or end.err for end in ends[1:])
        found[world] = results(tmp_path / f"o{world}")
    assert found[1] == found[3], "byte for byte"
    assert not list((tmp_path / "o3").glob("windows/*.parts"))
    assert len(list(read_windows(tmp_path / "o3/windows/0001.jsonl"))) > 20
    events = json.loads(found[3]["events.json"])["results"]
    assert {event["label"] for some in events.values() for event in some} == {cls for cls, *_ in HAPPENS}


def test_a_live_source_is_not_divided(fsar, films, tmp_path):
    support = enrolled(fsar, films)
    ends = command(2, tmp_path, "scan", "udp://127.0.0.1:9", "--support", str(support))
    assert ends[0].code == 2 and "live sources are watched by one process" in ends[0].err


def test_variables_of_several_processes_without_an_address_are_told(fsar, monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = fsar("eval", "--untrained")
    assert done.code == 2 and "WORLD_SIZE is 2, and not all is set that joins processes" in done.err
    monkeypatch.setenv("WORLD_SIZE", "two")
    assert "must be numbers, as torchrun sets them" in fsar("eval", "--untrained").err


def test_torchrun_starts_a_command_again_where_a_process_dies(videos, tmp_path):
    """The whole of it: torchrun and two processes, one of which dies over its second video in the first attempt."""
    script = tmp_path / "once.py"
    script.write_text(
        "import os, signal\n"
        "from fsar_cli.cli.app import main\n"
        "from fsar_cli.data.store import extraction\n"
        "plain, seen = extraction.store_video, []\n"
        "def mortal(task):\n"
        "    seen.append(task)\n"
        "    if len(seen) == 2 and os.environ['RANK'] == '1' and os.environ['TORCHELASTIC_RESTART_COUNT'] == '0':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return plain(task)\n"
        "extraction.store_video = mortal\n"
        "main()\n"
    )
    options = ["extract-frames", str(videos), "out", "--short-side", "32", "--workers", "0"]
    done = subprocess.run(
        [*TORCHRUN, "--nproc-per-node=2", "--max-restarts=1", sys.executable, str(script), *options],
        cwd=tmp_path, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert len(list(manifest_rows(tmp_path / "out"))) == 9, done.stderr
    assert "were there already" in done.stdout or "9 videos" in done.stdout, done.stderr
