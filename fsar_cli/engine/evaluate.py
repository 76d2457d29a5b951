"""Evaluation: episodes drawn by (seed, split, index), matched in batches against a bank, mean accuracy with 95 % CI."""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fsar_cli.config import Config
from fsar_cli.core.methods.base import FewShotMethod
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.engine.bank import Bank, encode_videos
from fsar_cli.engine.cache import Cache
from fsar_cli.engine.matching import Matcher
from fsar_cli.engine.motion import RegionStatistics
from fsar_cli.reporting import SILENT, Reporter


def mean_and_ci(values: np.ndarray) -> tuple[float, float]:
    """Mean and half width of the 95 % confidence interval, 1.96 s / sqrt(n), of at least two values."""
    return float(values.mean()), float(1.96 * values.std(ddof=1) / math.sqrt(len(values)))


@dataclass
class ShotResult:
    """Evaluation at one number of shots."""

    way: int
    shot: int
    queries: int
    accuracies: np.ndarray
    """float64 [episodes]: share of the episode's queries that were right."""
    parts: dict[str, float]
    """Accuracy of each part of the score alone (for the paper's method: spatial, temporal)."""
    classes: tuple[str, ...]
    confusion: np.ndarray
    """int64 [classes, classes]: true class by row, predicted by column."""
    digest: str
    """Of the list of episodes: equal digests mean equal episodes."""
    seconds: float

    @property
    def accuracy(self) -> tuple[float, float]:
        """Mean and half width of its 95 % CI."""
        return mean_and_ci(self.accuracies)

    def per_class(self) -> dict[str, float]:
        """Share of right predictions by true class; NaN for a class that was never asked for."""
        asked = self.confusion.sum(1)
        right = np.diag(self.confusion)
        return {name: float(r / n) if n else math.nan for name, r, n in zip(self.classes, right, asked, strict=True)}

    def confusions(self) -> dict[str, str]:
        """For each class the class it is most often taken for, with its share of the queries; `-` for none."""
        found = {}
        for i, name in enumerate(self.classes):
            wrong = self.confusion[i].copy()
            wrong[i] = 0
            share = wrong.max() / max(self.confusion[i].sum(), 1)
            found[name] = f"{self.classes[int(wrong.argmax())]} {100 * share:.0f} %" if wrong.any() else "-"
        return found

    def summary(self) -> dict[str, object]:
        """Plain values for JSON."""
        mean, ci = self.accuracy
        return {
            "way": self.way,
            "shot": self.shot,
            "queries": self.queries,
            "episodes": len(self.accuracies),
            "accuracy": mean,
            "ci95": ci,
            "chance": 1 / self.way,
            "parts": self.parts,
            "per_class": {name: None if math.isnan(v) else v for name, v in self.per_class().items()},
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            "episode_digest": self.digest,
            "seconds": round(self.seconds, 3),
            "seconds_per_episode": self.seconds / len(self.accuracies),
        }


@dataclass
class Evaluation:
    """All of an `fsar eval`."""

    shots: list[ShotResult]
    regions: RegionStatistics | None
    videos: int
    encode_seconds: float
    cached: bool = False
    """Whether the backbones' features were read back from disk."""


