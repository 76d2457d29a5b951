"""The whole check of a pool: faults, recognition of each clip by the others, influence, likeness, flags; the filter."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.core.method import FRAMES, FewShotMethod
from fsar_cli.core.methods.prototype import Prototype
from fsar_cli.data.clips import EvaluationClips
from fsar_cli.engine.bank import Bank, describe_clips, encode_videos
from fsar_cli.engine.evaluate import evaluate_bank
from fsar_cli.engine.statistics.paired import holm
from fsar_cli.files import Cache
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.tools.support.draws import SupportDraws
from fsar_cli.tools.support.faults import look
from fsar_cli.tools.support.filtering import Effect, FoldSampler, effect_of, make_folds
from fsar_cli.tools.support.flags import Flag, all_flags, label_flags, likeness_flags, to_leave_out
from fsar_cli.tools.support.likeness import clip_distances
from fsar_cli.tools.support.pool import Pool
from fsar_cli.tools.support.scoring import Answers, Influence, ask, influence, margins

DRAWS = 60
EPISODES = 2000


@dataclass(frozen=True)
class Settings:
    """How a check is made."""

    shots: int
    """Most examples of each class."""
    draws: int = DRAWS
    seed: int = 0
    episodes: int = EPISODES
    """Of the filter's evaluations."""


@dataclass
class Scored:
    """What is known of the clips of a pool, row by row."""

    shot: int
    """Examples of each class in a draw."""
    margins: np.ndarray
    """float64 [V]; NaN: alone in its class."""
    rivals: np.ndarray
    """int64 [V] nearest other class."""
    own_share: np.ndarray
    """float64 [V] share of draws in which it was recognised as its own class; NaN: alone."""
    flags: list[list[Flag]]
    left_out: np.ndarray
    """bool [V]: what a filter leaves out."""
    answers: Answers


@dataclass
class Report:
    """All of an `fsar support check`."""

    pool: Pool
    settings: Settings
    scored: Scored
    influence: Influence
    effects: list[Effect] = field(default_factory=list)

    @property
    def recognised(self) -> float:
        """Share of clips recognised as what they are called, of those that are not alone; NaN where all are."""
        known = self.scored.margins[~np.isnan(self.scored.margins)]
        return float((known > 0).mean()) if len(known) else float("nan")

    @property
    def confusion(self) -> np.ndarray:
        """float64 [C,C]: share of draws in which the clips of a class (row) were recognised as what (column)."""
        votes = self.scored.answers.votes
        shares = votes / np.maximum(votes.sum(1, keepdims=True), 1)
        rows = [shares[self.pool.labels == c].mean(0) for c in range(len(self.pool.classes))]
        return np.array(rows)


def shots_of(labels: np.ndarray, most: int) -> int:
    """Examples of each class in a draw: what a class of middling size has left beside one asked, at most `most`."""
    return max(1, min(most, int(np.median(np.bincount(labels))) - 1))


def check(
    method: FewShotMethod,
    config: Config,
    pool: Pool,
    device: torch.device,
    settings: Settings,
    *,
    filtered: bool = False,
    reporter: Reporter = SILENT,
    cache: Cache | None = None,
) -> Report:
    """Check the clips of a pool with a method.

    Args:
        filtered: evaluate with and without the flagged clips as well.
        cache: where the backbones' features are kept; None: nowhere.

    Raises:
        DataError: too few classes or clips; features that cannot be read.
    """
    pool, faults = look(pool, reporter)
    known = [[Flag(*fault) for fault in faults.get(video, [])] for video in pool.videos]
    bank = encode_videos(method, pool.reader, pool.videos, device, config, reporter, cache)
    distances = clip_distances(frame_features(method, pool, device, config, reporter, cache))
    scored = score(method, bank, pool.labels, distances, known, pool.classes, settings, device, reporter)
    found = Report(pool, settings, scored, _influence(method, bank, pool.labels, scored, settings, device, reporter))
    if filtered:
        found.effects = filter_effects(method, config, bank, pool, distances, known, settings, device, reporter)
    return found


def frame_features(
    method: FewShotMethod, pool: Pool, device: torch.device, config: Config, reporter: Reporter, cache: Cache | None
) -> Tensor:
    """[V,T,D], whatever the method itself keeps of its features; mostly they are in the cache already."""
    plain = Prototype(method.features).eval()
    described = describe_clips(plain, EvaluationClips(pool.reader, pool.videos), device, config, reporter, cache)
    return described.encoded[FRAMES]


