"""The newest frames and the figures of a live source, by a clock that the tests turn."""

import threading

import numpy as np
import pytest

from fsar_cli.data.video.live.board import WAITING, FrameBoard, LiveFrame
from fsar_cli.data.video.live.clocks import Tick
from fsar_cli.errors import DataError

PICTURE = np.zeros((2, 2, 3), np.uint8)


class HandClock:
    """A clock that stands still until it is set."""

    now = 0.0

    def time(self) -> float:
        return 1e9 + self.now

    def monotonic(self) -> float:
        return self.now


def board_of(staleness: float = 0.5, stall: float = 20.0) -> tuple[FrameBoard, HandClock]:
    clock = HandClock()
    return FrameBoard(staleness, stall, clock), clock


def put(board: FrameBoard, clock: HandClock, at: float, gap: bool = False, missed: float = 0.0) -> None:
    clock.now = at
    board.count(Tick(at, gap, missed), 0.1, at)
    board.put(LiveFrame(at, PICTURE, clock.time(), gap), at, lossless=False)


def test_a_slow_reader_gets_the_newest_and_the_rest_is_counted() -> None:
    board, clock = board_of()
    for n in range(20):
        put(board, clock, n / 10)
    assert [frame.seconds for frame in board.take(0)] == pytest.approx([1.4, 1.5, 1.6, 1.7, 1.8, 1.9])
    assert board.state().drops == {"slow reader": 14}


def test_the_newest_frame_waits_however_old_it_is() -> None:
    board, clock = board_of()
    put(board, clock, 0.0)
    clock.now = 3.0
    assert [frame.seconds for frame in board.take(0)] == [0.0]
    assert board.state().lag == 3.0
    assert board.take(0) == []
    assert board.state().drops == {}


def test_no_more_frames_wait_than_are_allowed() -> None:
    board, clock = board_of(staleness=60)
    for n in range(WAITING + 5):
        put(board, clock, n / 1000)
    assert len(board.take(0)) == WAITING
    assert board.state().drops == {"slow reader": 5}


def test_a_gap_before_a_frame_that_was_let_go_is_one_before_the_next() -> None:
    board, clock = board_of()
    for n in range(20):
        put(board, clock, n / 10, gap=n == 3)
    assert [frame.gap for frame in board.take(0)] == [True] + [False] * 5


def test_the_rate_is_that_of_the_last_seconds() -> None:
    board, clock = board_of()
    for n in range(200):
        put(board, clock, n / 20)
    assert board.state().rate == pytest.approx(20, rel=0.02)
    clock.now += 2
    assert board.state().rate == pytest.approx(12, rel=0.05)
    clock.now += 10
    assert board.state().rate == 0


def test_an_outage_is_counted_while_it_lasts_and_once() -> None:
    board, clock = board_of()
    put(board, clock, 0.0)
    put(board, clock, 1.0)
    board.turn("lost", DataError("gone"))
    clock.now = 5.0
    assert board.state().missed == pytest.approx(3.9)
    assert (board.state().state, board.state().reconnects, board.state().last_error) == ("lost", 0, "gone")
    put(board, clock, 8.0, gap=True, missed=6.9)
    assert board.state().missed == pytest.approx(6.9)
    assert (board.state().state, board.state().reconnects) == ("live", 1)


def test_an_outage_at_the_end_is_counted_up_to_there() -> None:
    board, clock = board_of()
    put(board, clock, 0.0)
    board.turn("lost", DataError("gone"))
    clock.now = 5.0
    board.turn("failed", DataError("gone for good"))
    clock.now = 50.0
    assert board.state().missed == pytest.approx(4.9)
    assert board.take(0)[0].seconds == 0.0
    for _ in range(2):
        with pytest.raises(DataError, match="for good"):
            board.take(0)


def test_a_source_without_frames_is_stalled_before_its_thread_says_so() -> None:
    board, clock = board_of(stall=20)
    put(board, clock, 0.0)
    clock.now = 19.0
    assert board.state().state == "live"
    clock.now = 21.0
    assert board.state().state == "stalled"
    assert board.state().missed == pytest.approx(20.9)


def test_a_file_waits_for_a_slow_reader() -> None:
    board, clock = board_of()

    def write() -> None:
        for n in range(3 * WAITING):
            clock.now = n
            board.count(Tick(n, False, 0.0), 1.0, n)
            board.put(LiveFrame(n, PICTURE, n, False), n, lossless=True)
        board.turn("ended")

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    frames = []
    while taken := board.take(5, limit=7):
        frames += taken
    assert [frame.seconds for frame in frames] == list(range(3 * WAITING))
    assert board.state().drops == {}


def test_the_state_in_words() -> None:
    board, clock = board_of()
    for n in range(20):
        put(board, clock, n / 10, missed=0.25)
    board.drop("damaged")
    assert str(board.state()) == "live, 20 frames, dropped 14 (slow reader), 1 (damaged), missed 5.0 s, 0 reconnects"
