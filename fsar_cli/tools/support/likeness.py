"""How alike clips are, whatever they are called: distances of frame features, before any head of a method.

The distance of two clips is the mean cosine distance from each frame to the nearest of the other clip, both ways (a
mean Hausdorff distance), so that a copy cut a little earlier or later still matches itself. What is near or far is said
by the set itself: robust z scores of logarithms, as distances vary by factors.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# A median absolute deviation in units of a normal distribution's standard deviation.
MAD_TO_SD = 1.4826
# Below this a distance is that of rounding: the same file twice.
SAME = 1e-5
ROWS = 16


def clip_distances(frames: Tensor) -> np.ndarray:
    """Frame features [V,T,D] -> float64 [V,V], symmetric, the diagonal zero."""
    unit = F.normalize(frames.float(), dim=-1)
    rows = []
    for some in unit.split(ROWS):
        similar = torch.einsum("itd,jsd->ijts", some, unit)
        rows.append(1 - similar.amax(3).mean(2))  # from each frame to the nearest of the other clip
    found = torch.cat(rows).double().clamp_min(0).cpu().numpy()
    found = (found + found.T) / 2  # both ways
    np.fill_diagonal(found, 0)
    return found


def robust_z(values: np.ndarray) -> np.ndarray:
    """Distances from the median in robust standard deviations, float64; NaN stays out; zero where nothing varies."""
    middle = np.nanmedian(values)
    spread = MAD_TO_SD * np.nanmedian(np.abs(values - middle))
    return (values - middle) / spread if spread > 0 else np.where(np.isnan(values), np.nan, 0.0)


def nearest_z(distances: np.ndarray) -> np.ndarray:
    """How unusually near two clips are: z scores [V,V] by the distances of all clips to their nearest; +inf on the
    diagonal, -inf for the same clip twice."""
    logs = np.log(np.maximum(distances, SAME))
    np.fill_diagonal(logs, np.inf)
    nearest = logs.min(1)
    middle = np.median(nearest)
    spread = MAD_TO_SD * np.median(np.abs(nearest - middle))
    z = (logs - middle) / spread if spread > 0 else np.where(np.isfinite(logs), 0.0, logs)
    z[(distances <= SAME) & ~np.eye(len(distances), dtype=bool)] = -np.inf
    return z


def oddness_z(distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How unusually far a clip is from the others of its class: z scores [V] by their median distance; NaN in classes
    of fewer than three, where nobody can tell which one is odd."""
    middle = np.full(len(labels), np.nan)
    for clip, label in enumerate(labels):
        others = np.flatnonzero(labels == label)
        if len(others) > 2:
            middle[clip] = np.median(np.log(np.maximum(distances[clip, others[others != clip]], SAME)))
    return middle if np.isnan(middle).all() else robust_z(middle)