def score(
    method: FewShotMethod,
    bank: Bank,
    labels: np.ndarray,
    distances: np.ndarray,
    faults: Sequence[Sequence[Flag]],
    classes: Sequence[str],
    settings: Settings,
    device: torch.device | None = None,
    reporter: Reporter = SILENT,
) -> Scored:
    """Margins and flags of the clips of a bank, in its order.

    Args:
        distances: float64 [V,V] as `clip_distances`.
        faults: [V] what is wrong with each clip by itself.
    """
    shot = shots_of(labels, settings.shots)
    answers = ask(method, bank, SupportDraws(labels, shot, settings.seed), settings.draws, device, reporter)
    rows, alone = np.arange(len(labels)), np.isnan(answers.scores).any(1)
    found, rivals, _ = margins(answers.scores, labels)
    own_share = np.where(alone, np.nan, answers.votes[rows, labels] / np.maximum(answers.votes.sum(1), 1))
    nearness = np.where(alone, answers.scores[rows, rivals], np.nan)
    by_label = label_flags(found, rivals, own_share, nearness, classes)
    by_likeness = likeness_flags(distances, labels, found, bank.videos)
    flags = all_flags(faults, by_label, by_likeness)
    return Scored(shot, found, rivals, own_share, flags, to_leave_out(flags, labels, found), answers)


def _influence(
    method: FewShotMethod,
    bank: Bank,
    labels: np.ndarray,
    scored: Scored,
    settings: Settings,
    device: torch.device,
    reporter: Reporter,
) -> Influence:
    """By the same draws where classes have clips to spare; else one example fewer, so that others of the class are
    asked with and without a clip."""
    if np.bincount(labels).max() > scored.shot + 1 or scored.shot == 1:
        return influence(scored.answers)
    draws = SupportDraws(labels, scored.shot - 1, settings.seed)
    return influence(ask(method, bank, draws, settings.draws, device, reporter, "influence"))


def filter_effects(
    method: FewShotMethod,
    config: Config,
    bank: Bank,
    pool: Pool,
    distances: np.ndarray,
    faults: Sequence[Sequence[Flag]],
    settings: Settings,
    device: torch.device | None = None,
    reporter: Reporter = SILENT,
) -> list[Effect]:
    """Evaluate with and without flagged clips at each number of shots of `eval.shots`; see `filtering`.

    Raises:
        DataError: a class with a single clip (or group, where groups are kept apart), or fewer classes than ways.
    """
    labels = pool.labels
    folds = make_folds(labels, pool.groups if config.eval.group_disjoint else None, settings.seed)
    dropped = np.zeros((int(folds.max()) + 1, len(labels)), dtype=bool)
    for fold in range(len(dropped)):
        rest = np.flatnonzero(folds != fold)
        some = Bank(tuple(bank.videos[i] for i in rest), bank.encoded.take(_index(rest, bank)), None, None)
        near, known = distances[np.ix_(rest, rest)], [faults[i] for i in rest]
        scored = score(method, some, labels[rest], near, known, pool.classes, settings, device, reporter)
        dropped[fold, rest] = scored.left_out
    flagged = float(dropped.sum(1).mean())
    found = []
    for shot in dict.fromkeys(config.eval.shots):
        shape = {"way": min(config.eval.way, len(pool.classes)), "shot": shot, "seed": settings.seed}
        plain = FoldSampler(pool.videos, labels, pool.classes, folds, **shape)
        other = FoldSampler(pool.videos, labels, pool.classes, folds, **shape, dropped=dropped)
        results = [
            evaluate_bank(method, bank, sampler, settings.episodes, device=device, reporter=reporter)
            for sampler in (plain, other)
        ]
        drawn = [sampler.batch(0, settings.episodes) for sampler in (plain, other)]
        found.append(effect_of(*results, *drawn, flagged))
    return [replace(effect, p=p) for effect, p in zip(found, holm([effect.p for effect in found]), strict=True)]


def _index(rows: np.ndarray, bank: Bank) -> Tensor:
    return torch.from_numpy(rows).to(bank.device)
