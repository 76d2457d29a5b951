"""Which clips are worth a look, and why: every threshold is here.

    mislabelled?   recognised as another class: margin below 0, and 2.5 robust standard deviations below the median
                   margin of the set
    ambiguous      its margin is within 0.1 of zero: it could be either
    duplicate      nearer to another clip than clips are to their nearest, by 3 robust standard deviations (of
                   logarithms), and by half
    too short      fewer frames than the method reads
    black          at least half of the frames that the method sees
    frozen         nothing moves in any of them

A robust standard deviation is 1.4826 times the median absolute deviation. So the set itself says what is clear: where a
method hardly tells the classes apart margins scatter widely and nothing is, and wrong labels, as long as they are far
from half, hardly move a median. A black clip gets no flag about its label.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MISLABELLED, AMBIGUOUS, DUPLICATE = "mislabelled?", "ambiguous", "duplicate"
UNREADABLE, SHORT, BLACK, FROZEN = "unreadable", "too short", "black", "frozen"
OUTLYING = 2.5
NEAR_ZERO = 0.1
NEAR, HALF = -3.0, 0.5
SAME = 1e-5
"""Below this a distance is that of rounding: the same file twice."""
# Thresholds of pixels are in grey levels of 255, and far from what cameras give: of 172 rendered and real clips with a
# fixed camera the least active changed 0.2 % of its pixels between sampled frames, the darkest had a mean of 44.
DARK = 24.0
"""A frame is black where 99 of 100 pixels lie below."""
CHANGE = 10.0
"""A pixel has changed where it differs by more: coding noise does not."""
STILL = 2e-4
"""A clip is frozen where a smaller share of pixels changes between any two neighbouring sampled frames."""
ROWS = 16


@dataclass(frozen=True)
class Flag:
    """One reason to look at a clip."""

    kind: str
    detail: str
    other: str = ""
    """Duplicate: the clip that it equals."""


def picture_flags(frames: np.ndarray) -> list[Flag]:
    """What is wrong with sampled frames uint8 RGB [T,h,w,3] by themselves."""
    grey = frames @ np.array([0.299, 0.587, 0.114], np.float32)  # [T,h,w]
    black = int((np.quantile(grey, 0.99, axis=(1, 2)) < DARK).sum())
    if 2 * black >= len(frames):
        return [Flag(BLACK, f"{black} of {len(frames)} sampled frames")]
    changed = (np.abs(np.diff(grey, axis=0)) > CHANGE).mean(axis=(1, 2))
    still = len(changed) > 0 and changed.max() < STILL
    return [Flag(FROZEN, f"nothing moves in {len(frames)} sampled frames")] if still else []


def label_flags(margins: np.ndarray, nearest: Sequence[str]) -> list[list[Flag]]:
    """Flags [V] by recognition.

    Args:
        margins: float64 [V], NaN for a clip alone in its class.
        nearest: [V] names of the nearest other classes.
    """
    known = margins[~np.isnan(margins)]
    middle = np.median(known) if len(known) else 0.0
    clear = middle - OUTLYING * _robust_deviation(known)
    flags: list[list[Flag]] = [[] for _ in margins]
    for i, margin in enumerate(margins):
        if margin < 0 and margin <= clear < middle:
            flags[i].append(Flag(MISLABELLED, f"looks like {nearest[i]}"))
        elif abs(margin) <= NEAR_ZERO:
            flags[i].append(Flag(AMBIGUOUS, f"could as well be {nearest[i]}"))
    return flags


def _robust_deviation(values: np.ndarray) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0


def duplicate_flags(distances: np.ndarray, labels: np.ndarray, videos: Sequence[str]) -> list[list[Flag]]:
    """Flags [V] by `clip_distances` [V,V]."""
    others = distances + np.diag(np.full(len(distances), np.inf))
    closest, least = others.argmin(1), others.min(1)
    logs = np.log(np.maximum(least, SAME))
    near = np.median(logs) + NEAR * _robust_deviation(logs)
    flags: list[list[Flag]] = [[] for _ in videos]
    for i, j in enumerate(closest):
        unusual = logs[i] <= near < np.median(logs) and least[i] <= HALF * np.median(least)
        if least[i] <= SAME or unusual:
            elsewhere = "" if labels[i] == labels[j] else ", which has another class"
            flags[i].append(Flag(DUPLICATE, f"like {videos[j]}{elsewhere}", videos[j]))
    return flags


def clip_distances(frames: Tensor) -> np.ndarray:
    """Frame features [V,T,D] -> float64 [V,V], symmetric, the diagonal zero.

    The distance of two clips is the mean cosine distance from each frame to the nearest of the other clip, both ways (a
    mean Hausdorff distance), so that a copy cut a little earlier or later still matches itself.
    """
    unit = F.normalize(frames.float(), dim=-1)
    rows = [1 - torch.einsum("itd,jsd->ijts", some, unit).amax(3).mean(2) for some in unit.split(ROWS)]
    distances: np.ndarray = torch.cat(rows).double().clamp_min(0).cpu().numpy()
    distances = (distances + distances.T) / 2  # both ways
    np.fill_diagonal(distances, 0)
    return distances
