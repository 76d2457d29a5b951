"""Kind `videos`: every frame is the sequential decode's, bit for bit, and as little as possible is decoded for it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from stores import extracted, stored
from videos import make_video, read_counter

from fsar_cli.config import ExtractConfig
from fsar_cli.data.store import linked
from fsar_cli.data.store.extraction import extract
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.shards import read_index
from fsar_cli.data.store.sources import Source
from fsar_cli.data.video import iter_frames, positions
from fsar_cli.errors import DataError

KINDS = {
    "bframes.mp4": {"bframes": 3},
    "opengroups.mkv": {"bframes": 3, "options": {"x264-params": "open-gop=1"}},
    "refresh.mkv": {"options": {"x264-params": "intra-refresh=1"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "mpeg4.avi": {"codec": "mpeg4", "bframes": 2},
    "intra.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "transport.ts": {"bframes": 2},
    "program.mpg": {"codec": "mpeg2video", "bframes": 2},
    "vfr.mp4": {"pts": [700 + 20 * i + 3 * i * i for i in range(90)]},
    "late.mkv": {"pts": [5000 + 33 * i for i in range(90)], "bframes": 2},
    "turned.mp4": {"width": 48, "height": 96, "rotation": 90},
    "odd.mp4": {"pix_fmt": "yuv444p", "width": 67, "height": 49},
    "10bit.mkv": {"pix_fmt": "yuv420p10le"},
    "alpha.mov": {"codec": "qtrle", "pix_fmt": "argb"},
    "picture.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "one.mp4": {"frames": 1},
}
SEEKABLE = {"bframes.mp4", "opengroups.mkv", "vp9.webm", "vfr.mp4", "late.mkv", "turned.mp4", "intra.avi"}


def _index(path: Path, out: Path, short_side: int = 32, span: tuple[float, float] | None = None) -> FrameStore:
    result = extract([Source("a/a", "a", path, span)], out, ExtractConfig(short_side=short_side, store="videos"))
    assert not result.failed
    return FrameStore(out)


def _entries(store: FrameStore) -> np.ndarray:
    return linked.LinkedFrames(store.root)._tables(store.record("a/a"))[1]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for every frame that is decoded while reading from an index."""
    honest, frames = positions.good_frames, []

    def counting(*arguments):
        for frame in honest(*arguments):
            frames.append(1)
            yield frame

    monkeypatch.setattr(positions, "good_frames", counting)
    return frames


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_alone_and_together_is_the_sequential_one(tmp_path: Path, name: str) -> None:
    path = make_video(tmp_path / name, **{"frames": 90} | KINDS[name])
    store = _index(path, tmp_path / "out")
    times, truth = zip(*iter_frames(path, 32), strict=True)
    count = store.count("a/a")
    assert count == len(truth)
    assert np.array_equal(store.seconds("a/a"), times)
    assert np.array_equal(store.read("a/a", range(count)), truth)
    for index in range(0, count, 7):
        assert np.array_equal(store.read("a/a", [index])[0], truth[index])
    for indices in np.random.default_rng(0).integers(0, count, (4, 8)):
        assert np.array_equal(store.read("a/a", indices), np.stack(truth)[indices])
    assert len(_entries(store)) > 1 or name not in SEEKABLE


def test_avi_with_packed_b_frames(shared: Path, tmp_path: Path) -> None:
    path = min((shared / "data/ut_interaction/kick").glob("*.avi"))
    store = _index(path, tmp_path / "out", short_side=96)
    times, truth = zip(*iter_frames(path, 96), strict=True)
    for indices in np.random.default_rng(0).integers(0, len(truth), (3, 8)):
        assert np.array_equal(store.read("a/a", indices), np.stack(truth)[indices])
    assert np.array_equal(store.seconds("a/a"), times)


@pytest.mark.parametrize("name", ["bframes.mp4", "vfr.mp4"])
def test_a_frame_costs_its_group_and_a_clip_one_pass(tmp_path: Path, decoded: list[int], name: str) -> None:
    path = make_video(tmp_path / name, **{"frames": 90} | KINDS[name])
    store = _index(path, tmp_path / "out")
    for index in range(0, 90, 7):
        decoded.clear()
        store.read("a/a", [index])
        assert len(decoded) <= 12 + 5, "a group of pictures, and those in front of it that belong to the one before"
    decoded.clear()
    store.read("a/a", range(90))
    assert len(decoded) == 90
    decoded.clear()
    store.read("a/a", [80, 3, 83, 5])
    assert len(decoded) <= 2 * (12 + 5)


def test_entries_that_give_other_pictures_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "a.mp4", frames=90, bframes=2, options={"x264-params": "scenecut=0"})
    honest, tried = positions._checksum, []

    def other_once(frame) -> int:  # the second time the frame at 1.6 s is seen, it is not the same
        tried.append(frame.pts)
        return honest(frame) + (frame.time == 1.6 and tried.count(frame.pts) == 2)

    trusted = _entries(_index(path, tmp_path / "trusted"))
    monkeypatch.setattr(positions, "_checksum", other_once)
    store = _index(path, tmp_path / "out")
    assert trusted[:, 0].tolist() == list(range(0, 90, 12))
    assert _entries(store)[:, 0].tolist() == [number for number in range(0, 90, 12) if number != 48]
    assert [read_counter(p) for p in store.read("a/a", [47, 49, 59, 60])] == [47, 49, 59, 60]


