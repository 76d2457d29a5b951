"""What `unknown` and an alarm rest on: windows of normal footage that must stay silent, and the examples left out.

    normal windows   -- scores --> rank of a score: (1 + those that score as much) / (n + 1)         conformal
                     -- events --> the lowest threshold whose false alarms keep to the rate asked for
    examples         -- each by the others --> how many would be found at that threshold             expected recall

The windows were neither whitened by nor are they the normal windows that scores are taken less. Neighbouring windows
share footage, so alarms are counted as events, by the rule that a scan uses: a run of windows is one. With k false
alarms in N hours the next hours are to have (k + 1) / N, as a new event is one among them; with none in N hours, no
rate below 3 / N can be claimed at 95 %.

    Vovk et al., Algorithmic Learning in a Random World, 2005; Angelopoulos and Bates, 2023
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fsar_cli.errors import counted
from fsar_cli.recognise.events import EventRule, ScoredWindow, events_of

UNREACHED = 1e-3  # of the spread of scores: how far above all that was seen a threshold lies which nothing reached
ROUNDING = 1e-9
RELEASE = 0.5  # how far a release lies below its threshold, of the way to the middle normal window


def rank_of(score: float, normal: np.ndarray) -> float:
    """Share of windows, this one among them, that score at least as much: (1 + k) / (n + 1)."""
    return float(1 + np.count_nonzero(normal >= score)) / (len(normal) + 1)


@dataclass(frozen=True)
class AlarmLevel:
    """A threshold for events, and what it rests on."""

    rule: EventRule
    rate: float | None
    """False alarms an hour that were asked for; None: there is no normal footage to keep to one."""
    alarms: int = 0
    """False alarms in the normal footage at this threshold."""
    hours: float = 0.0
    """Hours of normal footage."""

    @property
    def kept(self) -> bool:
        """Whether the footage is long enough for the rate that was asked for."""
        return self.rate is not None and (self.alarms + 1) / self.hours <= self.rate

    def words(self, most: float) -> str:
        """In plain words.

        Args:
            most: one-sided 95 % limit of false alarms an hour, by those seen.
        """
        if self.rate is None:
            return "not calibrated: there is no normal footage, so how often it is wrong is not known"
        seen = f"{counted(self.alarms, 'false alarm')} in {_hours(self.hours)} of normal footage"
        asked = "1 false alarm" if self.rate == 1 else f"{self.rate:.3g} false alarms"
        limit = f"at most {most:.3g} an hour (95 %)"
        if self.kept:
            return f"asked for {asked} an hour; {seen}: {limit}"
        return (
            f"asked for {asked} an hour, which takes {_hours(1 / self.rate)} of normal footage or"
            f" more; {seen}, above all of which the threshold lies: {limit}"
        )


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def alarm_level(
    segments: Sequence[Sequence[ScoredWindow]], rate: float, rule: EventRule, classes: Sequence[str], stride: float
) -> AlarmLevel:
    """The lowest threshold at which, and above which, normal footage has few enough false alarms.

    Far below there may be few again, as alarms that never end are one: such thresholds are of no use.

    Args:
        segments: calibration windows, stretch by stretch, in order.
        rate: false alarms an hour.
        rule: all of it but the threshold.
    """
    bests = [np.array([window.scores.max() for window in some], float) for some in segments]
    best = np.concatenate(bests)
    hours = sum(len(some) for some in segments) * stride / 3600
    middle, spread = float(np.median(best)), float(np.ptp(best))

    def at(level: float) -> AlarmLevel:
        tried = replace(rule, threshold=level, release=level - RELEASE * max(0.0, level - middle))
        loud = (part for pair in zip(segments, bests, strict=True) for part in _loud(*pair, tried, stride))
        alarms = sum(len(events_of(part, classes, tried, stride)) for part in loud)
        return AlarmLevel(tried, rate, alarms, hours)

    found = at(float(best.max()) + UNREACHED * max(spread, 1e-6))
    for level in np.unique(best)[::-1]:
        tried = at(float(level))
        if not tried.kept:
            break
        found = tried
    return found


def _loud(
    windows: Sequence[ScoredWindow], best: np.ndarray, rule: EventRule, stride: float
) -> Iterator[Sequence[ScoredWindow]]:
    """The parts of a stretch that hold its events: between them so many windows are quiet that none reaches across.

    Args:
        best: the largest score of each window.
    """
    quiet = rule.among + math.ceil(rule.merge / stride) + 1
    places = np.flatnonzero(best >= rule.release)
    for part in np.split(places, np.flatnonzero(np.diff(places) > quiet) + 1):
        if len(part) and best[part].max() >= rule.threshold:
            yield windows[part[0] : part[-1] + 1]


def uncalibrated_level(left_out: np.ndarray, labels: np.ndarray, rule: EventRule) -> AlarmLevel:
    """A threshold without normal footage: what an example scores at most for a class that it is not.

    Args:
        left_out: float32 [n,C] scores of examples by the others; NaN: not known.
        labels: int64 [n].
    """
    others = np.where(np.arange(left_out.shape[1]) == labels[:, None], np.nan, left_out)
    known = others[~np.isnan(others)]
    level = float(known.max()) if len(known) else 0.0
    return AlarmLevel(replace(rule, threshold=level, release=level), None)


@dataclass(frozen=True)
class ClipLevel:
    """A threshold for clips: those below are `unknown`."""

    threshold: float
    words: str
    """What it rests on, in plain words."""
    calibrated: bool
    """Whether it keeps to what was asked for."""


def clip_level(silent: np.ndarray | None, left_out: np.ndarray, labels: np.ndarray, wrong: float) -> ClipLevel:
    """The score from which on a clip is one of the classes.

    Args:
        silent: [k] largest scores of normal windows; None: there are none.
        left_out: float32 [n,C] scores of examples by the others; NaN: it has none.
        labels: int64 [n].
        wrong: share of normal clips that may get a class; without normal footage, of examples that may not.
    """
    if silent is not None:
        return _above_normal(np.sort(silent)[::-1], wrong)
    own = left_out[np.arange(len(labels)), labels]
    own = np.sort(own[~np.isnan(own)])
    passed = _allowed(wrong, len(own))
    if not passed:
        least = f"{len(own)} examples that others of their class recognise allow no less than 1 in {len(own) + 1}"
        words = "not calibrated: without normal footage `unknown` rests on the examples alone, and " + (
            least if len(own) else "one example a class says nothing of how much examples differ"
        )
        return ClipLevel(float(own[0]) if len(own) else -np.inf, words, False)
    words = f"at most {100 * wrong:g} % of true clips are called unknown, by {len(own)} examples, each by the others"
    return ClipLevel(float(own[passed - 1]), words, True)


def _allowed(share: float, known: int) -> int:
    """How many of n + 1 are at most a share of them; 0.29 of 100 are 29, whatever floats make of it."""
    return min(known, int(share * (known + 1) + ROUNDING))


def _above_normal(falling: np.ndarray, wrong: float) -> ClipLevel:
    """Of scores of normal windows, the largest first."""
    passed = _allowed(wrong, len(falling)) - 1  # so many of them may score as much
    if passed < 0:
        least = 100 / (len(falling) + 1)
        words = (
            f"{len(falling)} normal windows allow {least:.2g} % of normal clips to get a class, not {100 * wrong:g} %"
        )
        return ClipLevel(float(np.nextafter(falling[0], np.inf)), words, False)
    words = f"at most {100 * wrong:g} % of normal clips get a class, by {len(falling)} normal windows"
    return ClipLevel(float(np.nextafter(falling[passed], np.inf)), words, True)


def recalled(left_out: np.ndarray, labels: np.ndarray, threshold: float) -> tuple[int, int]:
    """(examples that the others recognise, at the threshold and as their class; examples that have others)."""
    known = ~np.isnan(left_out).any(1)
    right = (left_out[known].argmax(1) == labels[known]) & (left_out[known].max(1) >= threshold)
    return int(right.sum()), int(known.sum())


def example_auroc(left_out: np.ndarray, silent: np.ndarray | None) -> float | None:
    """AUROC of examples, each by the others, against normal windows; None: one of the two is missing.

    Args:
        left_out: float32 [n,C]; NaN: not known.
        silent: [k] largest scores.
    """
    best = left_out.max(1)
    best = best[~np.isnan(best)]
    return None if silent is None or not len(best) else auroc(best, silent)


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Share of pairs in which the positive scores more; ties count half. NaN where one side is empty."""
    if not (len(positive) and len(negative)):
        return float("nan")
    order = np.sort(negative)
    below, upto = np.searchsorted(order, positive, "left"), np.searchsorted(order, positive, "right")
    return float((below + upto).mean() / (2 * len(order)))


def fpr_at_tpr(positive: np.ndarray, negative: np.ndarray, tpr: float = 0.95) -> float:
    """Share of negatives at or above the score that the share `tpr` of positives reaches; NaN where a side is empty."""
    if not (len(positive) and len(negative)):
        return float("nan")
    level = np.sort(positive)[::-1][int(np.ceil(tpr * len(positive) - ROUNDING)) - 1]
    return float((negative >= level).mean())
