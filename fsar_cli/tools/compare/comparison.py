"""All models on the same episodes: accuracies, paired differences, and what each interval is about."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import torch

from fsar_cli.config import EvalConfig
from fsar_cli.data.episodes import EpisodeList
from fsar_cli.engine.evaluate import episode_lists, evaluate
from fsar_cli.engine.model import Model
from fsar_cli.engine.pretraining import MARK
from fsar_cli.engine.results import ShotResult
from fsar_cli.engine.statistics.estimates import Estimate, Means, PairedDifference, adjusted
from fsar_cli.engine.statistics.jackknife import video_units
from fsar_cli.engine.trained_on import Novelty
from fsar_cli.engine.whitening import WhitenedBy
from fsar_cli.errors import Interrupted, UsageError, did_you_mean
from fsar_cli.files import Cache
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.tools.compare.naming import check, common_splits, named


@dataclass(frozen=True)
class ModelGroup:
    """What is compared as one: a model, or the training runs of a method."""

    name: str
    members: tuple[int, ...]
    """Indices into `MethodComparison.results`."""
    trained: bool


@dataclass
class MethodComparison:
    """All of an `fsar compare`."""

    groups: list[ModelGroup]
    settings: EvalConfig
    units: str
    """What the interval of the videos leaves out: videos or groups of videos."""
    videos: int
    classes: tuple[str, ...]
    results: list[list[ShotResult]]
    """[models][shots]"""
    scores: dict[int, list[Estimate]]
    """{shot: [groups]}"""
    differences: list[PairedDifference]
    models: list[Model] = field(default_factory=list)
    novelties: list[Novelty] = field(default_factory=list)
    """How the test classes stand to what each model was trained on."""
    whitenings: list[WhitenedBy | None] = field(default_factory=list)
    """The clips that each model was whitened by; None: none."""

    def state(self, group: ModelGroup, name: str) -> str:
        """How a test class stands to the pretraining of a group: `seen` where one of its models has seen it."""
        return max(self.novelties[i].pretraining.state(name) for i in group.members)

    def marked(self, group: ModelGroup) -> str:
        """Its name as tables show it: marked where it has seen a test class."""
        return f"{group.name} {MARK}" if any(self.state(group, c) == "seen" for c in self.classes) else group.name

    def class_accuracies(self, column: int) -> np.ndarray:
        """float64 [classes, groups] share of right predictions at a position of the shots, the mean over the runs of a
        group; NaN: never asked."""
        shares = np.array([list(results[column].per_class().values()) for results in self.results])  # [models, C]
        return np.array([shares[list(group.members)].mean(0) for group in self.groups]).T


def compare(
    models: Sequence[Model],
    device: torch.device,
    *,
    against: str | None = None,
    group: str | None = None,
    accept_overlap: bool = False,
    reporter: Reporter = SILENT,
    cache: Cache | None = None,
    results: Cache | None = None,
) -> MethodComparison:
    """Evaluate all models with the evaluation settings of the first, and compare them.

    Args:
        against: name of the group that every other is compared with; None: every pair.
        group: `method` or `name`: take the runs that share it together.
        accept_overlap: test runs on classes that they know, too.
        cache, results: where features and results are kept and looked for; None: nowhere.

    Raises:
        UsageError: what cannot be compared. DataError: different test videos, unreadable data, test classes that a run
            knows.
        Interrupted: Ctrl-C; what is finished is kept.
    """
    check(models)
    models = named(models, shared=group == "name")
    settings = models[0].config.eval
    settings = settings.model_copy(update={"shots": tuple(dict.fromkeys(settings.shots))})
    groups = _groups(models, group)
    pairs = _pairs([one.name for one in groups], against)
    splits = common_splits(models, settings.split)
    novelties = [model.check_novelty(accept_overlap, reporter) for model in models]
    whitenings = [model.whitened_by() for model in models]
    _say_stores(models, reporter)
    lists = episode_lists(settings, splits)
    evaluated: list[list[ShotResult]] = []
    options = {"lists": lists, "reporter": reporter, "cache": cache, "results": results}
    try:
        for model in models:
            evaluated.append(evaluate(model.load(), model.config, device, name=model.name, **options).shots)
    except KeyboardInterrupt as stop:
        hint = "the same command goes on from there" if results else "without --no-cache it would go on from there"
        raise Interrupted(f"interrupted; {len(evaluated)} of {len(models)} are evaluated", hint) from stop
    video_groups = [video.group for video in splits.videos(settings.split)]
    made = compared(groups, evaluated, lists, settings, video_groups, pairs)
    return replace(made, models=models, novelties=novelties, whitenings=whitenings)


def compared(
    groups: list[ModelGroup],
    results: list[list[ShotResult]],
    lists: Sequence[EpisodeList],
    settings: EvalConfig,
    video_groups: Sequence[str],
    pairs: Sequence[tuple[int, int]],
) -> MethodComparison:
    """The comparison of what is evaluated.

    Args:
        results: [models][lists]
        video_groups: [V] group of each test video.
        pairs: positions of the groups to compare; all differences together are adjusted for their number.
    """
    names, sampler = [group.name for group in groups], lists[0].sampler
    units = video_units(sampler.labels, video_groups)
    scores, differences = {}, []
    for i, episodes in enumerate(lists):
        if any(shots[i].digest != episodes.digest for shots in results):
            raise RuntimeError("evaluated on other episodes")
        right = [np.array([results[m][i].right.sum(1) for m in group.members]) for group in groups]
        means = Means(right, [group.trained for group in groups], episodes, units)
        scores[episodes.sampler.shot] = means.scores()
        differences += means.differences(pairs, names)
    return MethodComparison(
        groups, settings, units.name, len(video_groups), sampler.classes, results, scores, adjusted(differences)
    )


def _groups(models: Sequence[Model], group: str | None) -> list[ModelGroup]:
    members: dict[str, list[int]] = {}
    for i, model in enumerate(models):
        members.setdefault(model.method if group == "method" else model.name, []).append(i)
    groups = [
        ModelGroup(name, tuple(some), any(models[i].run is not None for i in some)) for name, some in members.items()
    ]
    if len(groups) < 2:
        raise UsageError(
            f"all {len(models)} belong to one group, '{groups[0].name}': there is nothing to compare it with",
            "add runs of another, or leave --group out",
        )
    return groups


def _pairs(names: list[str], against: str | None) -> list[tuple[int, int]]:
    """Positions of the groups to compare, the better known one (`against`, the earlier) second."""
    if against is None:
        return [(b, a) for a, b in combinations(range(len(names)), 2)]
    if against not in names:
        raise UsageError(
            f"nothing is called '{against}'", did_you_mean(against, names) or f"compared are: {', '.join(names)}"
        )
    base = names.index(against)
    return [(i, base) for i in range(len(names)) if i != base]


def _say_stores(models: Sequence[Model], reporter: Reporter) -> None:
    stores = {model.config.data.frames.resolve(): model.name for model in reversed(models)}
    if len(stores) > 1:
        listed = "; ".join(f"{name} {store}" for store, name in stores.items())
        reporter.warn(f"frames are read from {len(stores)} stores, which may hold other pictures: {listed}")
