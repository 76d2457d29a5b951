"""Live sources against a server on this machine: what streams do, and that all figures are true."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streams import (
    Chunk,
    Listening,
    free_port,
    grows,
    http_server,
    live,
    multipart_chunks,
    paced,
    transport_chunks,
    until,
)
from videos import draw_counter, make_video, read_counter

from fsar_cli.data.video import iter_frames
from fsar_cli.data.video.live import LiveFrame, LiveSource, TimeGrid
from fsar_cli.data.video.picture import to_jpeg

STEP = 0.04


@pytest.mark.parametrize("bframes", [0, 2])
def test_a_stream_gives_the_pictures_and_times_of_the_file(tmp_path: Path, bframes: int) -> None:
    path = make_video(tmp_path / "a.mp4", frames=40, fps=25, width=96, gop=8, bframes=bframes)
    chunks = transport_chunks(path)
    with http_server(lambda _: paced(chunks)) as address, live(address, short_side=32) as stream:
        frames = until(iter(stream), 40)
    for (seconds, picture), frame in zip(iter_frames(path, 32), frames, strict=True):
        assert frame.seconds == pytest.approx(seconds, abs=1e-3)
        assert np.array_equal(frame.picture, picture)
        assert not frame.gap


def test_only_frames_of_the_grid_are_handed_over(clip: Path, chunks: list[Chunk]) -> None:
    with http_server(lambda _: paced(chunks)) as address, live(address, every=0.3) as stream:
        frames = until(iter(stream), 6)
        assert stream.state().frames >= 38
    grid = TimeGrid(0.3)
    kept = [seconds for seconds, _ in iter_frames(clip, keep=lambda _, seconds: grid.takes(seconds))]
    assert [frame.seconds for frame in frames] == pytest.approx(kept[:6], abs=1e-3)


def cut_and_back(chunks: list[Chunk], outage: float, **settings: object) -> tuple[list[LiveFrame], LiveSource]:
    """Half of a stream, nobody there for a while, the whole stream; frames up to some after that."""
    port = free_port()
    with http_server(lambda _: paced(chunks[:25]), port=port) as address:
        stream = live(address, **settings).__enter__()
        frames = until(iter(stream), 25)
    time.sleep(outage)
    assert stream.state().state == "lost"
    assert stream.state().missed == pytest.approx(time.time() - frames[-1].wall - STEP, abs=0.3)
    with http_server(lambda _: paced(chunks), port=port):
        frames += until(iter(stream), 20)
        assert stream.state().state == "live"
    return frames, stream


def check_outage(frames: list[LiveFrame], stream: LiveSource, after: int = 25) -> float:
    """One gap, as long by the source's clock as on the wall; its seconds."""
    assert grows(frames)
    assert [n for n, frame in enumerate(frames) if frame.gap] == [after]
    seconds = frames[after].seconds - frames[after - 1].seconds
    assert seconds == pytest.approx(frames[after].wall - frames[after - 1].wall, abs=0.2)
    state = stream.state()
    assert state.missed == pytest.approx(seconds - STEP, abs=0.01)
    assert state.reconnects == 1
    assert state.drops == {}
    stream.close()
    return seconds


def test_a_cut_is_a_gap_as_long_as_it_took(chunks: list[Chunk], quick: None) -> None:
    told = Listening()
    frames, stream = cut_and_back(chunks, 0.8, reporter=told)
    assert check_outage(frames, stream) > 0.8
    assert "lost" not in told.lines[0] and "connecting again" in told.lines[0]
    assert any("there again" in line for line in told.lines)
    assert told.lines[-1] == f"{stream.name}: {stream.state()}"


@pytest.mark.slow
def test_a_cut_of_ten_seconds(chunks: list[Chunk]) -> None:
    assert 10 < check_outage(*cut_and_back(chunks, 10.0)) < 10 + 8 + 2


def freeze(chunks: list[Chunk], seconds: float, **settings: object) -> list[str]:
    """A stream that stays connected and sends nothing; the states that were seen on the way."""

    def programme(number: int) -> Iterator[bytes]:
        yield from paced(chunks[:25])
        if number == 0:
            time.sleep(seconds)
        yield from paced(chunks[25:])

    with http_server(programme) as address, live(address, **settings) as stream:
        frames, states = until(iter(stream), 15), []
        while len(frames) < 40:
            frames += stream.take(0.05)
            states.append(stream.state().state)
        assert grows(frames)
        assert sum(frame.gap for frame in frames) == 1
        assert stream.state().missed == pytest.approx(
            max(b.seconds - a.seconds for a, b in itertools.pairwise(frames)) - STEP
        )
    return [state for state, _ in itertools.groupby(states)]


def test_a_source_that_sends_nothing_is_stalled_and_connected_anew(chunks: list[Chunk], quick: None) -> None:
    assert freeze(chunks, 3.0, stall=0.7) == ["live", "stalled", "live"]


@pytest.mark.slow
def test_a_freeze_of_thirty_seconds(chunks: list[Chunk]) -> None:
    assert freeze(chunks, 30.0, connect_timeout=10.0) == ["live", "stalled", "live"]


