"""`fsar extract-frames` with annotations and split files: what is cut, how it is called, what is said of the rest."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from videos import make_video, read_counter

from fsar_cli.data.splits import Splits
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.records import read_settings

ANNOTATIONS = {
    "Abuse/Abuse001_x264.mp4": [{"start": 2, "end": 3}, {"start": 5, "end": 8}],
    "Abuse/Abuse002_x264.mp4": [],
    "Arson/Arson001_x264.mp4": [{"start": 9, "end": 14}],
    "Arson/Arson002_x264.mp4": [{"start": 20, "end": 24}],
    "Banner/banner01.MP4": [{"start": 1.5, "end": 2}],
    "Robbery/Robbery001_x264.mp4": [{"start": 1, "end": 2}],
}
CLIPS = {
    "Abuse/Abuse001_x264_000002_000003": range(20, 30),
    "Abuse/Abuse001_x264_000005_000008": range(50, 80),
    "Arson/Arson001_x264_000009_000014": range(90, 100),
    "Banner/banner01_000001.500_000002": range(15, 20),
}
"""The frames of each clip, at 10 a second; Arson001 has 10 s and so ends before its segment."""


@pytest.fixture(scope="module")
def crime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of 10 s at 10 frames/s under the names of UCF Crime, one class spelt otherwise, and annotations."""
    root = tmp_path_factory.mktemp("UCF Crime [v2]")
    names = ("abuse/Abuse001_x264.mp4", "abuse/Abuse002_x264.mp4", "Arson/Arson001_x264.mp4", "Arson/Arson002_x264.mp4")
    for name in (*names, "Banner/banner01.mp4", "Training_Normal_Videos_Anomaly/Normal_Videos001_x264.mp4"):
        make_video(root / "videos" / name, frames=100, fps=10, gop=10, bframes=2)
    (root / "annotations").mkdir()
    (root / "annotations/segments.json").write_text(json.dumps(ANNOTATIONS))
    return root


def _extract(fsar, crime: Path, *options: object, code: int = 0):
    done = fsar("extract-frames", crime / "videos", "out", "--workers", 0, "--short-side", 32, *options)
    assert done.code == code, done.err
    return done


def _counters(store: FrameStore, clip: str) -> list[int]:
    return [read_counter(picture) for picture in store.read(clip, range(store.count(clip)))]


def test_segments_are_cut_and_everything_else_is_named(fsar, crime: Path, tmp_path: Path) -> None:
    done = _extract(fsar, crime, "--annotations", crime / "annotations", "--json", code=3)
    store = FrameStore(tmp_path / "out")
    assert store.ids == sorted(CLIPS)
    for clip, frames in CLIPS.items():
        record = store.record(clip)
        start = int(clip.split("_")[-2].split(".")[0]) + (0.5 if "." in clip else 0)
        assert _counters(store, clip) == list(frames)
        assert (record.label, record.start) == (clip.partition("/")[0], start)
        assert (record.source_frames, record.duration) == (len(frames), pytest.approx(len(frames) / 10))
        assert np.allclose(store.seconds(clip), np.arange(len(frames)) / 10, atol=1e-9)
    (failed,) = done.json["failed"]
    reason, where = (
        "has no frame between 20 s and 24 s; its last comes after 9.9 s",
        "segments.json, Arson/Arson002_x264",
    )
    assert failed["reason"] == f"{reason} ({where})"
    assert "Arson001_x264_000009_000014: the video ends 4.0 s before the segment does" in done.err
    (gaps,) = done.json["left_out"].values()
    assert (gaps["missing"], gaps["without_segment"]) == (["Robbery/Robbery001_x264"], ["Abuse/Abuse002_x264"])
    assert (gaps["clips"], gaps["not_named"]) == (5, 1)
    assert "are not there: Robbery/Robbery001_x264\n" in done.err
    assert "have no segment and are left out: Abuse/Abuse002_x264\n" in done.err
    assert "does not name are left out: Training_Normal_Videos_Anomaly/Normal_Videos001_x264\n" in done.err
    assert "5 clips of 4 videos in 3 classes -> out" in done.err