@torch.inference_mode()
def evaluate_bank(
    method: FewShotMethod,
    bank: Bank,
    sampler: EpisodeSampler,
    episodes: int,
    *,
    batch: int | None = None,
    device: torch.device | None = None,
    reporter: Reporter = SILENT,
) -> ShotResult:
    """Match episodes 0..episodes-1 of a sampler; `sampler.videos` must be the bank's.

    Args:
        batch: episodes a call; None: as many as the memory allows. The result does not depend on it.
        device: where episodes are matched; None: where the bank is.
    """
    started, matcher = time.monotonic(), Matcher(method, bank, sampler, episodes, device)
    batch = batch or matcher.batch
    right, parts = [], {}
    confusion = np.zeros((len(sampler.classes), len(sampler.classes)), dtype=np.int64)
    label = f"{sampler.way}-way {sampler.shot}-shot"
    with reporter.track(label, episodes, "episodes") as task:
        for start in range(0, episodes, batch):
            drawn = sampler.batch(start, min(batch, episodes - start))
            scores = matcher(drawn)
            predicted = {name: part.argmax(-1).cpu().numpy() for name, part in scores.everything().items()}
            truth = np.repeat(np.arange(sampler.way), sampler.queries)
            answers = predicted.pop("logits")
            right.append((answers == truth).mean(1))
            _count(confusion, drawn.classes, truth, answers)
            for name, prediction in predicted.items():
                parts.setdefault(name, []).append((prediction == truth).mean(1))
            task.advance(len(drawn.classes), accuracy=float(np.concatenate(right).mean()))
    return ShotResult(
        sampler.way,
        sampler.shot,
        sampler.queries,
        np.concatenate(right),
        {name: float(np.concatenate(values).mean()) for name, values in parts.items()},
        sampler.classes,
        confusion,
        sampler.digest(episodes),
        time.monotonic() - started,
    )


def _count(confusion: np.ndarray, classes: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> None:
    rows = classes[:, truth]  # [E,N*Q] class of each query
    columns = np.take_along_axis(classes, predicted, axis=1)
    np.add.at(confusion, (rows, columns), 1)


def evaluate(
    method: FewShotMethod,
    config: Config,
    device: torch.device,
    *,
    reporter: Reporter = SILENT,
    cache: Cache | None = None,
) -> tuple[Evaluation, Bank]:
    """Encode the videos of `eval.split` once, then evaluate every number of shots of `eval.shots` on them.

    Args:
        cache: where the backbones' features are kept between evaluations; None: nowhere.

    Returns:
        the results, and the bank they were matched in.

    Raises:
        DataError: missing split, too few classes or videos, unreadable frames.
    """
    settings = config.eval
    splits = Splits.read(config.data.splits)
    samplers = [
        EpisodeSampler(
            splits,
            settings.split,
            way=settings.way,
            shot=shot,
            queries=settings.queries,
            seed=settings.seed,
            group_disjoint=settings.group_disjoint,
        )
        for shot in settings.shots
    ]
    reader = ClipReader(FrameStore(config.data.frames), config.clip)
    started = time.monotonic()
    bank = encode_videos(method, reader, samplers[0].videos, device, config, reporter, cache)
    seconds = time.monotonic() - started
    results = [
        evaluate_bank(method, bank, sampler, settings.episodes, device=device, reporter=reporter)
        for sampler in samplers
    ]
    return Evaluation(results, bank.regions, len(bank.videos), seconds, bank.cached), bank


def document(result: Evaluation, config: Config) -> dict[str, object]:
    """The evaluation as plain values for JSON."""
    return {
        "method": config.model.method,
        "dataset": config.data.name,
        "split": config.eval.split,
        "seed": config.eval.seed,
        "group_disjoint": config.eval.group_disjoint,
        "videos": result.videos,
        "encode_seconds": round(result.encode_seconds, 3),
        "features_cached": result.cached,
        "results": [shot.summary() for shot in result.shots],
        "regions": asdict(result.regions) if result.regions else None,
    }


def write_results(result: Evaluation, config: Config, folder: Path) -> None:
    """Write result.json and, for each number of shots, episodes-<N>w<K>s.csv and confusion-<N>w<K>s.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"schema": 1, **document(result, config)}, indent=2)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")
    for shot in result.shots:
        name = f"{shot.way}w{shot.shot}s.csv"
        episodes = pd.DataFrame({"episode": np.arange(len(shot.accuracies)), "accuracy": shot.accuracies})
        episodes.to_csv(folder / f"episodes-{name}", index=False)
        confusion = pd.DataFrame(shot.confusion, index=list(shot.classes), columns=list(shot.classes))
        confusion.to_csv(folder / f"confusion-{name}", index_label="true \\ predicted")
