"""The whole check of a pool: pixels, leave-one-out margins and likeness of each clip, as flags and in sentences."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from fsar_cli.config import Config
from fsar_cli.core.method import FRAMES, FewShotMethod
from fsar_cli.core.methods.prototype import Prototype
from fsar_cli.data.clips import EvaluationClips
from fsar_cli.engine.bank import describe_clips
from fsar_cli.engine.whitening import whitening_of
from fsar_cli.errors import DataError
from fsar_cli.files import Cache
from fsar_cli.recognise.checking import flags as kinds
from fsar_cli.recognise.checking.flags import Flag, clip_distances, duplicate_flags, label_flags, picture_flags
from fsar_cli.recognise.checking.margins import SupportDraws, margins, mean_scores
from fsar_cli.recognise.checking.pool import Pool
from fsar_cli.recognise.support import SupportSet
from fsar_cli.reporting import SILENT, Reporter

DRAWS = 60
_PHRASES = {
    kinds.MISLABELLED: ("looks mislabelled", "look mislabelled"),
    kinds.AMBIGUOUS: ("is ambiguous", "are ambiguous"),
    kinds.DUPLICATE: ("is nearly the same as another", "are nearly the same as others"),
    kinds.UNREADABLE: ("cannot be read", "cannot be read"),
    kinds.SHORT: ("is too short", "are too short"),
    kinds.BLACK: ("is black", "are black"),
    kinds.FROZEN: ("is frozen", "are frozen"),
}


@dataclass(frozen=True)
class CheckedClip:
    """What is known of one clip."""

    cls: str
    video: str
    margin: float | None
    """None: alone in its class, or unreadable."""
    nearest: str | None
    """The other class that it is most like; None: unreadable."""
    flags: tuple[Flag, ...]

    @property
    def kinds(self) -> str:
        """Its flags in a word each."""
        return ", ".join(flag.kind for flag in self.flags)

    @property
    def details(self) -> str:
        """What the flags say."""
        return "; ".join(flag.detail for flag in self.flags)


@dataclass(frozen=True)
class SupportReport:
    """The clips of a pool: those that cannot be read, then by margin, the worst first, then those without one."""

    clips: list[CheckedClip]
    classes: tuple[str, ...]
    shot: int
    """Examples of each class in a draw."""
    draws: int

    @property
    def recognised(self) -> float | None:
        """Share of clips recognised as what they are called, of those that have a margin."""
        margins = [clip.margin for clip in self.clips if clip.margin is not None]
        return sum(margin > 0 for margin in margins) / len(margins) if margins else None

    @property
    def tells_classes_apart(self) -> bool:
        """Whether more clips are recognised than by guessing: more than two standard errors above chance."""
        known, chance = sum(clip.margin is not None for clip in self.clips), 1 / len(self.classes)
        return self.recognised is not None and self.recognised > chance + 2 * math.sqrt(chance * (1 - chance) / known)


def check(
    method: FewShotMethod,
    config: Config,
    pool: Pool,
    device: torch.device,
    *,
    draws: int = DRAWS,
    reporter: Reporter = SILENT,
    cache: Cache | None = None,
) -> SupportReport:
    """Check the clips of a pool with a method; as many examples of each class as the most of `eval.shots`, if it can.

    Args:
        cache: where the backbones' features are kept; None: nowhere.

    Raises:
        DataError: fewer than two classes can be read.
    """
    pool, faults = look(pool, reporter)
    bank = whitening_of(method, config).encode(pool.pictures, pool.videos, device, reporter, cache)
    shot = shots_of(pool.labels, max(config.eval.shots))
    chosen = SupportDraws(pool.labels, pool.classes, shot, config.eval.seed)
    values, nearest = margins(mean_scores(method, bank, chosen, draws, device, reporter), pool.labels)
    # Frame features, whatever the method itself keeps of them; mostly they are in the cache already.
    plain = Prototype(method.features).eval()
    seen = EvaluationClips(pool.pictures, pool.videos, config.eval.views)
    described = describe_clips(plain, seen, device, config, reporter, cache)
    distances = clip_distances(described.encoded[FRAMES])
    nearest = np.where(nearest < 0, nearest_by_likeness(distances, pool.labels), nearest)
    clips = judge(pool, values, nearest, distances, faults)
    return SupportReport(clips, pool.classes, shot, draws)


def check_enrolled(support: SupportSet) -> SupportReport:
    """Check the examples of a support file by what it holds of them: no encoder is needed, and no pixels are seen.

    Raises:
        DataError: they are of one class.
    """
    if len(support.classes) < 2:
        raise DataError(f"all examples are of the class {support.classes[0]}", "two classes or more can be checked")
    labels, names = np.asarray(support.labels), [example.name for example in support.examples]
    values, nearest = margins(support.own_scores.double().numpy(), labels)
    frames = support.described.tensors.get(FRAMES)
    alike = np.ones((len(labels), len(labels)))  # where the method keeps no frames nothing is said of likeness
    distances = alike if frames is None else clip_distances(frames)
    nearest = np.where(nearest < 0, nearest_by_likeness(distances, labels), nearest)
    pool = Pool("support file", tuple(names), labels, tuple(support.classes), None)
    clips = judge(pool, values, nearest, distances, {})
    return SupportReport(clips, tuple(support.classes), int(np.bincount(labels).max()), 1)


def look(pool: Pool, reporter: Reporter = SILENT) -> tuple[Pool, dict[str, list[Flag]]]:
    """The pool without clips that cannot be read, and the flags of the others by their pixels.

    Raises:
        DataError: fewer than two classes are left.
    """
    reader = pool.pictures
    reasons: dict[str, str] = {}
    flags: dict[str, list[Flag]] = {}
    with reporter.track("looking at clips", len(pool.videos), "clips") as task:
        for video in pool.videos:
            try:
                flags[video] = picture_flags(reader.evaluation(video))
            except DataError as error:
                reasons[video] = error.message
            else:
                frames, wanted = reader.store.count(video), reader.clip.frames
                if frames < wanted:
                    flags[video].insert(0, Flag(kinds.SHORT, f"{frames} frames, {wanted} are sampled: some repeat"))
            task.advance()
    return pool.without(reasons) if reasons else pool, flags


def shots_of(labels: np.ndarray, most: int) -> int:
    """Examples of each class in a draw: what a class of middling size has left beside a query, at most `most`."""
    return max(1, min(most, int(np.median(np.bincount(labels))) - 1))


def nearest_by_likeness(distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """int64 [V]: the other class that has the most similar clip."""
    others = np.where(labels[:, None] == labels, np.inf, distances)
    nearest: np.ndarray = labels[others.argmin(1)]
    return nearest


def judge(
    pool: Pool, values: np.ndarray, nearest: np.ndarray, distances: np.ndarray, faults: dict[str, list[Flag]]
) -> list[CheckedClip]:
    """The clips with their flags, in the order of a report.

    Args:
        values: float64 [V] margins; NaN: alone in its class.
        nearest: int64 [V] nearest other class.
        distances: float64 [V,V] as `clip_distances`.
        faults: by video its flags by pixels.
    """
    names = [pool.classes[c] for c in nearest]
    by_label, by_likeness = label_flags(values, names), duplicate_flags(distances, pool.labels, pool.videos)
    lost = sorted(pool.unreadable.items())
    clips = [CheckedClip(cls, video, None, None, (Flag(kinds.UNREADABLE, reason),)) for video, (cls, reason) in lost]
    for i in np.argsort(values, kind="stable"):  # NaN last
        flags = list(faults.get(pool.videos[i], []))
        if not any(flag.kind == kinds.BLACK for flag in flags):  # what shows nothing says nothing of its label
            flags += [*by_label[i], *by_likeness[i]]
        margin = None if np.isnan(values[i]) else float(values[i])
        clips.append(CheckedClip(pool.classes[pool.labels[i]], pool.videos[i], margin, names[i], tuple(flags)))
    return clips


def sentences(report: SupportReport) -> Iterator[str]:
    """The check in words."""
    clips, count = report.clips, len(report.clips)
    for kind, phrases in _PHRASES.items():
        flagged = [(clip.video, flag.detail) for clip in clips for flag in clip.flags if flag.kind == kind]
        if flagged:
            more = f" and {len(flagged) - 5} more" if len(flagged) > 5 else ""
            named = ", ".join(f"{video} ({detail})" for video, detail in flagged[:5])
            yield f"{len(flagged)} of {count} clips {phrases[len(flagged) > 1]}: {named}{more}"
    if not any(clip.flags for clip in clips):
        yield f"none of {count} clips stands out"
    known, classes = sum(clip.margin is not None for clip in clips), len(report.classes)
    if report.recognised is not None:
        yield (
            f"{round(report.recognised * known)} of {known} clips are recognised as what they are called"
            f" ({100 * report.recognised:.0f} %; guessing among {classes} classes: {100 / classes:.0f} %)"
        )
        if not report.tells_classes_apart:
            yield (
                "that is hardly more than guessing: this method cannot tell these classes apart, so its flags about"
                " labels say little; check with a run that was trained"
            )
    alone = sum(clip.margin is None and clip.nearest is not None for clip in clips)
    if alone:
        yield (
            f"{alone} clips are alone in their class: no other example says whether their label is right; give two"
            " clips of a class or more"
        )