def test_the_store_knows_how_it_was_cut(fsar, crime: Path, tmp_path: Path) -> None:
    options = ("--annotations", crime / "annotations/segments.json")
    _extract(fsar, crime, *options, "--clips", "longest", code=3)
    assert read_settings(tmp_path / "out").clips == "longest"
    abuse = [name for name in FrameStore(tmp_path / "out").ids if "Abuse" in name]
    assert abuse == ["Abuse/Abuse001_x264_000005_000008"]
    again = _extract(fsar, crime, *options, "--clips", "longest", code=3)
    assert "0 clips, 0 frames, 3 were there already" in again.out
    other = _extract(fsar, crime, *options, "--clips", "whole", code=2)
    assert "error: out was made with clips longest (now whole)" in other.err


def test_whole_videos_keep_their_names(fsar, crime: Path, tmp_path: Path) -> None:
    _extract(fsar, crime, "--annotations", crime / "annotations", "--clips", "whole")
    store = FrameStore(tmp_path / "out")
    ids = ["Abuse/Abuse001_x264", "Abuse/Abuse002_x264", "Arson/Arson001_x264", "Arson/Arson002_x264"]
    assert store.ids == [*ids, "Banner/banner01"]
    assert {store.count(name) for name in store.ids} == {100}


def test_thinning_counts_from_the_clips_first_frame(fsar, crime: Path, tmp_path: Path) -> None:
    _extract(fsar, crime, "--annotations", crime / "annotations", "--fps", 3, code=3)
    store = FrameStore(tmp_path / "out")
    assert _counters(store, "Banner/banner01_000001.500_000002") == [15, 19]
    assert np.allclose(store.seconds("Banner/banner01_000001.500_000002"), [0, 0.4])


def test_the_configuration_cuts_too(fsar, crime: Path, tmp_path: Path) -> None:
    data = {"videos": str(crime / "videos"), "annotations": str(crime / "annotations")}
    (tmp_path / "fsar.yaml").write_text(yaml.safe_dump({"data": data, "extract": {"clips": "longest"}}))
    done = fsar("extract-frames", "--workers", 0)
    assert done.code == 3
    assert len(FrameStore(tmp_path / "frames")) == 3
    without = fsar("extract-frames", "--workers", 0, "--set", "data.annotations=null", "--set", "data.frames=all")
    assert without.out.startswith("6 videos, 600 frames")
    assert read_settings(tmp_path / "all").clips == "whole"


