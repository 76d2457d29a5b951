"""The one growing clock of a live source, and the grid of wanted times."""

import itertools

import pytest

from fsar_cli.data.video.live.clocks import StreamClock, TimeGrid


def seconds_of(clock: StreamClock, stamps: list[float], nows: list[float] | None = None) -> list[tuple[float, bool]]:
    ticks = [clock.tick(stamp, now) for stamp, now in zip(stamps, nows or stamps, strict=True)]
    return [(round(tick.seconds, 6), tick.gap) for tick in ticks]


def test_within_a_connection_stamps_tell_the_time_however_late_frames_come() -> None:
    stamps = [100 + n / 25 for n in range(10)]
    late = [7 + n / 25 + 0.3 * (n % 3) for n in range(10)]
    assert seconds_of(StreamClock(), stamps, late) == [(round(n / 25, 6), False) for n in range(10)]


def test_across_a_reconnect_our_clock_does() -> None:
    clock = StreamClock()
    seconds_of(clock, [5.0, 5.5, 6.0], [0.0, 0.5, 1.0])
    clock.reconnect()
    tick = clock.tick(90_000.0, 11.0)
    assert (tick.seconds, tick.gap, tick.missed) == (11.0, True, 9.5)
    assert seconds_of(clock, [90_000.5], [11.5]) == [(11.5, False)]


def test_stamps_that_are_set_back_are_a_gap_and_time_goes_on() -> None:
    stamps, nows = [10.0, 10.5, 11.0, 2.0, 2.5], [0.0, 0.5, 1.0, 1.5, 2.0]
    assert seconds_of(StreamClock(), stamps, nows) == [(0, False), (0.5, False), (1, False), (1.5, True), (2, False)]


def test_stamps_far_ahead_are_a_clock_that_was_set() -> None:
    stamps, nows = [0.0, 0.5, 1.0, 9001.0, 9001.5], [0.0, 0.5, 1.0, 1.5, 2.0]
    assert seconds_of(StreamClock(), stamps, nows)[3:] == [(1.5, True), (2.0, False)]


def test_a_freeze_is_a_gap_with_the_seconds_that_it_took() -> None:
    clock, stamps = StreamClock(), [0.0, 0.04, 0.08, 0.12, 6.12, 6.16]
    ticks = [clock.tick(stamp, stamp) for stamp in stamps]
    assert [tick.gap for tick in ticks] == [False] * 4 + [True, False]
    assert ticks[4].seconds == 6.12
    assert sum(tick.missed for tick in ticks) == pytest.approx(5.96)


def test_a_slow_stream_has_no_gaps() -> None:
    stamps = [5.0 * n for n in range(10)]
    assert not any(gap for _, gap in seconds_of(StreamClock(), stamps))


def test_shuffled_repeated_and_missing_stamps_never_stand_still() -> None:
    clock = StreamClock()
    stamps = [None, 0.04, 0.12, 0.08, 0.08, None, 0.2]
    ticks = [clock.tick(stamp, 0.04 * n) for n, stamp in enumerate(stamps)]
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(ticks))
    assert not any(tick.gap for tick in ticks)
    assert ticks[-1].seconds == pytest.approx(0.2)


def test_what_a_file_says_of_long_steps_is_believed() -> None:
    clock = StreamClock()
    assert [clock.tick(stamp, 0.01, trusted=True).seconds for stamp in (0.0, 0.1, 100.0)] == [0.0, 0.1, 100.0]


@pytest.mark.parametrize("every", [0.2, 1 / 3, 0.5])
def test_a_grid_takes_the_first_frame_at_or_after_each_time(every: float) -> None:
    grid, times = TimeGrid(every), [n / 30 for n in range(300)]
    taken = [seconds for seconds in times if grid.takes(seconds)]
    due = [next(t for t in times if t >= n * every - 1e-9) for n in range(round(10 / every)) if n * every <= times[-1]]
    assert taken == due


def test_a_grid_skips_the_times_of_a_gap() -> None:
    grid = TimeGrid(0.5)
    assert [grid.takes(s) for s in (0.0, 0.4, 0.5, 7.3, 7.4, 7.5)] == [True, False, True, True, False, True]


def test_no_grid_takes_every_frame() -> None:
    grid = TimeGrid(0.0)
    assert all(grid.takes(n / 100) for n in range(10))
