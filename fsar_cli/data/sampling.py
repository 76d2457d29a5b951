"""Which T frames of a video make its clip: pure index arithmetic, apart from decoding.

    n = 20 frames, T = 8          0 1 2 3 4 5 6 7 8 9 . . . . . . . . . 19
    evenly (test)                   x   x     x   x     x   x     x     x
    with jitter (training)        the same between a random start and a random end

The rule is TRX's, which the paper follows: int(linspace(1, n-2, T)); the whole range where the video is too short.
Networks of video may want frames at the rate that they were trained with instead (`rated_indices`).
"""

from functools import lru_cache

import numpy as np


def _spread(start: int, end: int, count: int, frames: int) -> np.ndarray:
    if end - start < frames:
        start, end = 0, count - 1
    return np.linspace(start, end, frames).astype(np.int64)


def even_indices(count: int, frames: int) -> np.ndarray:
    """Deterministic indices for testing.

    Args:
        count: n >= 1, frames of the video.
        frames: T.

    Returns:
        int64 [T], non-decreasing in [0, n-1]; frames repeat where n < T.
    """
    return _spread(1, count - 2, count, frames)


def rated_indices(seconds: np.ndarray, frames: int, rate: float, place: float) -> np.ndarray:
    """Indices of frames that are 1 / `rate` apart, each the nearest in time.

    Args:
        seconds: float64 [n], n >= 1, ascending times of the frames of the video.
        frames: T.
        rate: frames a second.
        place: where in the video they lie, of [0,1]: 0 at its beginning, 1 at its end.

    Returns:
        int64 [T], non-decreasing in [0, n-1]; spread over all of a video that is shorter.
    """
    spare = seconds[-1] - seconds[0] - (frames - 1) / rate
    if spare < 0:
        return np.linspace(0, len(seconds) - 1, frames).astype(np.int64)
    times = seconds[0] + place * spare + np.arange(frames) / rate
    nearest: np.ndarray = np.abs(times[:, None] - seconds).argmin(1)
    return nearest


def jittered_indices(count: int, frames: int, jitter: int, rng: np.random.Generator) -> np.ndarray:
    """Training indices: start and end are moved inwards by up to `jitter` frames, half of what can be spared at most.

    Returns:
        int64 [T], non-decreasing in [0, n-1].
    """
    spare = _spare(count, frames, jitter)
    start = int(rng.integers(0, spare + 1))
    end = int(rng.integers(count - 1 - spare, count))
    return _spread(start, end, count, frames)


def _spare(count: int, frames: int, jitter: int) -> int:
    return min(jitter, max(count - frames, 0) // 2)


@lru_cache(maxsize=4096)
def reachable_indices(count: int, frames: int, jitter: int) -> np.ndarray:
    """Every index that `jittered_indices` can give: int64, ascending, read only; a part of a long video's frames."""
    spare = _spare(count, frames, jitter)
    spreads = [
        _spread(start, end, count, frames) for start in range(spare + 1) for end in range(count - 1 - spare, count)
    ]
    indices = np.unique(spreads)
    indices.flags.writeable = False
    return indices