def test_a_split_file_keeps_the_rest_out(fsar, crime: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("split,class,video\ntest,Abuse,Abuse/Abuse001_x264_000002_000003\n")
    _extract(fsar, crime, "--annotations", crime / "annotations", "--splits", "other.csv")
    rows = ["test,Abuse,Abuse/Abuse001_x264_000005_000008,", "test,Abuse,Abuse/Abuse009_x264_000005_000008,"]
    (tmp_path / "splits.csv").write_text("\n".join(["split,class,video,group", *rows]) + "\n")
    done = _extract(fsar, crime, "--annotations", crime / "annotations", "--splits", "splits.csv", "--json")
    assert (done.json["done"], done.json["skipped"]) == (1, 0)
    ids = ["Abuse/Abuse001_x264_000002_000003", "Abuse/Abuse001_x264_000005_000008"]
    assert FrameStore(tmp_path / "out").ids == ids, "two clips of one video"
    assert done.json["left_out"]["splits.csv"]["missing"] == ["Abuse/Abuse009_x264_000005_000008"]
    assert done.json["left_out"]["splits.csv"]["not_named"] == 4
    _extract(fsar, crime, "--annotations", crime / "annotations", code=3)
    assert len(FrameStore(tmp_path / "out")) == 4, "a later run adds the others, of the same videos too"


def test_plain_videos_of_a_split_file(fsar, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("split,class,video\ntest,kick,kick/Kick_1\ntest,wave,wave/wave_2\n")
    done = fsar("extract-frames", tree, "out", "--workers", 0, "--splits", "s.csv")
    assert (done.code, FrameStore(tmp_path / "out").ids) == (0, ["kick/kick_1", "wave/wave_2"])
    assert "10 found that s.csv does not name are left out: climb/climb_0, " in done.err


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of 1 s of two cameras: clip_0 of both, clip_1 of the first."""
    root = tmp_path_factory.mktemp("cameras")
    for name in ("cam1/clip_0", "cam1/clip_1", "cam2/clip_0"):
        make_video(root / f"{name}.mp4", frames=10, fps=10)
    return root


def _annotated(fsar, cameras: Path, *rows: str, code: int = 0):
    Path("a.csv").write_text("\n".join(["video,start,end,class", *rows]) + "\n")
    done = fsar("extract-frames", cameras, "out", "--workers", 0, "--annotations", "a.csv")
    assert done.code == code, done.err
    return done


def test_two_classes_in_a_video_and_two_videos_of_a_name(fsar, cameras: Path) -> None:
    rows = ["cam1/clip_0.mp4,0,00:00:00.5,fight", "cam1/clip_0.mp4,0.5,1,fall", "cam2/clip_0.mp4,0,0.5,fight"]
    _annotated(fsar, cameras, *rows)
    assert [(record.id, record.frames) for record in map(FrameStore("out").record, FrameStore("out").ids)] == [
        ("fall/clip_0_000000.500_000001", 5),
        ("fight/cam1_clip_0_000000_000000.500", 5),
        ("fight/cam2_clip_0_000000_000000.500", 5),
    ]
    fsar("splits", "make", "arn", "--root", "out", "--train", "fight", "--test", "fall", "--out", "s.csv")
    groups = [video.group for _, video in Splits.read(Path("s.csv")).rows]
    assert groups == ["cam1/clip_0.mp4", "cam2/clip_0.mp4", "cam1/clip_0.mp4"], "the video that each is cut from"


def test_without_a_class_a_clip_has_that_of_its_videos_folder(fsar, cameras: Path) -> None:
    _annotated(fsar, cameras, "clip_1.mp4,0,1", "cam2/clip_0,0,1,")
    assert FrameStore("out").ids == ["cam1/clip_1_000000_000001", "cam2/clip_0_000000_000001"]


def test_a_video_spelt_in_two_ways_has_one_clip_of_a_moment(fsar, cameras: Path) -> None:
    _annotated(fsar, cameras, "clip_1,0,0.6,fight", "cam1/Clip_1.MP4,0.4,1,fight", r"cam1\clip_1.mp4,0,1,fight")
    assert FrameStore("out").ids == ["fight/clip_1_000000_000001"]


def test_rows_that_are_refused_are_named_and_the_others_finish(fsar, cameras: Path) -> None:
    rows = ["cam1/clip_0,5,2,fight", "clip_0,0,1,fight", "cam1/clip_1,0,1,fight", "cam2/clip_0,20,30,fight"]
    done = _annotated(fsar, cameras, *rows, code=3)
    assert FrameStore("out").ids == ["fight/clip_1_000000_000001"]
    for line in (
        "a.csv: fight/cam1/clip_0: row 2: start '5', end '2': it ends before it starts\n",
        "1 of a.csv could be several files and are left out: fight/clip_0 (cam1/clip_0 or cam2/clip_0)\n",
        "has no frame between 20 s and 30 s; its last comes after 0.9 s (a.csv, row 5)\n",
    ):
        assert line in done.err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "clip_0,0,1,x",
            "no clip is left: 1 of a.csv could be several files and are left out: x/clip_0 (cam1",
        ),
        ("clip_1,2,1,x", "and are left out: x/clip_1; a.csv: x/clip_1: row 2: start '2', end '1': it ends before it"),
        ("cam3/clip_1,0,1,x\ncam1/nothing,0,1,x", "none of the 3 clips or videos found is named by a.csv"),
    ],
)
def test_where_no_clip_is_left_the_reason_is_the_true_one(fsar, cameras: Path, row: str, message: str) -> None:
    assert message in _annotated(fsar, cameras, row, code=3).err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--clips", "longest"], 2, "--clips longest needs annotations"),
        (
            ["--clips", "segments"],
            2,
            "extract.clips (flag): Input should be 'segment', 'longest' or 'whole', not 'segments'",
        ),
        (["--store", "tar"], 2, "extract.store (flag): Input should be 'files', 'packed' or 'videos', not 'tar'"),
        (["--annotations", "absent"], 3, "the annotations absent do not exist"),
        (["--annotations", "other.csv"], 3, "none of the 6 clips or videos found is named by other.csv"),
        (["--splits", "absent.csv"], 3, "cannot read the split file absent.csv"),
    ],
)
def test_refusals(fsar, crime: Path, tmp_path: Path, options: list[str], code: int, message: str) -> None:
    (tmp_path / "other.csv").write_text("video,start,end\nkick/none.mp4,1,2\n")
    done = _extract(fsar, crime, *options, code=code)
    assert f"error: {message}" in done.err
    assert not (tmp_path / "out").exists()
