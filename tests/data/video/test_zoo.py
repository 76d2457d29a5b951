"""The zoo goes through the real commands: every file is read right or named, nothing stops the run or is dropped."""

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from videos import read_counter
from zoo import EXHIBITS, LEFT_OUT, Exhibit, make_zoo

from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.sources import find_videos
from fsar_cli.data.video import printable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, sockets and names that Windows has not")
FSAR = [sys.executable, "-c", "from fsar_cli.cli.app import main; main()"]
GOOD = [exhibit for exhibit in EXHIBITS if exhibit.frames is not None]
BAD = [exhibit for exhibit in EXHIBITS if exhibit.frames is None]


@dataclass(frozen=True)
class Visit:
    """The zoo, its store, and two runs of `extract-frames` over it."""

    root: Path
    store: FrameStore
    ids: dict[str, str]
    """Place in the zoo -> video id."""
    runs: list[subprocess.CompletedProcess]

    def failed(self) -> dict[str, str]:
        """Video id -> reason, by failed.csv."""
        with (self.store.root / "failed.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return {row["video"]: row["reason"] for row in csv.DictReader(file)}


def _run(*arguments: object) -> subprocess.CompletedProcess:
    # A file that makes the run wait for ever fails here.
    return subprocess.run([*FSAR, *map(str, arguments)], capture_output=True, timeout=120, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    root, out = tmp_path_factory.mktemp("zoo") / "z", tmp_path_factory.mktemp("store") / "out"
    make_zoo(root)
    # A pipe holds up neither worker processes nor the command itself.
    runs = [_run("extract-frames", root, out, "--short-side", 40, "--json", "--workers", number) for number in (2, 0)]
    ids = {os.fspath(source.path.relative_to(root.resolve())): source.id for source in find_videos([root]).sources}
    return Visit(root, FrameStore(out), ids, runs)


def test_thirty_kinds_and_more() -> None:
    assert len({exhibit.place for exhibit in EXHIBITS}) == len(EXHIBITS)
    assert min(len(GOOD), len(BAD)) > 30


def test_the_listing_drops_nothing(visit: Visit) -> None:
    found = find_videos([visit.root])
    assert set(visit.ids) == {exhibit.place for exhibit in EXHIBITS}
    assert len(set(visit.ids.values())) == len(EXHIBITS)
    assert {kind: len(places) for kind, places in LEFT_OUT.items()} == {
        "hidden": found.hidden,
        "not_video": len(found.not_video),
        "misplaced": len(found.misplaced),
    }


def test_the_sums_come_out(visit: Visit) -> None:
    first, second = visit.runs
    assert (first.returncode, second.returncode) == (3, 3), first.stderr.decode() + second.stderr.decode()
    document, again = json.loads(first.stdout.decode("utf-8")), json.loads(second.stdout.decode("utf-8"))
    assert (document["done"], document["skipped"], len(document["failed"])) == (len(GOOD), 0, len(BAD))
    assert (again["done"], again["skipped"], again["frames"]) == (0, len(GOOD), 0)
    assert again["failed"] and sorted(map(str, again["failed"])) == sorted(map(str, document["failed"]))
    assert len(visit.store) == len(GOOD)
    left = first.stderr.decode("utf-8")
    assert f"left out: {len(LEFT_OUT['hidden'])} hidden, {len(LEFT_OUT['not_video'])} without a video suffix" in left
    assert f"error: {len(BAD)} of {len(EXHIBITS)} videos could not be extracted\n" in left
    assert f"  reasons: {printable(visit.store.root / 'failed.csv')}; repair or remove them" in left
    assert not list(visit.store.root.glob(".partial*"))


@pytest.mark.parametrize("exhibit", GOOD, ids=lambda exhibit: printable(exhibit.place[:60]))
def test_read_right(visit: Visit, exhibit: Exhibit) -> None:
    video_id = visit.ids[exhibit.place]
    assert video_id in visit.store, visit.failed().get(video_id)
    count = visit.store.count(video_id)
    least, most = exhibit.frames if isinstance(exhibit.frames, tuple) else (exhibit.frames, exhibit.frames)
    assert least <= count <= most
    seconds = visit.store.seconds(video_id)
    assert seconds[0] == 0
    assert np.all(np.diff(seconds) > 0)
    pictures = visit.store.read(video_id, range(count))
    assert min(pictures.shape[1:3]) == 40
    if exhibit.counted:
        assert [read_counter(picture) for picture in pictures] == list(range(count))


@pytest.mark.parametrize("exhibit", BAD, ids=lambda exhibit: printable(exhibit.place[:60]))
def test_named(visit: Visit, exhibit: Exhibit) -> None:
    video_id, path = visit.ids[exhibit.place], printable(visit.root.resolve() / exhibit.place)
    assert re.search(exhibit.reason, visit.failed()[video_id]), visit.failed()[video_id]
    assert video_id not in visit.store
    named = {entry["path"]: entry["reason"] for entry in json.loads(visit.runs[0].stdout)["failed"]}
    assert re.search(exhibit.reason, named[path])
    assert f"warning: {path}: {visit.failed()[video_id]}" in visit.runs[0].stderr.decode("utf-8")


@pytest.mark.parametrize("name", ["oblong pixels", "turned 90"])
def test_oblong_pixels_are_not_stretched_and_turned_ones_are_stored_upright(visit: Visit, name: str) -> None:
    """The pixel aspect ratio is not applied, as is usual where data sets are extracted."""
    record = visit.store.record(visit.ids[f"odd/{name}.mp4"])
    assert (record.source_width, record.source_height, record.width, record.height) == (64, 48, 53, 40)


def test_times_are_those_of_the_file(visit: Visit) -> None:
    gap = visit.store.seconds(visit.ids["odd/gap.mp4"])
    assert gap.tolist() == pytest.approx([0, 0.033, 0.066, 600, 600.033])
    late = visit.store.seconds(visit.ids["odd/late start.mkv"])
    assert late[-1] == pytest.approx(23 * 0.04)
    turned_back = visit.store.seconds(visit.ids["odd/clock set back.ts"])
    assert turned_back[-1] < 3
