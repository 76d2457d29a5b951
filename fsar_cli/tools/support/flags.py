"""Which clips are worth a look, and why: every threshold is here.

    mislabelled?   recognised as another class: margin below 0, as its own in at most 20 % of draws, and the margin lies
                   2.5 robust standard deviations below the median margin of the set
    ambiguous      its margin is within 0.1 of zero: it could be either; alone in its class: 2.5 robust standard
                   deviations nearer to another class than such clips are
    duplicate      nearer to another clip than clips are to their nearest, by 3 of them (of logarithms), and by half
    odd one out    farther from its own class than clips are, by 3 of them, and recognised as no other class
    unreadable, too short, black, blank, frozen: see `faults`; what shows nothing gets no flag of the others

A robust standard deviation is 1.4826 times the median absolute deviation. So the set itself says what is clear: where a
method hardly tells the classes apart margins scatter widely and nothing is, and wrong labels, as long as they are far
from half, hardly move a median.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fsar_cli.tools.support.likeness import nearest_z, oddness_z, robust_z

OUTLYING = 2.5
OWN_SHARE = 0.2
NEAR_ZERO = 0.1
NEAR, FAR, HALF = -3.0, 3.0, 0.5
FEWEST_ALONE = 5
"""Clips alone in their classes from which on it can be said that one is unusual."""
MISLABELLED, AMBIGUOUS, DUPLICATE, ODD = "mislabelled?", "ambiguous", "duplicate", "odd one out"
BLACK, BLANK = "black", "blank"


@dataclass(frozen=True)
class Flag:
    """One reason to look at a clip."""

    kind: str
    detail: str
    other: int | None = None
    """Duplicate: the clip it equals."""


def label_flags(
    margins: np.ndarray, rivals: np.ndarray, own_share: np.ndarray, nearness: np.ndarray, classes: Sequence[str]
) -> list[list[Flag]]:
    """Flags [V] by recognition.

    Args:
        margins: float64 [V], NaN for a clip alone in its class.
        rivals: int64 [V] nearest other class.
        own_share: float64 [V] share of draws in which it was recognised as its own class; NaN: alone.
        nearness: float64 [V] score of the nearest other class of a clip alone in its class; NaN for the others.
    """
    found: list[list[Flag]] = [[] for _ in margins]
    known = ~np.isnan(margins)
    z = robust_z(margins) if known.any() else margins
    for i in np.flatnonzero(known):
        rival = classes[rivals[i]]
        if margins[i] < 0 and z[i] <= -OUTLYING and own_share[i] <= OWN_SHARE:
            found[i].append(Flag(MISLABELLED, f"looks like {rival}"))
        elif abs(margins[i]) <= NEAR_ZERO:
            found[i].append(Flag(AMBIGUOUS, f"could as well be {rival}"))
    alone = ~np.isnan(nearness)
    if alone.sum() >= FEWEST_ALONE:
        for i in np.flatnonzero(robust_z(nearness) >= OUTLYING):
            found[i].append(Flag(AMBIGUOUS, f"unusually near to {classes[rivals[i]]}"))
    return found


def likeness_flags(
    distances: np.ndarray, labels: np.ndarray, margins: np.ndarray, videos: Sequence[str]
) -> list[list[Flag]]:
    """Flags [V] by distances of frame features."""
    z, odd = nearest_z(distances), oddness_z(distances, labels)
    others = distances + np.diag(np.full(len(distances), np.inf))
    near, usual = others.argmin(1), float(np.median(others.min(1)))
    found: list[list[Flag]] = [[] for _ in videos]
    for i, other in enumerate(near):
        if z[i, other] == -np.inf or (z[i, other] <= NEAR and distances[i, other] <= HALF * usual):
            elsewhere = "" if labels[i] == labels[other] else ", which has another class"
            found[i].append(Flag(DUPLICATE, f"like {videos[other]}{elsewhere}", int(other)))
        if odd[i] >= FAR and not margins[i] < 0:
            found[i].append(Flag(ODD, "unlike the others of its class"))
    return found


def all_flags(*kinds: Sequence[Sequence[Flag]]) -> list[list[Flag]]:
    """The flags [V] of several sources; a clip that shows nothing has only those of the first, its faults."""
    rows = zip(*kinds, strict=True)
    return [
        [*faults, *(() if any(f.kind in (BLACK, BLANK) for f in faults) else (f for part in rest for f in part))]
        for faults, *rest in rows
    ]


def to_leave_out(flags: Sequence[Sequence[Flag]], labels: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """bool [V]: the clips a filter leaves out: all flagged ones, but the better one of two alike.

    Of duplicates the one with the smaller margin goes; where margins say nothing the later one, and of two that have
    different classes both, as nobody can tell which of them is right.
    """
    out = np.array([any(flag.kind != DUPLICATE for flag in row) for row in flags], dtype=bool)
    for i, row in enumerate(flags):
        for j in (flag.other for flag in row if flag.kind == DUPLICATE):
            if out[i] or out[j]:
                continue
            pair = [margins[i], margins[j]]
            if not np.isnan(pair).any() and pair[0] != pair[1]:
                out[i if pair[0] < pair[1] else j] = True
            elif labels[i] == labels[j]:
                out[max(i, j)] = True
            else:
                out[[i, j]] = True
    return out
