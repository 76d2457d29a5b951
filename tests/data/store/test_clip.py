"""Which frames are stored, against the definition worked out on the whole list."""

import math

import pytest

from fsar_cli.data.store.clip import Thinning


def _stored(thinning: Thinning, times: list[float]) -> list[int]:
    taken = [index for index, seconds in enumerate(times) if thinning(index, seconds)]
    kept = [taken[place] for place in thinning.kept]
    assert thinning.times == [times[index] - times[0] for index in kept]
    assert (thinning.count, thinning.taken, thinning.last) == (len(times), len(taken), times[-1] - times[0])
    return kept


@pytest.mark.parametrize("source", [24, 25, 30, 30000 / 1001, 60])
@pytest.mark.parametrize("fps", [1, 5, 10, 12.5, 25, 30, 100])
def test_fps_keeps_the_first_frame_of_each_period(source: float, fps: float) -> None:
    times = [i / source for i in range(300)]
    periods: dict[int, int] = {}
    for index, seconds in enumerate(times):
        periods.setdefault(math.floor(round(seconds * fps, 6)), index)
    assert _stored(Thinning(fps=fps), times) == sorted(periods.values())


def test_every() -> None:
    assert _stored(Thinning(every=7), [float(i) for i in range(30)]) == [0, 7, 14, 21, 28]


@pytest.mark.parametrize("limit", [2, 3, 4, 5, 8, 100])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 10, 99, 100, 101, 1000])
def test_max_frames_is_an_even_grid_over_the_whole_video(limit: int, length: int) -> None:
    kept = _stored(Thinning(max_frames=limit), [i / 30 for i in range(length)])
    stride = kept[1] - kept[0] if len(kept) > 1 else length
    assert kept == list(range(0, length, stride))
    assert len(kept) <= limit
    assert len(kept) == length if length <= limit else len(kept) >= limit / 2


def test_max_frames_after_every() -> None:
    assert _stored(Thinning(every=3, max_frames=4), [float(i) for i in range(31)]) == [0, 12, 24]
