"""Clips of events: the right frames at their times, the region drawn while the event lasts and only then."""

from pathlib import Path

import av
import numpy as np
import pytest

from fsar_cli.data.video.cutting import iter_frames
from fsar_cli.errors import DataError, UsageError
from fsar_cli.recognise.eventclip import region_at, write_event_clip
from fsar_cli.recognise.events import Event
from tests.videos import make_video, read_counter

TRACK = ((2.0, (0.1, 0.2, 0.4, 0.6)), (3.0, (0.5, 0.2, 0.8, 0.6)))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 s at 10 frames a second, 161 x 120: the number of each frame."""
    return make_video(tmp_path_factory.mktemp("clip") / "a b.mp4", 80, 162, 120, fps=10)


def read(path: Path) -> tuple[list[float], list[np.ndarray]]:
    times, frames = zip(*iter_frames(path), strict=True)
    return list(times), list(frames)


def redness(frame: np.ndarray) -> int:
    """Pixels of about the colour of the box: counter pictures are grey."""
    red, green, blue = (frame[..., i].astype(int) for i in range(3))
    return int(((red - green > 60) & (red - blue > 60)).sum())


def test_a_clip_has_the_frames_around_the_event_at_their_times(video: Path, tmp_path: Path) -> None:
    write_event_clip(
        video, Event(3.0, 4.0, "kick", 1.0, 0, ((3.0, (0.7, 0.0, 1.0, 0.3)),)), tmp_path / "e.mp4", 1.5, 0.5
    )
    times, frames = read(tmp_path / "e.mp4")
    assert times == pytest.approx(np.arange(30) / 10, abs=1e-3)
    with av.open(str(tmp_path / "e.mp4")) as container:
        assert container.streams.video[0].start_time == 0, "a player would wait"
    quiet = [i for i in range(30) if not 15 <= i < 25]
    assert [read_counter(frames[i]) for i in quiet] == [15 + i for i in quiet]


def test_the_box_is_there_while_the_event_lasts_and_follows_the_track(video: Path, tmp_path: Path) -> None:
    write_event_clip(video, Event(2.0, 3.1, "kick", 1.0, 0, TRACK), tmp_path / "e.mp4", 1.0, 1.0)
    _, frames = read(tmp_path / "e.mp4")
    drawn = [redness(frame) > 60 for frame in frames]
    assert drawn == [10 <= i < 21 for i in range(len(frames))]
    for i, left in ((10, 0.1), (15, 0.3), (20, 0.5)):
        column = frames[i][60:66, :, 0].astype(int) - frames[i][60:66, :, 1]
        edge = int(np.flatnonzero(column.mean(0) > 50)[0])
        assert edge == pytest.approx(left * 162, abs=3)


def test_regions_between_moments_lie_between_and_else_stay() -> None:
    event = Event(1.0, 5.0, "kick", 1.0, 0, TRACK)
    assert region_at(event, 2.25) == pytest.approx([0.2, 0.2, 0.5, 0.6])
    assert region_at(event, 0.0) == pytest.approx(TRACK[0][1])
    assert region_at(event, 9.0) == pytest.approx(TRACK[1][1])
    assert region_at(Event(1, 2, "kick", 1.0, 0), 1.5) == pytest.approx([0, 0, 1, 1])


def test_names_of_any_kind_fit_the_tab(video: Path, tmp_path: Path) -> None:
    for cls in ("two\nlines", "x" * 500, "\udcff", "動画 </b>", " "):
        write_event_clip(video, Event(0.0, 0.3, cls, 1.0, 0, TRACK), tmp_path / "e.mp4")
        assert len(read(tmp_path / "e.mp4")[0]) == 13


def test_an_event_at_an_end_of_the_video_has_what_is_there(video: Path, tmp_path: Path) -> None:
    write_event_clip(video, Event(7.5, 9.0, "kick", 1.0, 0), tmp_path / "e.mp4", before=0.5)
    times, frames = read(tmp_path / "e.mp4")
    assert len(times) == 10 and redness(frames[-1]) > 60 and redness(frames[0]) < 60


def test_what_cannot_be_cut_leaves_no_file(video: Path, tmp_path: Path) -> None:
    for event, source, error in (
        (Event(20.0, 21.0, "kick", 1.0, 0), video, DataError),
        (Event(0.0, 1.0, "kick", 1.0, 0), tmp_path / "absent.mp4", DataError),
    ):
        with pytest.raises(error):
            write_event_clip(source, event, tmp_path / "e.mp4")
    with pytest.raises(UsageError):
        write_event_clip(video, Event(0.0, 1.0, "kick", 1.0, 0), tmp_path / "e.txt")
    assert list(tmp_path.iterdir()) == []


def test_odd_sizes_and_uneven_times_are_kept(tmp_path: Path) -> None:
    stamps = [0, 40, 200, 210, 700, 1000, 1500, 2100]
    source = make_video(tmp_path / "v.mkv", width=95, height=71, pts=stamps, pix_fmt="yuv444p")
    write_event_clip(source, Event(0.2, 1.2, "kick", 1.0, 0, TRACK), tmp_path / "e.mp4", 0.1, 0.5)
    times, frames = read(tmp_path / "e.mp4")
    assert times == pytest.approx([0, 0.01, 0.5, 0.8, 1.3], abs=2e-3)
    assert frames[0].shape == (72, 96, 3)
