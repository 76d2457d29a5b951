"""The frame store: what extraction writes, what is read back, and every way a run may have ended."""

import csv
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stores import extracted
from videos import frames_at, make_video, read_counter, truncate

from fsar_cli.config import ExtractConfig
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.loose import LooseFrames, frame_name
from fsar_cli.data.store.records import read_manifest, read_settings, write_manifest
from fsar_cli.data.video import probe
from fsar_cli.errors import DataError, Interrupted, UsageError
from fsar_cli.reporting import Silent
from fsar_cli.settings import resolve


@pytest.fixture(scope="module")
def store(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    out = tmp_path_factory.mktemp("store")
    result = extracted(tree, out)
    assert (result.done, result.skipped, result.failed) == (12, 0, [])
    assert result.frames == sum(12 + 2 * v + c % 2 for c in range(4) for v in range(3))
    return FrameStore(out)


def test_store_on_disk(store: FrameStore, tree: Path) -> None:
    names = sorted(path.name for path in (store.root / "kick/kick_1").iterdir())
    assert names == [*(f"{i:08d}.jpg" for i in range(1, 15)), "seconds.txt"]
    assert sorted(p.name for p in store.root.iterdir() if not p.is_dir()) == [".lock", "extract.json", "manifest.csv"]
    settings = {"schema": 1, "short_side": 32, "quality": 90, "fps": None, "every": 1, "max_frames": None}
    text = json.dumps(settings | {"clips": "segment", "store": "files", "picture_fps": 25.0}, indent=2) + "\n"
    assert (store.root / "extract.json").read_text() == text
    rows = {row["video"]: row for row in csv.DictReader((store.root / "manifest.csv").open())}
    row = rows["kick/kick_1"]
    assert row["class"] == "kick"
    assert row["source"] == str(tree / "kick/kick_1.mp4")
    expected = {"source_width": 64, "source_height": 48, "width": 43, "height": 32, "frames": 14, "source_frames": 14}
    assert {key: int(row[key]) for key in expected} == expected
    assert float(row["fps"]) == pytest.approx(30, abs=1e-5)
    assert float(row["duration"]) == pytest.approx(14 / 30, abs=1e-5)


def test_reading(store: FrameStore) -> None:
    assert store.ids == [f"{c}/{c}_{v}" for c in ("climb", "fall", "kick", "wave") for v in range(3)]
    assert len(store) == 12
    assert "fall/fall_2" in store
    assert "fall/fall_9" not in store
    assert store.count("fall/fall_2") == 17
    pictures = store.read("fall/fall_2", [16, 0, 3, 3])
    assert pictures.shape == (4, 32, 43, 3)
    assert pictures.dtype == np.uint8
    assert [read_counter(p) for p in pictures] == [156, 140, 143, 143]
    assert np.allclose(store.seconds("fall/fall_2"), np.arange(17) / 30, atol=1e-9)


@pytest.mark.parametrize("short_side", [9, 16, 32, 64])
def test_reading_at_another_size(store: FrameStore, short_side: int) -> None:
    picture = store.read("wave/wave_0", [5], short_side)[0]
    assert min(picture.shape[:2]) == short_side
    assert picture.shape[1] == round(43 * short_side / 32)
    assert read_counter(picture) == 305


def test_half_size_jpeg_decoding_agrees_with_exact_resizing(tmp_path: Path, shared: Path) -> None:
    video = next((shared / "data/ut_interaction/punch").glob("*.avi"))
    extracted(video, tmp_path, short_side=256, every=50)
    store = FrameStore(tmp_path)
    (video_id,) = store.ids
    exact = Image.open(tmp_path / video_id / frame_name(0))
    small = store.read(video_id, [0], 112)[0]
    expected = np.asarray(exact.resize(small.shape[1::-1], Image.Resampling.BILINEAR))
    assert np.abs(small.astype(int) - expected).mean() < 2


def test_ten_thousand_videos_open_in_a_moment(store: FrameStore, tmp_path: Path) -> None:
    one = store.record("kick/kick_0")
    write_manifest(tmp_path, (replace(one, id=f"kick/{i}") for i in range(10_000)))
    begin = time.process_time()  # a busy machine is no fault of ours
    assert FrameStore(tmp_path).record("kick/9999").frames == 12
    moment = 2 if sys.gettrace() is None else 10  # where each line is measured it takes some times as long
    assert time.process_time() - begin < moment


def test_errors_name_what_is_missing_and_the_repair(tree: Path, tmp_path: Path) -> None:
    extracted(tree / "kick/kick_0.mp4", tmp_path)
    store, folder = FrameStore(tmp_path), tmp_path / "kick/kick_0"
    (folder / frame_name(3)).unlink()
    with pytest.raises(DataError, match=r"00000004\.jpg is missing") as caught:
        store.read("kick/kick_0", [3])
    assert "extract-frames" in caught.value.hint
    truncate(folder / frame_name(4), 0.3)
    with pytest.raises(DataError, match=r"00000005\.jpg is damaged"):
        store.read("kick/kick_0", [4])
    (folder / "seconds.txt").write_text("0.0\n")
    with pytest.raises(DataError, match="holds 1 times for 12 frames"):
        store.seconds("kick/kick_0")
    (folder / "seconds.txt").unlink()
    with pytest.raises(DataError, match="times of 'kick/kick_0' cannot be read"):
        store.seconds("kick/kick_0")


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a frame store"):
        FrameStore(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        FrameStore(tmp_path / "absent")


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"fps": 10}, range(0, 60, 3)),
        ({"every": 25}, range(0, 60, 25)),
        ({"max_frames": 8}, range(0, 60, 8)),
        ({"short_side": 0}, range(60)),
    ],
)
def test_thinned_frames_keep_their_times(tmp_path: Path, settings: dict, kept: range) -> None:
    video = make_video(tmp_path / "v/wave/a.mp4", frames=60)
    extracted(video, tmp_path / "out", **settings)
    store = FrameStore(tmp_path / "out")
    pictures = store.read("wave/a", range(len(kept)))
    assert [read_counter(p) for p in pictures] == list(kept)
    assert np.allclose(store.seconds("wave/a"), np.array(kept) / 30, atol=1e-9)
    record = store.record("wave/a")
    assert (record.frames, record.source_frames) == (len(kept), 60)
    assert record.fps == pytest.approx(30 / kept.step, abs=1e-4)
    assert record.duration == pytest.approx(2, abs=1e-5)
    assert len(list((tmp_path / "out/wave/a").glob("*.jpg"))) == len(kept)


