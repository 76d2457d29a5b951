"""Live sources over RTSP; they need GStreamer's server (Debian: gir1.2-gst-rtsp-server-1.0 and plugins)."""

import time
from pathlib import Path

import numpy as np
import pytest
from streams import free_port, grows, has_rtsp, live, rtsp_server, threads_reading, until
from videos import make_video

from fsar_cli.data.video import iter_frames
from fsar_cli.errors import DataError

pytestmark = pytest.mark.skipif(
    not has_rtsp(),
    reason="no RTSP server: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good",
)


@pytest.mark.parametrize("bframes", [0, 2])
def test_rtsp_gives_the_pictures_and_times_of_the_file(tmp_path: Path, bframes: int) -> None:
    path = make_video(tmp_path / "a.mp4", frames=40, fps=25, width=96, gop=8, bframes=bframes)
    with rtsp_server(path) as port, live(f"rtsp://127.0.0.1:{port}/live", short_side=32) as stream:
        frames = until(iter(stream), 40)
        assert stream.state().drops == {}
    for (seconds, picture), frame in zip(iter_frames(path, 32), frames, strict=True):
        assert frame.seconds == pytest.approx(seconds, abs=1e-3)
        assert np.array_equal(frame.picture, picture)
        assert not frame.gap


@pytest.mark.parametrize("method", ["basic", "digest"])
def test_a_wrong_password_is_told_without_it(clip: Path, method: str) -> None:
    with rtsp_server(clip, login="user:right", method=method) as port:
        with pytest.raises(DataError, match=r"\*\*\*@127.*password \(401\)"):
            live(f"rtsp://user:wrong@127.0.0.1:{port}/live").__enter__()
        assert threads_reading() == 0
        with live(f"rtsp://user:right@127.0.0.1:{port}/live") as stream:
            assert next(iter(stream)).seconds == 0


def test_a_stream_that_is_not_there_is_told(clip: Path) -> None:
    with rtsp_server(clip) as port, pytest.raises(DataError, match="no such stream"):
        live(f"rtsp://127.0.0.1:{port}/other").__enter__()


def cut(clip: Path, outage: float) -> None:
    """The server dies, and another takes its place."""
    port = free_port()
    with rtsp_server(clip, port):
        stream = live(f"rtsp://127.0.0.1:{port}/live").__enter__()
        frames = until(iter(stream), 20)
    time.sleep(outage)
    with stream, rtsp_server(clip, port):
        while not frames[-1].gap:
            frames.append(next(iter(stream)))
        seconds = frames[-1].seconds - frames[-2].seconds
        assert seconds > outage
        assert seconds == pytest.approx(frames[-1].wall - frames[-2].wall, abs=0.2)
        frames += until(iter(stream), 10)
        state = stream.state()
        assert (state.state, state.reconnects) == ("live", 1)
        assert state.missed == pytest.approx(seconds - 0.04, abs=0.01)
    assert grows(frames)


def test_a_cut_is_a_gap_as_long_as_it_took(clip: Path, quick: None) -> None:
    cut(clip, 0.5)


@pytest.mark.slow
def test_a_cut_of_ten_seconds(clip: Path) -> None:
    cut(clip, 10.0)
