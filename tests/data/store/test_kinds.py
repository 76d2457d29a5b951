"""The three kinds of frame store are one: same manifest, numbering, times and, but for JPEG, the same pictures."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import tarfile
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import torch
from stores import extracted, snapshot, stored
from videos import make_video, read_counter

from fsar_cli.config import ClipConfig
from fsar_cli.data.clips import ClipReader, EvaluationClips, TrainingEpisodes, clip_loader, episode_loader
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.splits.making import make
from fsar_cli.data.splits.tree import scan_tree
from fsar_cli.data.store import extraction
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.video import iter_frames
from fsar_cli.errors import DataError, UsageError

KINDS = ("files", "packed", "videos")


@pytest.fixture(scope="module")
def stores(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, FrameStore]:
    root = tmp_path_factory.mktemp("stores [1] x")
    return {kind: stored(tree, root / kind, kind) for kind in KINDS}


def test_manifest_numbering_and_times_are_the_same(stores: dict[str, FrameStore]) -> None:
    files = stores["files"]
    for kind in ("packed", "videos"):
        other = stores[kind]
        assert (other.root / "manifest.csv").read_bytes() == (files.root / "manifest.csv").read_bytes()
        for video in files.ids:
            assert np.array_equal(other.seconds(video), files.seconds(video))
            count = files.count(video)
            numbers = [read_counter(p) for p in other.read(video, range(count))]
            assert numbers == [read_counter(p) for p in files.read(video, range(count))]
            assert np.diff(numbers).tolist() == [1] * (count - 1)


def test_few_files_and_no_class_folders(stores: dict[str, FrameStore]) -> None:
    for kind in ("packed", "videos"):
        names = ["extract.json", "manifest.csv", "shards/000000.tar", "shards/index.csv"]
        assert sorted(snapshot(stores[kind].root)) == names


@pytest.mark.parametrize("short_side", [None, 31, 12, 50])
def test_packed_gives_the_pictures_of_files(stores: dict[str, FrameStore], short_side: int | None) -> None:
    for video in stores["files"].ids[::3]:
        indices = [11, 0, 5, 5]
        a, b = (stores[kind].read(video, indices, short_side) for kind in ("files", "packed"))
        assert np.array_equal(a, b)


def test_a_shard_holds_the_very_files(stores: dict[str, FrameStore]) -> None:
    with tarfile.open(stores["packed"].root / "shards/000000.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
        assert len(tar.getnames()) == len(set(tar.getnames())) == 174 + 12
    files = snapshot(stores["files"].root)
    pictures = {name: data for name, data in members.items() if name.endswith(".jpg")}
    assert pictures == {name: data for name, data in files.items() if name.endswith(".jpg")}


def test_files_and_videos_differ_by_jpeg_alone(tmp_path: Path) -> None:
    make_video(tmp_path / "v/walk/a.mp4", frames=40, width=192, height=144, content="motion", options={"crf": "18"})
    files, videos = (stored(tmp_path / "v", tmp_path / kind, kind, short_side=96, quality=95) for kind in KINDS[::2])
    for side, mean in ((None, 1.0), (64, 1.0), (48, 1.5)):
        a, b = (store.read("walk/a", range(40), side) for store in (files, videos))
        assert np.abs(a.astype(int) - b).mean() < mean
        assert 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)) > 36, "PSNR in dB"
        # Turning video range into a JPEG's cuts colour off at whole levels, half a level on average.
        assert abs(float(a.mean()) - float(b.mean())) < 0.6, "no shift of brightness"


@pytest.mark.parametrize("settings", [{"every": 7}, {"max_frames": 5, "fps": 15}])
def test_thinning_keeps_the_same_frames_in_each_kind(tmp_path: Path, settings: dict) -> None:
    make_video(tmp_path / "v/wave/a.mp4", frames=61)
    files, *others = (stored(tmp_path / "v", tmp_path / kind, kind, **settings) for kind in KINDS)
    count = files.count("wave/a")
    expected = [read_counter(p) for p in files.read("wave/a", range(count))]
    for store in others:
        assert astuple(store.record("wave/a")) == astuple(files.record("wave/a"))
        assert [read_counter(p) for p in store.read("wave/a", range(count))] == expected
        assert np.array_equal(store.seconds("wave/a"), files.seconds("wave/a"))
    with tarfile.open(tmp_path / "packed/shards/000000.tar") as tar:
        names = [Path(name).name for name in tar.getnames()]
    assert names == [*(f"{i:08d}.jpg" for i in range(1, count + 1)), "index.npy"]


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_the_same(stores: dict[str, FrameStore], kind: str) -> None:
    for call in (lambda: stores[kind].read("kick/none", [0]), lambda: stores[kind].seconds("kick/none")):
        with pytest.raises(DataError, match="no video 'kick/none'"):
            call()
    for index in (12, -1):
        with pytest.raises(DataError, match=f"'kick/kick_0' has no frame {index}: it has 12"):
            stores[kind].read("kick/kick_0", [index])
    assert stores[kind].read("kick/kick_0", []).shape == (0, 32, 43, 3)


def _read(stores: list[FrameStore]) -> list[np.ndarray]:
    return [store.read(video, [0, 9], 24) for store in stores for video in store.ids]


def test_forked_processes_read_side_by_side(stores: dict[str, FrameStore]) -> None:
    ours = list(stores.values())
    here = _read(ours)  # so that they inherit whatever is open
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for there in pool.map(_read, [ours] * 4):
            assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))


def test_copies_carry_the_path_alone_and_read_in_a_fresh_process(stores: dict[str, FrameStore]) -> None:
    ours = list(stores.values())
    here = _read(ours)
    assert all(len(pickle.dumps(store)) < 600 for store in ours)
    code = (
        "import pickle, sys; stores = pickle.load(sys.stdin.buffer)\n"
        "pickle.dump([s.read(v, [0, 9], 24) for s in stores for v in s.ids], sys.stdout.buffer)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(ours), capture_output=True, check=True)
    assert all(np.array_equal(a, b) for a, b in zip(here, pickle.loads(done.stdout), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_reading_changes_nothing_on_disk(stores: dict[str, FrameStore], kind: str) -> None:
    root = stores[kind].root
    paths = [root, *sorted(root.rglob("*"))]
    before = [(path, path.stat().st_mtime_ns) for path in paths]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        store = FrameStore(root)
        for video in store.ids:
            store.read(video, [3])
            store.seconds(video)
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert [(path, path.stat().st_mtime_ns) for path in [root, *sorted(root.rglob("*"))]] == before


def test_loader_workers_and_kinds_give_the_same_batches(stores: dict[str, FrameStore]) -> None:
    lists = {"train": ["climb", "fall", "kick"], "val": [], "test": ["wave"]}
    batches = {}
    for kind, store in stores.items():
        splits = make("arn", scan_tree(store.root), lists=lists).splits
        sampler = EpisodeSampler(splits, "train", way=2, shot=1, queries=1)
        reader = ClipReader(store, ClipConfig(frames=4, size=32, short_side=32))
        episodes, clips = TrainingEpisodes(reader, sampler, seed=0), EvaluationClips(reader, sampler.videos)
        batches[kind] = [
            [
                *(b.clips.cut() for b in episode_loader(episodes, range(3), n, False)),
                *clip_loader(clips, [range(4), range(4, len(clips))], n, False),
            ]
            for n in (0, 2)
        ]
        assert all(torch.equal(a, b) for a, b in zip(*batches[kind], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(batches["files"][0], batches["packed"][0], strict=True))
    for a, b in zip(batches["files"][0], batches["videos"][0], strict=True):
        assert (a.float() - b.float()).abs().mean() < 3


def test_each_kind_scans_as_the_same_tree(stores: dict[str, FrameStore], tree: Path) -> None:
    scans, whole = [scan_tree(store.root) for store in stores.values()], scan_tree(tree)
    assert {(scan.kind, scan.digest, str(scan)) for scan in scans} == {("frames", whole.digest, str(whole))}


@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_needs_overwrite_and_leaves_nothing_of_the_old(tree: Path, tmp_path: Path, kind: str) -> None:
    kick, fall, out = tree / "kick/kick_0.mp4", tree / "fall/fall_1.mp4", tmp_path / "out"
    for other in [k for k in KINDS if k != kind]:
        extracted(kick, out, store=kind, overwrite=True)
        with pytest.raises(UsageError, match=rf"was made with store {kind} \(now {other}\)") as caught:
            extracted(kick, out, store=other)
        assert "--overwrite" in caught.value.hint
        extracted(fall, out, store=other, overwrite=True)
        extracted(fall, tmp_path / f"new-{other}", store=other)
        assert snapshot(out) == snapshot(tmp_path / f"new-{other}")


def test_awkward_names(tmp_path: Path) -> None:
    names = ["a [b](c); d!&'e", "видео", "n" * 240, '"quo,ted"', "line\nbreak", "trailing.", "%s{}$HOME", "caf\udce9"]
    plain = make_video(tmp_path / "plain.mp4", frames=3)
    folder = tmp_path / "v" / "Class [x] & 'z'"
    folder.mkdir(parents=True)
    for name in names:
        (folder / f"{name}.mp4").write_bytes(plain.read_bytes())
    for kind in KINDS:
        for done in (len(names), 0):
            assert extracted(tmp_path / "v", tmp_path / kind, store=kind).done == done
        store = FrameStore(tmp_path / kind)
        assert sorted(store.ids) == sorted(f"{folder.name}/{name}" for name in names)
        for video in store.ids:
            assert [read_counter(p) for p in store.read(video, [0, 1, 2])] == [0, 1, 2]
    with tarfile.open(tmp_path / "packed/shards/000000.tar", encoding="utf-8", errors="surrogateescape") as tar:
        assert {Path(name).parent.name for name in tar.getnames()} == set(names)


def test_unscaled_stores_are_exact_too(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v/a/a.mkv", frames=5, codec="ffv1", pix_fmt="bgr0", first=77)
    store = stored(tmp_path / "v", tmp_path / "out", "videos", short_side=None)
    assert np.array_equal(store.read("a/a", range(5)), np.stack([p for _, p in iter_frames(path)]))
    assert store.read("a/a", [2], 24).shape == (1, 24, 32, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fingerprint_tells_of_frames_that_were_extracted_anew_from_something_else(kind: str, tmp_path: Path) -> None:
    video, store = make_video(tmp_path / "v/kick/a.mp4", frames=12), tmp_path / "frames"
    before = stored(video, store, kind).fingerprint("kick/a")
    assert stored(video, store, kind).fingerprint("kick/a") == before
    make_video(video, frames=12, first=500, content="noise")
    os.utime(video, (1, 1))
    assert stored(video, store, kind, overwrite=True).fingerprint("kick/a") != before


@pytest.mark.parametrize("kind", KINDS)
def test_a_crashed_worker_costs_its_own_video(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def one_crash(function, jobs, workers, warn):
        for number, job in enumerate(jobs):
            yield job, extraction.Crashed("SIGKILL, perhaps out of memory") if number == 1 else function(job)

    monkeypatch.setattr(extraction, "run_tasks", one_crash)
    result = extracted(tree / "fall", tmp_path, store=kind)
    assert result.failed == [(tree / "fall/fall_1.mp4", "its worker process died (SIGKILL, perhaps out of memory)")]
    assert FrameStore(tmp_path).ids == ["fall/fall_0", "fall/fall_2"]


def test_worker_processes_give_the_same_videos(stores: dict[str, FrameStore], tree: Path, tmp_path: Path) -> None:
    one, other = stores["packed"], stored(tree, tmp_path, "packed", workers=2)
    assert [other.record(video) for video in other.ids] == [one.record(video) for video in one.ids]
    for video in one.ids:
        everything = range(one.count(video))
        assert np.array_equal(other.read(video, everything), one.read(video, everything))


@pytest.mark.parametrize(("kind", "file"), [("files", "fall/fall_0/00000001.jpg"), ("packed", "shards/000000.tar")])
def test_what_the_system_does_not_let_be_read_is_not_called_damaged(
    tree: Path, tmp_path: Path, kind: str, file: str
) -> None:
    store = stored(tree / "fall", tmp_path / "frames", kind)
    (store.root / file).unlink()
    (store.root / file).mkdir()  # a refusal that root gets, too
    with pytest.raises(DataError, match=r"^cannot read .*: Is a directory$"):
        store.read("fall/fall_0", [0])