def test_variable_rate_times_are_stored(tmp_path: Path) -> None:
    pts = [300 + 5 * i * i for i in range(20)]
    extracted(make_video(tmp_path / "v/wave/a.mp4", pts=pts), tmp_path / "out")
    assert np.allclose(FrameStore(tmp_path / "out").seconds("wave/a"), (np.array(pts) - 300) / 1000, atol=1e-9)


def test_broken_videos_are_named_and_the_others_finish(tmp_path: Path) -> None:
    videos, out, warnings, reporter = tmp_path / "v/kick", tmp_path / "out", [], Silent()
    reporter.warn = warnings.append
    make_video(videos / "good.mp4", frames=5)
    (videos / "empty.avi").touch()
    (videos / "gone.mkv").symlink_to(tmp_path / "nowhere.mkv")
    result = extracted(tmp_path / "v", out, reporter=reporter)
    assert result.done == 1
    assert result.failed == [(videos / "empty.avi", "is empty (0 bytes)"), (videos / "gone.mkv", "no such file")]
    assert f"{videos / 'empty.avi'}: is empty (0 bytes)" in warnings
    assert FrameStore(out).ids == ["kick/good"]
    assert not (out / ".partial").exists()
    rows = list(csv.DictReader((out / "failed.csv").open()))
    assert {row["video"]: row["reason"] for row in rows}["kick/empty"] == "is empty (0 bytes)"
    for path, _ in result.failed:
        path.unlink()
    assert extracted(tmp_path / "v", out).skipped == 1
    assert not (out / "failed.csv").exists(), "a run without failures leaves no list of them"