def follow(clip: Path, start: float, stamps: float) -> list[Chunk]:
    """A clip that is sent from `start` seconds on, with stamps from `stamps` on."""
    return [(seconds + start, data) for seconds, data in transport_chunks(clip, stamps)]


def test_a_short_freeze_is_waited_for(clip: Path, chunks: list[Chunk]) -> None:
    with http_server(lambda _: paced(chunks[:25] + follow(clip, 2.3, 2.3))) as address, live(address) as stream:
        frames = until(iter(stream), 35)
        state = stream.state()
        assert (state.reconnects, state.state) == (0, "live")
    freeze = next(n for n, frame in enumerate(frames) if frame.gap)
    assert sum(frame.gap for frame in frames) == 1
    assert state.missed == pytest.approx(frames[freeze].seconds - frames[freeze - 1].seconds - STEP)
    assert 1.2 < state.missed < 1.5


def test_stamps_that_jump_back_are_a_gap_and_time_goes_on(clip: Path) -> None:
    twice = transport_chunks(clip, later=500.0) + follow(clip, 2.0, 0.0)
    with http_server(lambda _: paced(twice)) as address, live(address) as stream:
        frames = until(iter(stream), 65)
        assert stream.state().reconnects == 0
    assert grows(frames)
    assert sum(frame.gap for frame in frames) == 1
    assert frames[-1].seconds - frames[0].seconds == pytest.approx(frames[-1].wall - frames[0].wall, abs=0.3)


def test_pictures_of_another_size_are_a_gap(clip: Path, tmp_path: Path) -> None:
    wide = make_video(tmp_path / "wide.mp4", frames=50, fps=25, width=128, gop=5, bframes=0)
    both = transport_chunks(clip) + follow(wide, 2.0, 2.0)
    with http_server(lambda _: paced(both)) as address, live(address, short_side=24) as stream:
        frames = until(iter(stream), 60)
    sizes = [frame.picture.shape for frame in frames]
    assert [size for size, _ in itertools.groupby(sizes)] == [(24, 32, 3), (24, 64, 3)]
    assert [n for n, frame in enumerate(frames) if frame.gap] == [sizes.index((24, 64, 3))]
    assert grows(frames)


def test_a_slow_reader_gets_the_newest_frames_and_every_drop_is_counted(chunks: list[Chunk]) -> None:
    with http_server(lambda _: paced(chunks)) as address, live(address, staleness=0.2) as stream:
        ages, taken = [], []
        while len(taken) < 20:
            time.sleep(0.4)
            frames = stream.take(1.0)
            now = time.time()
            ages += [now - frame.wall for frame in frames]
            taken += frames
            state = stream.state()
            assert state.lag == pytest.approx(now - frames[-1].wall, abs=0.05)
        assert state.frames == pytest.approx(len(taken) + state.drops["slow reader"], abs=1)
        assert state.rate == pytest.approx(25, rel=0.25)
    assert max(ages) < 0.2 + 0.05
    assert grows(taken)


def test_taking_does_not_wait_longer_than_is_said(chunks: list[Chunk]) -> None:
    def programme(_: int) -> Iterator[bytes]:
        yield from paced(chunks[:10], speed=0)
        time.sleep(5)

    with http_server(programme) as address, live(address) as stream:
        while stream.take(0.5):
            pass
        begun = time.monotonic()
        assert stream.take(0.3) == []
        assert 0.25 < time.monotonic() - begun < 2.5


def test_an_mjpeg_stream_is_timed_by_when_pictures_come_and_bad_ones_are_skipped() -> None:
    pictures = [to_jpeg(draw_counter(n, 64, 48), 90) for n in range(16)]
    for bad in (5, 6, 11):
        pictures[bad] = b"\xff\xd8\xff\xd9 no picture"
    parts = multipart_chunks(pictures, fps=10)
    kind = "multipart/x-mixed-replace; boundary=frame"
    with http_server(lambda _: paced(parts), kind=kind) as address, live(address) as stream:
        frames = until(iter(stream), 12)
        assert stream.state().drops == {"damaged": 3}
        assert stream.state().frames == 12
    shown = [read_counter(frame.picture) for frame in frames]
    assert shown == [n for n in range(15) if n not in (5, 6, 11)]
    took = frames[-1].wall - frames[0].wall
    assert frames[-1].seconds - frames[0].seconds == pytest.approx(took, abs=0.02)
    assert 1.0 < took < 4.0  # the first few come together, once it is known what the stream holds


def test_a_file_of_a_server_is_waited_for_and_ends(clip: Path, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=90, fps=25, muxer={"movflags": "faststart"})
    data = path.read_bytes()
    with (
        http_server(lambda _: [data], kind="video/mp4", length=len(data)) as address,
        live(address, staleness=0.1) as stream,
    ):
        frames = until(iter(stream), 5)
        time.sleep(0.5)
        frames += list(stream)
        assert stream.state().state == "ended"
        assert stream.state().drops == {}
        assert stream.take(0.1) == []
    assert [frame.seconds for frame in frames] == pytest.approx([seconds for seconds, _ in iter_frames(path)])
