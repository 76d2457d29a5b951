"""Windows: which frames they hold, held equal to the plain definition, for files, gaps and what goes on."""

import itertools
import math

import numpy as np
import pytest
from own_videos import tiny
from videos import make_video

from fsar_cli.data.sampling import even_indices
from fsar_cli.data.video import iter_frames
from fsar_cli.errors import DataError, UsageError
from fsar_cli.recognise.windows import (
    LONGEST_GAP,
    TOLERANCE,
    Window,
    Windower,
    WindowGrid,
    crop_of,
    window_of_clip,
    windows_of_file,
)

CLIP = tiny().clip
GRIDS = [WindowGrid.laid(*shape) for shape in ((1.0, 0.5, 4), (2.0, 0.3, 4), (1.2, 1.2, 4), (0.8, 0.1, 4), (6, 6, 4))]


def picture(index: int, width: int = 48, height: int = 36) -> np.ndarray:
    """A picture that says which frame it is of."""
    return np.full((height, width, 3), (index % 256, index // 256, 7), np.uint8)


def pushed(times, grid: WindowGrid, origin: float | None = None, all_of_them: bool = False, **more) -> list[Window]:
    """The windows of frames at these times; `all_of_them` are pushed, or those that are wanted."""
    windower, windows = Windower(grid, CLIP, origin), []
    for index, seconds in enumerate(times):
        if windower.wants(index, seconds) or all_of_them:
            windows += windower.push(seconds, picture(index), **more)
    return [*windows, *windower.flush()]


def slow(times, grid: WindowGrid) -> list[tuple[float, float, list[float], bool]]:
    """(start, end, seconds of the frames, breaks) by the definition: the first frame at or after each grid time."""
    stretches, found = [[times[0]]], []
    for before, now in itertools.pairwise(times):
        if now - before > LONGEST_GAP:
            stretches.append([])
        stretches[-1].append(now)
    for number, stretch in enumerate(stretches):
        places = [stretch[0]]
        while places[-1] + grid.step <= stretch[-1] + 1e-6:
            places.append(stretch[0] + len(places) * grid.step)
        served = [next(t for t in stretch if t >= place - 1e-6) for place in places]
        begins = range(0, len(served) - grid.span, grid.every)
        for count, at in enumerate(begins):
            frames = served[at : at + grid.span + 1 : grid.apart]
            found.append((places[at], places[at] + grid.window, frames, number > 0 and count == 0))
        if not begins:
            frames = [served[i] for i in even_indices(len(served), grid.frames)]
            found.append((stretch[0], places[-1] + grid.step, frames, number > 0))
    return found


def plain(windows: list[Window]) -> list[tuple[float, float, list[float], bool]]:
    return [(w.start, w.end, [f.seconds for f in w.frames], w.breaks) for w in windows]


def same(found, expected) -> None:
    assert len(found) == len(expected)
    for (start, end, frames, breaks), (start2, end2, frames2, breaks2) in zip(found, expected, strict=True):
        assert (start, end) == pytest.approx((start2, end2), abs=1e-9)
        assert frames == frames2 and breaks == breaks2


def random_times(seed: int) -> list[float]:
    """Of cameras that are quick, slow, even or not, with or without gaps."""
    dice = np.random.default_rng(seed)
    count, rate = int(dice.integers(1, 120)), dice.choice([1.0, 2.0, 5.0, 10.0, 29.97])
    steps = np.full(count, 1 / rate) if seed % 3 else dice.uniform(0.2, 1.8, count) / rate
    steps[dice.random(count) < 0.03] += dice.choice([0.5, 1.1, 7.0])
    return [0.0, *np.cumsum(steps).tolist()]


@pytest.mark.parametrize(
    ("window", "stride", "frames"),
    list(itertools.product((0.5, 1.0, 2.7, 10.0, 60.0), (0.04, 0.2, 0.5, 1.0, 3.3, 10.0), (2, 4, 8, 16, 64))),
)
def test_a_grid_has_the_very_stride_and_the_nearest_window(window: float, stride: float, frames: int) -> None:
    if stride > window:
        with pytest.raises(UsageError, match="cannot be laid"):
            WindowGrid.laid(window, stride, frames)
        return
    grid = WindowGrid.laid(window, stride, frames)
    assert grid.stride == pytest.approx(stride) and grid.frames == frames and min(grid.apart, grid.every) == 1
    others = [frames * n * stride for n in range(1, 2000)] + [frames * stride / n for n in range(1, 2000)]
    assert abs(grid.window - window) == pytest.approx(min(abs(w - window) for w in others), abs=1e-9)
    assert grid.window >= stride * (1 - 1e-9)


@pytest.mark.parametrize(
    ("window", "stride"),
    [(1, 0), (1, -1), (0, 0), (1, 2), (math.nan, 1), (1, math.nan), (math.inf, 1), (1, 1e-9), (1e9, 1), (-1, -1)],
)
def test_windows_that_make_no_sense_are_refused(window: float, stride: float) -> None:
    with pytest.raises(UsageError, match="cannot be laid"):
        WindowGrid.laid(window, stride, 8)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("grid", GRIDS)
def test_windows_hold_the_first_frame_at_or_after_each_grid_time(grid: WindowGrid, seed: int) -> None:
    times = random_times(seed)
    same(plain(pushed(times, grid)), slow(times, grid))


@pytest.mark.parametrize("seed", range(20))
def test_frames_that_are_not_wanted_change_nothing(seed: int) -> None:
    times, grid = random_times(seed), GRIDS[seed % len(GRIDS)]
    assert plain(pushed(times, grid)) == plain(pushed(times, grid, all_of_them=True))


@pytest.mark.parametrize("grid", GRIDS)
def test_windows_go_on_behind_every_full_window_as_if_nothing_had_been(grid: WindowGrid) -> None:
    for seed in range(9):
        times = random_times(seed)[:50]
        whole = plain(pushed(times, grid))
        for at, (start, end, _, _) in enumerate(whole):
            if end - start < grid.window - 1e-6:
                continue
            origin = start + grid.stride
            later = [t for t in times if t >= origin - LONGEST_GAP - TOLERANCE]
            rest = plain(pushed(later, grid, origin))
            same(rest, whole[at + 1 :])


def test_windows_of_a_grid_coarser_than_a_gap_are_full() -> None:
    grid = WindowGrid.laid(10.0, 10.0, 4)
    assert grid.step > LONGEST_GAP
    windows = pushed([0.1 * i for i in range(400)], grid)
    assert [w.start for w in windows] == pytest.approx([0, 10, 20, 30]) and not any(w.breaks for w in windows)


def test_no_window_spans_a_gap_and_the_first_behind_it_says_so() -> None:
    times = [*np.arange(0, 5, 0.1), *np.arange(6.5, 12, 0.1)]
    windows = pushed(times, GRIDS[0])
    assert all(w.frames[-1].seconds < 5 or w.frames[0].seconds >= 6.5 for w in windows)
    assert [w.start for w in windows if w.breaks] == [6.5]
    exact = pushed([0.0, 1.0, 2.0, 3.0, 4.0], GRIDS[0])
    assert not any(w.breaks for w in exact)  # a frame a second is no gap


def test_a_change_of_size_begins_anew_and_shows_the_middle_of_each_picture() -> None:
    windower, windows = Windower(GRIDS[0], CLIP), []
    for i in range(40):
        windower.wants(i, i / 10)
        size = (48, 36) if i < 20 else (36, 60)
        windows += windower.push(i / 10, picture(i, *size))
    assert all(len({f.seconds < 2 for f in w.frames}) == 1 for w in windows)
    for w in windows:
        expected = (8 / 48, 2 / 36, 40 / 48, 34 / 36) if w.start < 2 else (2 / 36, 14 / 60, 34 / 36, 46 / 60)
        assert w.input_crop == pytest.approx(expected)
    assert [w.start for w in windows if w.breaks] == [2.0]


def test_the_clock_of_a_window_is_that_of_its_last_frame() -> None:
    windower, windows = Windower(GRIDS[0], CLIP), []
    for i, seconds in enumerate([0.0, 0.1, 0.2, 9.0, *np.arange(9.1, 12, 0.1)]):
        if windower.wants(i, seconds):
            windows += windower.push(seconds, picture(i), wall=1000 + seconds)
    windows += windower.flush()
    assert windows[0].end < 1  # of the first stretch, made as the second began
    assert all(w.wall == 1000 + w.frames[-1].seconds for w in windows)


def test_memory_holds_the_frames_of_one_window() -> None:
    windower = Windower(GRIDS[1], CLIP)
    for i in range(3000):
        if windower.wants(i, i / 10):
            windower.push(i / 10, picture(i))
        assert len(windower._ring) <= GRIDS[1].span + 1


@pytest.mark.parametrize(
    ("name", "options"),
    {
        "even.mp4": {"frames": 50, "fps": 10},
        "uneven.mkv": {"pts": np.cumsum([37, 100, 210, 40] * 14).tolist()},
        "slow.mkv": {"pts": list(range(0, 9000, 900))},
        "gap.mkv": {"pts": [*range(0, 3000, 100), *range(5300, 9000, 100), *range(11000, 11300, 100)]},
        "few.mp4": {"frames": 3, "fps": 10},
        "one.mp4": {"frames": 1},
        "short.mp4": {"frames": 9, "fps": 10},
    }.items(),
)
@pytest.mark.parametrize("grid", [GRIDS[0], GRIDS[2]])
def test_a_file_gives_the_windows_of_its_frames_and_goes_on_from_any(tmp_path, name, options, grid) -> None:
    video = make_video(tmp_path / name, **options)
    frames = list(iter_frames(video, CLIP.short_side))
    windows = list(windows_of_file(video, grid, CLIP))
    same(plain(windows), slow([seconds for seconds, _ in frames], grid))
    shown = {seconds: p for seconds, p in frames}
    for w in windows:
        for frame in w.frames:
            assert (frame.picture == shown[frame.seconds][2:34, 8:40]).all()
    for at, w in enumerate(windows):
        if w.end - w.start < grid.window - 1e-6:
            continue
        rest = list(windows_of_file(video, grid, CLIP, w.start + grid.stride, origin=w.start + grid.stride))
        same(plain(rest), plain(windows[at + 1 :]))
        assert all((a.pictures == b.pictures).all() for a, b in zip(rest, windows[at + 1 :], strict=True))


def test_windows_before_damage_come_before_its_error(tmp_path) -> None:
    video = make_video(tmp_path / "a.ts", frames=60, fps=10, content="noise")
    data = video.read_bytes()
    video.write_bytes(data[: len(data) // 2 // 188 * 188 + 94])
    windows: list[Window] = []
    with pytest.raises(DataError, match="cut off"):
        for window in windows_of_file(video, GRIDS[0], CLIP):
            windows.append(window)
    assert 1 <= len(windows) < 10


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 30])
def test_a_clip_is_one_window_of_frames_that_are_spread_evenly(tmp_path, frames: int) -> None:
    video = make_video(tmp_path / "a.mp4", frames=frames, fps=10)
    window = window_of_clip(video, CLIP)
    shown = [(t, p[2:34, 8:40]) for t, p in iter_frames(video, CLIP.short_side)]
    chosen = [shown[i] for i in even_indices(frames, CLIP.frames)]
    assert [f.seconds for f in window.frames] == [t for t, _ in chosen]
    assert (window.pictures == np.stack([p for _, p in chosen])).all()
    assert (window.start, window.end) == pytest.approx((0, frames / 10 if frames > 1 else 0))
    assert window.input_crop == crop_of(video, CLIP)


def test_a_clip_may_be_a_stretch_or_read_at_a_rate(tmp_path) -> None:
    video = make_video(tmp_path / "a.mp4", frames=50, fps=10)
    part = window_of_clip(video, CLIP, 1.0, 2.0)
    assert {round(10 * f.seconds) for f in part.frames} <= set(range(10, 20)) and part.end == pytest.approx(2.0)
    rated = window_of_clip(video, CLIP.model_copy(update={"rate": 2.0}))
    assert np.diff([f.seconds for f in rated.frames]) == pytest.approx([0.5] * 3)
    with pytest.raises(DataError, match="has no frame"):
        window_of_clip(video, CLIP, 80.0)
