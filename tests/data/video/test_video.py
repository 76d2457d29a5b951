"""Video files of every kind that data sets hold: which frame is read, at what time, in what size; and every refusal."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from videos import draw_counter, make_video, read_counter, truncate, zero
from zoo import EXHIBITS, Exhibit

from fsar_cli.data.video import VideoWriter, count_frames, iter_frames, probe, reading, scaled_size
from fsar_cli.errors import DataError, UsageError

KINDS = {
    "h264.mp4": {},
    "bframes.mkv": {"bframes": 3},
    "mpeg4.avi": {"codec": "mpeg4", "bframes": 2},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "transport.ts": {},
    "gray.mkv": {"codec": "ffv1", "pix_fmt": "gray"},
    "alpha.mov": {"codec": "qtrle", "pix_fmt": "argb"},
    "odd.mp4": {"pix_fmt": "yuv444p", "width": 67, "height": 49},
    "sound.mp4": {"audio": True},
    "picture.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "intra.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}
REFUSED = {
    *("access/broken link.mp4", "access/folder.mp4", "access/forbidden.mp4", "junk/empty.mp4", "junk/text.webm"),
    *("junk/sound.mp4", "junk/huge.avi", "damaged/sixty frames.avi"),
}
"""Of the zoo, which `test_zoo` leads through the whole command, one of each kind of refusal."""


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_in_order_to_the_last(tmp_path: Path, name: str) -> None:
    path = make_video(tmp_path / name, frames=31, **KINDS[name])
    seconds, pictures = zip(*iter_frames(path), strict=True)
    assert [read_counter(picture) for picture in pictures] == list(range(31))
    assert np.allclose(seconds, np.arange(31) / 30, atol=0.011), "gif counts in hundredths"
    assert all(p.dtype == np.uint8 and p.shape == pictures[0].shape and p.flags.c_contiguous for p in pictures)
    info = probe(path)
    assert pictures[0].shape == (info.height, info.width, 3)
    assert info.fps == pytest.approx(30, rel=0.15)
    assert info.frames in (31, None)
    assert count_frames(path) == 31


def test_stamps_of_a_container_that_does_not_say_are_thousandths(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [SimpleNamespace(pts=stamp) for stamp in (100, 140, 180)]
    monkeypatch.setattr(reading, "good_frames", lambda *_: iter(frames))
    stream = SimpleNamespace(time_base=None, average_rate=Fraction(25), guessed_rate=None)
    assert [seconds for seconds, _ in reading.timed_frames("a.mkv", None, stream)] == [0.0, 0.04, 0.08]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, rotation: int) -> None:
    path = make_video(tmp_path / "phone.mp4", frames=20, width=96, height=48, rotation=rotation, first=1234)
    info = probe(path)
    assert (info.width, info.height, info.rotation) == (96, 48, rotation)
    pictures = [picture for _, picture in iter_frames(path, short_side=32)]
    assert pictures[0].shape == (32, 64, 3)
    assert [read_counter(p) for p in pictures] == list(range(1234, 1254))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_rate_and_late_start(tmp_path: Path, suffix: str) -> None:
    pts = [700 + 20 * i + 3 * i * i for i in range(40)]
    path = make_video(tmp_path / f"late.{suffix}", pts=pts)
    expected = (np.array(pts) - 700) / 1000
    assert np.allclose([seconds for seconds, _ in iter_frames(path)], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((64, 64), 100, (100, 100)),
        ((1920, 1080), 256, (455, 256)),
        ((2, 1000), 1, (1, 500)),
        ((1000, 999), 3, (3, 3)),
        ((7, 5), None, (7, 5)),
    ],
)
def test_scaled_size(size: tuple[int, int], short_side: int | None, expected: tuple[int, int]) -> None:
    assert scaled_size(*size, short_side) == expected
    with pytest.raises(UsageError, match="at least 1 pixel"):
        scaled_size(64, 48, 0)


def test_scaling_keeps_the_picture_in_place(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", frames=1, width=128, height=96, codec="ffv1", pix_fmt="bgr0", first=1365)
    small = next(iter_frames(path, short_side=48))[1]
    expected = draw_counter(1365, 64, 48)
    assert np.abs(small.astype(int) - expected).mean() < 4
    assert np.array_equal(next(iter_frames(path))[1], draw_counter(1365, 128, 96)), "lossless and unscaled"


def test_keep_selects_before_converting(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=40)
    kept = [(s, read_counter(p)) for s, p in iter_frames(path, keep=lambda i, s: i % 7 == 0 and s < 1)]
    assert [counter for _, counter in kept] == [0, 7, 14, 21, 28]
    assert kept[3][0] == pytest.approx(21 / 30)


@pytest.mark.parametrize("exhibit", [e for e in EXHIBITS if e.place in REFUSED], ids=lambda exhibit: exhibit.place)
def test_refusals_name_file_and_reason(tmp_path: Path, exhibit: Exhibit) -> None:
    path = tmp_path / Path(exhibit.place).name
    exhibit.make(path)
    for call in (count_frames, probe) if exhibit.reason == "no such file" else (count_frames,):
        with pytest.raises(DataError, match=exhibit.reason) as caught:
            call(path)
        assert str(path) in caught.value.message


def test_damaged_frames_are_skipped(tmp_path: Path) -> None:
    path = zero(make_video(tmp_path / "a.avi", frames=60, codec="mjpeg", pix_fmt="yuvj420p"), 20, 25)
    counters = [read_counter(picture) for _, picture in iter_frames(path, threads=1)]
    assert counters == [*range(20), *range(25, 60)]
    assert [round(s * 30) for s, _ in iter_frames(path, threads=1)] == counters, "time does not slip"


@pytest.mark.parametrize("name", ["a:b.mp4", "50% [x] (1) & 'q' !;.mp4", "%03d.mp4", "n" * 240 + ".mp4"])
def test_any_file_name_is_written(tmp_path: Path, name: str) -> None:
    with VideoWriter(tmp_path / name, 32, 24) as writer:
        writer.write(draw_counter(9, 32, 24))
    assert read_counter(next(iter_frames(tmp_path / name))[1]) == 9


def test_libav_stays_silent(tmp_path: Path) -> None:
    path = truncate(make_video(tmp_path / "a.avi", codec="mpeg4", content="noise"), 0.5)
    code = (
        "import sys; from fsar_cli.data.video import iter_frames; from fsar_cli.errors import DataError\n"
        "try: list(iter_frames(sys.argv[1]))\nexcept DataError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("refused\n", "")


@pytest.mark.parametrize(("suffix", "size"), [("mp4", (64, 48)), ("mkv", (65, 49))])
def test_written_video_reads_back(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    path, times = tmp_path / f"out.{suffix}", [0.0, 0.1, 0.15, 0.5, 1.25]
    with VideoWriter(path, *size, fps=30) as writer:
        for index, seconds in enumerate(times):
            writer.write(draw_counter(index, *size), seconds)
        writer.write(draw_counter(5, *size))
        assert not path.exists(), "nothing appears before the end"
    seconds, pictures = zip(*iter_frames(path), strict=True)
    assert np.allclose(seconds, [*times, 1.25 + 1 / 30], atol=6e-4)
    assert [read_counter(p) for p in pictures] == list(range(6))
    assert pictures[0].shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
    info = probe(path)
    assert (info.codec, info.pix_fmt) == ("h264", "yuv420p")
    assert list(tmp_path.iterdir()) == [path]


def test_mp4_plays_while_it_loads(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoWriter(path, 64, 48, fps=30000 / 1001) as writer:
        for index in range(30):
            writer.write(draw_counter(index, 64, 48))
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert probe(path).fps == pytest.approx(30000 / 1001, rel=1e-6)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="stop"), VideoWriter(path, 64, 48) as writer:
        writer.write(draw_counter(0, 64, 48))
        raise RuntimeError("stop")
    with pytest.raises(DataError, match="no frame was written"), VideoWriter(path, 64, 48):
        pass
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_writer_refusals(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.mp4"):
        VideoWriter(tmp_path / "a.txt", 64, 48)
    with pytest.raises(UsageError, match="1 x 48"):
        VideoWriter(tmp_path / "a.mp4", 1, 48)
    with pytest.raises(DataError, match="folder does not exist"), VideoWriter(tmp_path / "no" / "a.mp4", 64, 48):
        pass
    with pytest.raises(UsageError, match="does not fit"), VideoWriter(tmp_path / "a.mp4", 64, 48) as writer:
        writer.write(draw_counter(0, 32, 24))


def test_packed_bframes_get_growing_times(shared: Path) -> None:
    path = next((shared / "data" / "ut_interaction" / "kick").glob("*.avi"))
    with av.open(str(path)) as container:
        raw = [frame.pts for frame in container.decode(video=0)]
    assert raw != sorted(raw), "the clip hands its stamps out of order"
    assert np.array_equal(
        np.round(np.array([seconds for seconds, _ in iter_frames(path)]) * 30).astype(int),
        np.array(sorted(raw)) - min(raw),
    )