def test_a_reason_does_not_repeat_a_path_of_two_lines(tmp_path: Path) -> None:
    file = make_video(tmp_path / "v/kick\nrun/a.mp4", frames=2)
    file.write_bytes(b"")
    assert extracted(tmp_path / "v", tmp_path / "out").failed == [(file, "is empty (0 bytes)")]


def test_other_settings_need_overwrite(tree: Path, tmp_path: Path) -> None:
    extracted(tree / "kick/kick_0.mp4", tmp_path)
    with pytest.raises(UsageError, match=r"was made with short_side 32 \(now 24\), fps None \(now 5.0\)") as caught:
        extracted(tree / "kick/kick_0.mp4", tmp_path, short_side=24, fps=5)
    assert "--overwrite" in caught.value.hint
    extracted(tree / "kick/kick_0.mp4", tmp_path, short_side=24, fps=5, overwrite=True)
    assert FrameStore(tmp_path).record("kick/kick_0").height == 24
    assert len(list(tmp_path.glob("kick/kick_0/*.jpg"))) == 2


def test_overwrite_removes_nothing_outside_the_store(tree: Path, tmp_path: Path) -> None:
    out, outside = tmp_path / "out", tmp_path / "precious"
    outside.mkdir()
    extracted(tree / "kick/kick_0.mp4", out)
    record = next(read_manifest(out))
    write_manifest(out, [record, replace(record, id="../precious"), replace(record, id=str(outside))])
    extracted(tree / "kick/kick_0.mp4", out, overwrite=True)
    assert outside.is_dir()


def test_a_foreign_folder_is_refused(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    for out in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(UsageError, match="not a frame store and not an empty folder"):
            extracted(tree, out)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"short_side": 15}, "short_side.*must be 16 to 8192, or 0 for the size of the video, not 15"),
        ({"quality": 0}, "quality.* or equal to 1, not 0"),
        ({"quality": 101}, "quality.* or equal to 100, not 101"),
        ({"fps": 0}, "fps.*greater than 0, not 0"),
        ({"every": 0}, "every.* or equal to 1, not 0"),
        ({"fps": 5, "every": 2}, r"extract\.fps and extract\.every exclude each other"),
        ({"max_frames": 1}, "max_frames.* or equal to 2, not 1"),
    ],
)
def test_impossible_settings(values: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(flags={f"extract.{name}": value for name, value in values.items()}, environ={})


def test_settings_of_a_store_from_before_clips_were_cut_are_read(tree: Path, tmp_path: Path) -> None:
    extracted(tree / "kick/kick_0.mp4", tmp_path)
    old = {"schema": 1, "short_side": None, "quality": 90, "fps": None, "every": 1, "max_frames": None}
    (tmp_path / "extract.json").write_text(json.dumps(old))
    assert read_settings(tmp_path) == ExtractConfig(short_side=0, clips="whole", store="files")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 1}', '{"schema": 1, "short_side": "wide"}'])
def test_damaged_settings_are_named(tree: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "extract.json").write_text(text)
    with pytest.raises(DataError, match=r"extract\.json is damaged") as caught:
        extracted(tree, tmp_path)
    assert "--overwrite" in caught.value.hint