def test_a_decoder_that_lands_elsewhere_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "a.mp4", frames=90)
    store = _index(path, tmp_path / "out")
    honest = positions._from_entry

    def late(*arguments):
        frames = honest(*arguments)
        next(frames)
        yield from frames

    monkeypatch.setattr(positions, "_from_entry", late)
    assert [read_counter(p) for p in store.read("a/a", [3, 50, 88])] == [3, 50, 88]


@pytest.mark.parametrize("name", ["bframes.mp4", "opengroups.mkv", "mpeg4.avi", "transport.ts", "late.mkv"])
@pytest.mark.parametrize("span", [(0.0, 1.0), (0.75, 1.5), (2.0, 90.0)])
def test_clips_cut_from_a_video(tmp_path: Path, name: str, span: tuple[float, float]) -> None:
    path = make_video(tmp_path / name, **{"frames": 90} | KINDS[name])
    store = _index(path, tmp_path / "out", span=span)
    assert name not in SEEKABLE or _entries(store)[0, 0] <= 0, "all of the clip can be sought"
    times, truth = zip(*iter_frames(path, 32, start=span[0], end=span[1]), strict=True)
    assert np.array_equal(store.read("a/a", range(store.count("a/a"))), truth)
    for index in range(0, len(truth), 5):
        assert np.array_equal(store.read("a/a", [index])[0], truth[index])
    assert np.array_equal(store.seconds("a/a"), np.array(times) - times[0])


def test_a_clip_late_in_a_video_is_not_decoded_from_the_start(
    tmp_path: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "a.mp4", frames=300, bframes=2, gop=30)
    store = _index(path, tmp_path / "out", span=(5.0, 6.5))
    monkeypatch.setattr(linked, "iter_frames", lambda *_: pytest.fail("read in sequence"))
    decoded.clear()
    assert [read_counter(p) for p in store.read("a/a", [0, 20, 44])] == [150, 170, 194]
    assert len(decoded) < 150


def test_a_video_that_changed_is_refused_until_it_is_indexed_again(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v/a/a.mp4", frames=20)
    store = stored(tmp_path / "v", tmp_path / "out", "videos")
    make_video(video, frames=25, first=100)
    with pytest.raises(DataError, match=r"a\.mp4: is not the file that was indexed") as caught:
        store.read("a/a", [0])
    assert "extract-frames" in caught.value.hint
    result = extracted(tmp_path / "v", tmp_path / "out", store="videos")
    assert (result.done, result.skipped) == (1, 0)
    store = FrameStore(tmp_path / "out")
    assert len(store) == 1
    assert [read_counter(p) for p in store.read("a/a", [0, 24])] == [100, 124]
    times = os.stat(video).st_mtime
    os.utime(video, (times + 60, times + 60))
    with pytest.raises(DataError, match="is not the file that was indexed"):
        store.read("a/a", [0])


def test_a_video_that_is_away_is_named_and_stays_in_the_store(tmp_path: Path) -> None:
    video, other = (make_video(tmp_path / f"v/a/{name}.mp4", frames=20) for name in "ab")
    stored(tmp_path / "v", tmp_path / "out", "videos")
    video.rename(tmp_path / "elsewhere.mp4")
    with pytest.raises(DataError, match=r"a/a\.mp4: no such file") as caught:
        FrameStore(tmp_path / "out").read("a/a", [0])
    assert "put the videos where they were" in caught.value.hint
    assert extracted(other, tmp_path / "out", store="videos").skipped == 1
    (tmp_path / "elsewhere.mp4").rename(video)
    assert read_counter(FrameStore(tmp_path / "out").read("a/a", [7])[0]) == 7


def test_a_store_moves_together_with_its_videos(tmp_path: Path) -> None:
    make_video(tmp_path / "old/videos/a/a.mp4", frames=20)
    stored(tmp_path / "old/videos", tmp_path / "old/frames", "videos")
    shutil.copytree(tmp_path / "old", tmp_path / "new place")
    shutil.rmtree(tmp_path / "old")
    store = FrameStore(tmp_path / "new place/frames")
    assert read_counter(store.read("a/a", [7])[0]) == 7
    result = extracted(tmp_path / "new place/videos", store.root, store="videos")
    assert (result.done, result.skipped) == (0, 1), "named at its new place, it is looked for there"
    assert FrameStore(store.root).record("a/a").source == str(tmp_path / "new place/videos/a/a.mp4")
    assert len(read_index(store.root)) == 1


def test_an_index_is_small(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=300, bframes=2)
    store = _index(path, tmp_path / "out")
    assert read_index(store.root)["a/a"].size < 12 * 300
