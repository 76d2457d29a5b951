"""Live sources that do not come about, end, are closed or fail; and that nothing of all that tells a login."""

import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from streams import Chunk, Listening, free_port, http_server, live, mute_server, paced, threads_reading, until
from videos import make_video

from fsar_cli.data.video.live import connecting
from fsar_cli.errors import DataError, UsageError


def refused(address: str, **settings: object) -> DataError:
    """The error of a first connection that does not come about; nothing of it is left."""
    with pytest.raises(DataError) as caught, live(address, **settings):
        pass
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert "secret" not in shown
    assert threads_reading() == 0
    return caught.value


def test_a_wrong_password_is_told_without_it(chunks: list[Chunk]) -> None:
    with http_server(lambda _: paced(chunks), login="user:right") as address:
        error = refused(address.replace("//", "//user:secret@"))
        assert "***@127.0.0.1" in error.message and "password (401)" in error.message
        with live(address.replace("//", "//user:right@")) as stream:
            assert next(iter(stream)).seconds == 0


def test_what_keeps_a_first_connection_from_coming_about_is_told() -> None:
    with http_server(lambda _: [b"<html>no video</html>" * 100], kind="text/html") as address:
        assert "no such stream (404)" in refused(f"{address}/absent?token=secret").message
        assert "or sends no video" in refused(address).message
    with http_server(lambda _: [b"<html>no video</html>" * 100], kind="text/html", length=2100) as address:
        assert "nothing that can be read as video" in refused(address).message
    port = free_port()
    assert "refuses the connection" in refused(f"http://user:secret@127.0.0.1:{port}/").message
    assert "refuses the connection" in refused(f"rtsp://user:secret@127.0.0.1:{port}/").message
    with pytest.raises(UsageError, match="no live source"):
        live("clip.mp4")


@pytest.mark.parametrize("scheme", ["http", "https", "rtsp", "rtmp", "rtsps"])
def test_a_server_that_never_answers_is_given_up(scheme: str) -> None:
    with mute_server() as port:
        begun = time.monotonic()
        error = refused(f"{scheme}://user:secret@127.0.0.1:{port}/live", connect_timeout=0.6)
        assert "no answer in 0.6 s" in error.message
        assert time.monotonic() - begun < 8


def test_no_packet_ever_is_no_answer() -> None:
    assert "no answer in 0.5 s" in refused(f"udp://127.0.0.1:{free_port()}", connect_timeout=0.5).message


def test_a_camera_that_is_not_there_is_told_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "cameras", lambda: ["camera:0 (Front)"])
    error = refused("camera:99")
    assert error.message.startswith("camera:99: ")
    assert error.hint == "there are camera:0 (Front)"


@pytest.mark.parametrize("scheme", ["http", "rtsp", "rtmp"])
def test_closing_ends_a_connection_that_hangs(scheme: str) -> None:
    with mute_server() as port:
        stream = live(f"{scheme}://127.0.0.1:{port}/live", connect_timeout=30.0)
        stream.start()
        time.sleep(0.3)
        assert (stream.state().state, threads_reading()) == ("connecting", 1)
        begun = time.monotonic()
        stream.close()
        assert time.monotonic() - begun < 5
        assert (stream.state().state, threads_reading(), list(stream)) == ("ended", 0, [])


def test_closing_ends_a_read_that_hangs_and_whoever_waits_for_it(chunks: list[Chunk]) -> None:
    def programme(_: int) -> Iterator[bytes]:
        yield from paced(chunks, speed=0)
        time.sleep(5)

    with http_server(programme) as address, live(address) as stream:
        ended = threading.Event()
        reader = threading.Thread(target=lambda: (list(stream), ended.set()), daemon=True)
        reader.start()
        time.sleep(0.3)
        begun = time.monotonic()
        stream.close()
        assert ended.wait(5)
        assert time.monotonic() - begun < 5
        assert threads_reading() == 0


def test_a_file_that_nobody_reads_can_be_closed(clip: Path, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=90, fps=25, muxer={"movflags": "faststart"})
    data = path.read_bytes()
    with (
        http_server(lambda _: [data], kind="video/mp4", length=len(data)) as address,
        live(address, stall=0.3) as stream,
    ):
        time.sleep(0.6)
        assert stream.state().state == "live"
    assert threads_reading() == 0


def test_a_server_that_is_gone_for_good_fails_the_source_and_no_login_is_told(chunks: list[Chunk], quick: None) -> None:
    told = Listening()
    with http_server(lambda _: paced(chunks[:10])) as address:
        secret = address.replace("//", "//user:secret@") + "?token=secret"
        stream = live(secret, max_reconnects=2, reporter=told).__enter__()
        assert len(until(iter(stream), 10)) == 10
    with pytest.raises(DataError, match="given up after 2 tries") as caught:
        list(stream)
    with pytest.raises(DataError, match="refuses the connection"):
        stream.take(0.1)
    state = stream.state()
    assert (state.state, state.frames, state.reconnects) == ("failed", 10, 0)
    assert state.missed > 0.1
    stream.close()
    said = [*told.lines, repr(stream), str(state), repr(state), stream.name, *traceback.format_exception(caught.value)]
    assert len(told.lines) == 3
    assert "secret" not in " ".join(said)