def test_a_torn_manifest_is_repaired(tree: Path, tmp_path: Path) -> None:
    for number in range(3):
        extracted(tree / f"kick/kick_{number}.mp4", tmp_path)
    manifest = tmp_path / "manifest.csv"
    whole = manifest.read_bytes()
    for cut in range(1, len(whole.splitlines()[-1])):
        manifest.write_bytes(whole[:-cut])
        assert FrameStore(tmp_path).ids == ["kick/kick_0", "kick/kick_1"]
    (tmp_path / ".partial" / "1-0").mkdir(parents=True)
    result = extracted(tree / "kick", tmp_path)
    assert (result.done, result.skipped) == (1, 2)
    rows = manifest.read_bytes().splitlines()[1:]
    assert sorted(row.split(b",")[0] for row in rows) == [b"kick/kick_0", b"kick/kick_1", b"kick/kick_2"]
    assert not (tmp_path / ".partial").exists()


def test_a_removed_folder_is_fetched_again(tree: Path, tmp_path: Path) -> None:
    extracted(tree / "kick", tmp_path)
    for file in (tmp_path / "kick/kick_0").iterdir():
        file.unlink()
    result = extracted(tree / "kick", tmp_path)
    assert (result.done, result.skipped) == (1, 2)
    assert len(list(read_manifest(tmp_path))) == 3


def test_an_id_that_changed_is_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "v/kick/a.mp4", frames=3)
    extracted(tmp_path / "v", tmp_path / "out")
    make_video(tmp_path / "v/kick/a.mkv", frames=3)
    with pytest.raises(UsageError, match=r"as 'kick/a', and is now 'kick/a.mp4'"):
        extracted(tmp_path / "v", tmp_path / "out")
    extracted(tmp_path / "v", tmp_path / "out", overwrite=True)
    assert FrameStore(tmp_path / "out").ids == ["kick/a.mkv", "kick/a.mp4"]
    assert not (tmp_path / "out/kick/a").exists()


def test_two_extractions_into_one_store(tree: Path, tmp_path: Path) -> None:
    class Second(Silent):
        def detail(self, text: str) -> None:
            with pytest.raises(UsageError, match="another extraction is at work"):
                extracted(tree, tmp_path)

    assert extracted(tree / "kick/kick_0.mp4", tmp_path, reporter=Second()).done == 1


def test_a_full_disk_stops_the_run(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LooseFrames, "collect", full)
    with pytest.raises(DataError, match="takes no more: No space left") as caught:
        extracted(tree, tmp_path)
    assert "run the same again" in caught.value.hint
    assert not (tmp_path / ".partial").exists()


def test_interrupt_keeps_what_is_done(tree: Path, tmp_path: Path) -> None:
    class Impatient(Silent):
        count = 0

        def detail(self, text: str) -> None:
            self.count += 1
            if self.count == 2:
                raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="2 of 3 videos were extracted") as caught:
        extracted(tree / "kick", tmp_path, reporter=Impatient())
    assert "same command again" in caught.value.hint
    assert len(FrameStore(tmp_path).ids) == 2
    assert not (tmp_path / ".partial").exists()
    assert (extracted(tree / "kick", tmp_path).done, len(FrameStore(tmp_path))) == (1, 3)


def test_real_clips(shared: Path, tmp_path: Path) -> None:
    root = shared / "data" / "ut_interaction"
    rows = list(csv.DictReader((root / "manifest.csv").open()))[::60]
    (tmp_path / "list.csv").write_text("path,class\n" + "".join(f"{root / r['path']},{r['class']}\n" for r in rows))
    extracted(tmp_path / "list.csv", tmp_path / "out", short_side=112)
    store = FrameStore(tmp_path / "out")
    assert {i: store.count(i) for i in store.ids} == {r["path"].removesuffix(".avi"): int(r["frames"]) for r in rows}
    for row in rows:
        info = probe(root / row["path"])
        assert (info.width, info.height, info.fps) == (int(row["width"]), int(row["height"]), 30.0)
        video_id, last = row["path"].removesuffix(".avi"), int(row["frames"]) - 1
        stored = store.read(video_id, [0, last]).astype(int)
        assert np.abs(stored - frames_at(root / row["path"], [0, last], 112)).mean() < 4
