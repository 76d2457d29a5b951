"""Shards: whatever ends an extraction, and wherever, the next one makes of it what an undisturbed one gives."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from stores import extracted, snapshot

from fsar_cli.config import ExtractConfig
from fsar_cli.data.store import filling, shards
from fsar_cli.data.store.extraction import extract
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.shards import ShardPlace, Shards, read_index
from fsar_cli.data.store.sources import find_videos
from fsar_cli.errors import DataError

LIMITS = {"packed": 48 << 10, "videos": 3 << 10}
"""So small that the twelve videos of the tree take several shards."""


@pytest.fixture(params=["packed", "videos"])
def kind(request, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(shards, "LIMIT", LIMITS[request.param])
    return request.param


@pytest.fixture(scope="module")
def undisturbed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    roots = {}
    with pytest.MonkeyPatch.context() as patch:
        for kind, limit in LIMITS.items():
            patch.setattr(shards, "LIMIT", limit)
            roots[kind] = tmp_path_factory.mktemp(kind) / "alone"  # deep as tmp_path: sources are noted relative to it
            extracted(tree, roots[kind], store=kind)
    return roots


@pytest.fixture
def store(undisturbed: dict[str, Path], kind: str, tmp_path: Path) -> Path:
    """A copy of the undisturbed store, to be damaged."""
    return shutil.copytree(undisturbed[kind], tmp_path, dirs_exist_ok=True)


def test_shards_are_whole_tars_and_no_video_is_split(undisturbed: dict[str, Path], kind: str) -> None:
    root, seen = undisturbed[kind], []
    for path in sorted((root / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        assert subprocess.run(["tar", "tf", path], capture_output=True, check=True).stderr == b""
        assert path.stat().st_size <= LIMITS[kind] + 1024
        videos = list(dict.fromkeys(member.name.rsplit("/", 1)[0] for member in members))
        places = [place for place in read_index(root).values() if place.shard == int(path.stem)]
        assert videos == [place.id for place in places]
        tables = {m.offset_data: m.size for m in members if "/index." in m.name}
        assert tables == {place.position: place.size for place in places}
        seen.append(videos)
    assert len(seen) >= 3
    assert [video for videos in seen for video in videos] == FrameStore(root).ids


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _half(writer: Shards, name: str, data: bytes) -> None:
    """Write the first half of a member, then die."""
    writer._file.write((b"\0" * 512 + data)[: len(data) // 2 + 200])
    _die()


def _torn_row(writer: Shards, name: str, table: bytes, place: ShardPlace) -> None:
    """Write the table and half a row of the index, then die."""
    writer.add(name, table)
    writer._index.write(f"{place.id},0,")
    writer._index.flush()
    _die()


MOMENTS = {
    "member": (shards.Shards, "add", _half),
    "row": (shards.Shards, "finish", _torn_row),
    "new shard": (shards.Shards, "_close_shard", _die),
    "listing": (filling.shutil, "rmtree", _die),
    "end": (filling.StoreWriter, "close", _die),
}


def _until(moment: str, number: int, tree: Path, out: Path, kind: str) -> None:
    """Extract, but die at the given time that a function is called."""
    owner, name, deed = MOMENTS[moment]
    honest, left = getattr(owner, name), [number]

    def counting(*arguments, **options):
        left[0] -= 1
        return honest(*arguments, **options) if left[0] else deed(*arguments)

    setattr(owner, name, counting)
    extracted(tree, out, store=kind)


@pytest.mark.parametrize(
    ("moment", "number"),
    [("member", 1), ("member", 10), ("row", 1), ("row", 5), ("new shard", 1), ("listing", 22), ("end", 1)],
)
def test_killed_at_any_moment_it_resumes_to_the_undisturbed_store(
    tree: Path, tmp_path: Path, undisturbed: dict[str, Path], kind: str, moment: str, number: int
) -> None:
    for again in range(2):  # and killed once more at the same place of what was left
        job = {"target": _until, "args": (moment, number, tree, tmp_path, kind), "daemon": True}
        process = multiprocessing.get_context("fork").Process(**job)
        process.start()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL or again
    whole = undisturbed[kind]
    for video in FrameStore(tmp_path).ids if (tmp_path / "manifest.csv").exists() else ():
        assert np.array_equal(FrameStore(tmp_path).read(video, [4]), FrameStore(whole).read(video, [4]))
    extracted(tree, tmp_path, store=kind)
    assert snapshot(tmp_path) == snapshot(whole)


def test_running_again_changes_nothing(tree: Path, tmp_path: Path, undisturbed: dict[str, Path], kind: str) -> None:
    for stop in (3, 12, 12):
        extract(find_videos([tree]).sources[:stop], tmp_path, ExtractConfig(short_side=32, store=kind))
    assert snapshot(tmp_path) == snapshot(undisturbed[kind])


def test_what_no_row_leads_to_is_removed(tree: Path, store: Path, undisturbed: dict[str, Path], kind: str) -> None:
    last = max((store / "shards").glob("*.tar"))
    for garbage in (b"x" * 1024, b"x" * 5000):
        end = last.stat().st_size - 1024
        os.truncate(last, end)
        with last.open("ab") as file:
            file.write(garbage)
        shards.shard_path(store, 99).write_bytes(garbage)
        extracted(tree, store, store=kind)
        assert snapshot(store) == snapshot(undisturbed[kind])


def test_lost_data_is_named_and_fetched_again(tree: Path, store: Path, undisturbed: dict[str, Path], kind: str) -> None:
    places = read_index(store).values()
    (store / "shards/000001.tar").unlink()
    os.truncate(store / "shards/000002.tar", next(place for place in places if place.shard == 2).position + 10)
    lost = [place.id for place in places if place.shard in (1, 2)]
    for video in lost:
        with pytest.raises(DataError, match=rf"'{video}' in .*00000[12]\.tar is missing or damaged") as caught:
            FrameStore(store).read(video, [0])
        assert "extract-frames" in caught.value.hint
        with pytest.raises(DataError, match="missing or damaged"):
            FrameStore(store).seconds(video)
    result = extracted(tree, store, store=kind)
    assert (result.done, result.skipped) == (len(lost), 12 - len(lost))
    again, whole = FrameStore(store), FrameStore(undisturbed[kind])
    assert again.ids == whole.ids
    for video in lost:
        everything = range(whole.count(video))
        assert np.array_equal(again.read(video, everything), whole.read(video, everything))


def test_rows_of_other_columns_are_no_rows_of_an_index(tmp_path: Path) -> None:
    rows = ["a/a,0,512,100,0,0,", "a/b,0,512,100,0,/b.mp4", "a/c,0,512,100,", "a/d,0,1,2,3,4,5,"]
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/index.csv").write_text("\n".join(["heading", *rows, ""]))
    assert read_index(tmp_path) == {"a/a": ShardPlace("a/a", 0, 512, 100)}


def test_damage_inside_a_shard_is_named(store: Path, kind: str) -> None:
    place = read_index(store)["kick/kick_1"]
    path = shards.shard_path(store, place.shard)
    data = bytearray(path.read_bytes())
    data[place.position : place.position + place.size] = os.urandom(place.size)
    path.write_bytes(data)
    frames = FrameStore(store)
    for call in (lambda: frames.read("kick/kick_1", [0]), lambda: frames.seconds("kick/kick_1")):
        with pytest.raises(DataError, match=r"'kick/kick_1' in .* is missing or damaged"):
            call()


def test_a_damaged_picture_in_a_shard_is_named(tree: Path, tmp_path: Path) -> None:
    extracted(tree / "kick", tmp_path, store="packed")
    path = tmp_path / "shards/000000.tar"
    with tarfile.open(path) as tar:
        member = tar.getmember("kick/kick_1/00000004.jpg")
    with path.open("r+b") as file:
        file.seek(member.offset_data)
        file.write(bytes(member.size))
    store = FrameStore(tmp_path)
    assert len(store.read("kick/kick_1", [2, 4])) == 2
    with pytest.raises(DataError, match=r"'kick/kick_1' in .* is missing or damaged \(its frame 3: no picture\)"):
        store.read("kick/kick_1", [3])


def test_a_lost_or_damaged_index_is_made_anew(tree: Path, store: Path, kind: str) -> None:
    index = store / "shards/index.csv"
    rows = index.read_text().splitlines(keepends=True)
    index.write_text("".join([*rows[:3], "kick/kick_1,what,is,this\n", "\n", *rows[4:]]))
    with pytest.raises(DataError, match=f"'{rows[3].split(',')[0]}' is not in .*index.csv"):
        FrameStore(store).read(rows[3].split(",")[0], [0])
    assert extracted(tree, store, store=kind).done == 1
    index.unlink()
    assert extracted(tree, store, store=kind).done == 12
    assert len(FrameStore(store).read("kick/kick_1", range(12))) == 12


def test_a_full_disk_leaves_a_store_that_goes_on(
    tree: Path, tmp_path: Path, undisturbed: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, calls = Shards.add, []

    def full(writer: Shards, name: str, data: bytes) -> int:
        calls.append(name)
        if len(calls) == 5:
            writer._file.write(b"half of it" * 500)
            raise OSError(28, "No space left on device")
        return honest(writer, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(Shards, "add", full)
        with pytest.raises(DataError, match="takes no more: No space left") as caught:
            extracted(tree, tmp_path, store=kind)
    assert "run the same again" in caught.value.hint
    for path in (tmp_path / "shards").glob("*.tar"):
        with tarfile.open(path) as tar:
            assert all(member.name.rsplit("/", 1)[0] in FrameStore(tmp_path).ids for member in tar)
        ends = [place.end for place in read_index(tmp_path).values() if place.shard == int(path.stem)]
        assert path.stat().st_size == max(ends, default=0) + 1024
    extracted(tree, tmp_path, store=kind)
    assert snapshot(tmp_path) == snapshot(undisturbed[kind])


def test_overwrite_removes_nothing_of_others(tree: Path, store: Path, kind: str) -> None:
    (store / "shards/notes.txt").write_text("mine")
    (store / "shards/thesis.tar").write_text("mine too")
    before = snapshot(store)
    extracted(tree, store, store=kind, overwrite=True)
    assert snapshot(store) == before


def test_a_hundred_thousand_videos_open_in_a_moment(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    rows = ["video,...\n", *(f"kick/{i},0,512,4096,0,0,\n" for i in range(100_000))]
    (tmp_path / "shards/index.csv").write_text("".join(rows))
    begin = time.process_time()  # a busy machine is no fault of ours
    assert len(read_index(tmp_path)) == 100_000
    assert time.process_time() - begin < 5
