"""All entries on the same episodes: accuracies, paired differences, and what each interval is about."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch

from fsar_cli.config import EvalConfig
from fsar_cli.data.episodes import EpisodeDigest, Episodes, EpisodeSampler
from fsar_cli.engine.evaluate import samplers as samplers_of
from fsar_cli.engine.results import ShotResult
from fsar_cli.engine.statistics.estimates import Difference, Estimate, Means
from fsar_cli.engine.statistics.jackknife import video_units
from fsar_cli.engine.statistics.paired import holm
from fsar_cli.errors import Interrupted, UsageError, did_you_mean
from fsar_cli.files import Cache
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.tools.compare.entries import Entry, check, common_splits, evaluate_entry, named


@dataclass(frozen=True)
class Side:
    """What is compared: one entry, or the training runs of a group."""

    name: str
    members: tuple[int, ...]
    """Indices into `Comparison.entries`."""
    trained: bool


@dataclass
class Comparison:
    """All of an `fsar compare`."""

    entries: list[Entry]
    sides: list[Side]
    settings: EvalConfig
    units: str
    """What the interval of the videos leaves out: videos or groups of videos."""
    videos: int
    classes: tuple[str, ...]
    results: list[list[ShotResult]]
    """[entries][shots]"""
    scores: dict[int, list[Estimate]]
    """{shot: [sides]}"""
    differences: list[Difference]

    def class_accuracies(self, shot: int) -> np.ndarray:
        """float64 [classes, sides] share of right predictions, the mean over the runs of a side; NaN: never asked."""
        column = self.settings.shots.index(shot)
        rows = np.array([list(results[column].per_class().values()) for results in self.results])  # [entries, C]
        return np.array([rows[list(side.members)].mean(0) for side in self.sides]).T


def compare(
    entries: Sequence[Entry],
    device: torch.device,
    *,
    against: str | None = None,
    group: str | None = None,
    reporter: Reporter = SILENT,
    cache: Cache | None = None,
    results: Cache | None = None,
) -> Comparison:
    """Evaluate all entries with the evaluation settings of the first, and compare them.

    Args:
        against: name of the side that every other is compared with; None: every pair.
        group: `method` or `name`: take the runs that share it together.
        cache, results: where features and results are kept and looked for; None: nowhere.

    Raises:
        UsageError: what cannot be compared. DataError: different test videos, unreadable data.
        Interrupted: Ctrl-C; what is finished is kept.
    """
    check(entries)
    entries = named(entries, shared=group == "name")
    settings = entries[0].config.eval
    settings = settings.model_copy(update={"shots": tuple(dict.fromkeys(settings.shots))})
    entries = [replace(e, config=e.config.model_copy(update={"eval": settings})) for e in entries]
    sides = _sides(entries, group)
    pairs = _pairs([side.name for side in sides], against)
    splits = common_splits(entries, settings.split)
    _say_stores(entries, reporter)
    samplers = samplers_of(settings, splits)
    drawn = [sampler.batch(0, settings.episodes) for sampler in samplers]
    found = _evaluated(entries, samplers, drawn, device, reporter, cache, results)
    groups = [video.group for video in splits.videos(settings.split)]
    units = video_units(samplers[0].labels, groups)
    scores, differences = {}, []
    for i, sampler in enumerate(samplers):
        right = [np.array([found[m][i].right.sum(1) for m in side.members]) for side in sides]
        asked, trained = sampler.way * sampler.queries, [side.trained for side in sides]
        means = Means(right, asked, trained, drawn[i], sampler.labels, units)
        scores[sampler.shot] = means.scores()
        differences += means.differences(pairs, [side.name for side in sides], sampler.shot)
    return Comparison(
        entries, sides, settings, units.name, len(groups), samplers[0].classes, found, scores, _adjusted(differences)
    )


def _sides(entries: Sequence[Entry], group: str | None) -> list[Side]:
    if group not in (None, "method", "name"):
        raise UsageError(f"--group takes method or name, not '{group}'")
    members: dict[str, list[int]] = {}
    for i, entry in enumerate(entries):
        members.setdefault(entry.method if group == "method" else entry.name, []).append(i)
    sides = [
        Side(name, tuple(found), any(entries[i].run is not None for i in found)) for name, found in members.items()
    ]
    if len(sides) < 2:
        raise UsageError(
            f"all {len(entries)} belong to one group, '{sides[0].name}': there is nothing to compare it with",
            "add runs of another, or leave --group out",
        )
    return sides


def _pairs(names: list[str], against: str | None) -> list[tuple[int, int]]:
    """Positions of the sides to compare, the better known one (`against`, the earlier) second."""
    if against is None:
        return [(b, a) for a, b in combinations(range(len(names)), 2)]
    if against not in names:
        raise UsageError(
            f"nothing is called '{against}'", did_you_mean(against, names) or f"compared are: {', '.join(names)}"
        )
    base = names.index(against)
    return [(i, base) for i in range(len(names)) if i != base]


def _say_stores(entries: Sequence[Entry], reporter: Reporter) -> None:
    stores = {entry.config.data.frames.resolve(): entry.name for entry in reversed(entries)}
    if len(stores) > 1:
        listed = "; ".join(f"{name} {store}" for store, name in stores.items())
        reporter.warn(f"frames are read from {len(stores)} stores, which may hold other pictures: {listed}")


def _evaluated(
    entries: Sequence[Entry],
    samplers: Sequence[EpisodeSampler],
    drawn: Sequence[Episodes],
    device: torch.device,
    reporter: Reporter,
    cache: Cache | None,
    results: Cache | None,
) -> list[list[ShotResult]]:
    digests, found = [], []
    for sampler, some in zip(samplers, drawn, strict=True):
        digest = EpisodeDigest(sampler)
        digest.add(some)
        digests.append(digest.text())
    try:
        for entry in entries:
            options = {"reporter": reporter, "cache": cache, "results": results}
            found.append(evaluate_entry(entry, samplers, digests, device, **options))
    except KeyboardInterrupt as stop:
        hint = "the same command goes on from there" if results else "without --no-cache it would go on from there"
        raise Interrupted(f"interrupted; {len(found)} of {len(entries)} are evaluated", hint) from stop
    for entry, results_of in zip(entries, found, strict=True):
        if [result.digest for result in results_of] != digests:
            raise RuntimeError(f"{entry.name} was evaluated on other episodes")
    return found


def _adjusted(differences: list[Difference]) -> list[Difference]:
    adjusted = holm([difference.p for difference in differences])
    return [replace(d, p_holm=p, tests=len(differences)) for d, p in zip(differences, adjusted, strict=True)]
