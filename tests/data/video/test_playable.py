"""What browsers are given: H.264, yuv420p, MP4, even sizes, and the times that a scan has."""

from pathlib import Path

import av
import numpy as np
import pytest
from videos import frames_at, make_video, read_counter, truncate

from fsar_cli.data.video import iter_frames, make_playable, probe
from fsar_cli.errors import DataError


def times(path: Path) -> list[float]:
    return [seconds for seconds, _ in iter_frames(path)]


def test_a_file_that_browsers_play_is_linked(tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", audio=True)
    made = make_playable(source, tmp_path / "out.mp4")
    assert made.path.samefile(source)
    assert (made.shown, made.fault) == ((1.0, 1.0), "")
    assert make_playable(source, source).path.samefile(source), "onto itself"


def test_where_there_are_no_links_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "another disk")

    monkeypatch.setattr("os.link", refuse)
    source = make_video(tmp_path / "v.mp4")
    made = make_playable(source, tmp_path / "out.mp4")
    assert not made.path.samefile(source)
    assert made.path.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("v.mkv", {}),
        ("v.avi", {"codec": "mpeg4"}),
        ("v.mov", {}),
        ("hevc.mp4", {"codec": "libx265"}),
        ("yuv444.mp4", {"pix_fmt": "yuv444p"}),
        ("late.mp4", {"pts": [400, 433, 500, 533, 700, 733, 800]}),
        ("later than its sound.mp4", {"pts": [400, 433, 500, 533, 700, 733, 800], "audio": True}),
        ("varying.mkv", {"pts": [0, 40, 41, 300, 1300, 1333, 2000]}),
        ("turned.mp4", {"rotation": 90}),
        ("odd [1] #%20 'a'.mp4", {"pix_fmt": "yuv444p", "width": 65, "height": 49}),
    ],
)
def test_others_are_encoded_and_keep_their_times_and_pictures(tmp_path: Path, name: str, how: dict) -> None:
    source = make_video(tmp_path / name, **how)
    made = make_playable(source, tmp_path / "out.mp4")
    info, given = probe(made.path), probe(source)
    assert (info.codec, info.pix_fmt, info.width % 2, info.height % 2) == ("h264", "yuv420p", 0, 0)
    assert (info.width * made.shown[0], info.height * made.shown[1]) == pytest.approx((given.width, given.height))
    assert np.abs(np.subtract(times(made.path), times(source))).max() < 0.001
    assert [read_counter(frame) for frame in frames_at(made.path, range(5))] == list(range(5))
    with av.open(str(made.path)) as container:
        assert "mp4" in container.format.name
        assert container.start_time == container.streams.video[0].start_time == 0


def test_large_pictures_are_made_smaller_and_small_ones_left(tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mkv", width=320, height=240, frames=3)
    sizes = [probe(make_playable(source, tmp_path / "out.mp4", side).path) for side in (120, 240, 640)]
    assert [(info.width, info.height) for info in sizes] == [(160, 120), (320, 240), (320, 240)]


def test_a_file_that_is_cut_off_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    source = truncate(make_video(tmp_path / "v.mp4", frames=60, muxer={"movflags": "faststart"}), 0.7)
    made = make_playable(source, tmp_path / "out.mp4")
    assert "is cut off" in made.fault
    assert 5 < len(times(made.path)) < 60


def test_what_is_no_video_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_text("no video")
    with pytest.raises(DataError, match="not a readable video"):
        make_playable(tmp_path / "v.mp4", tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
