"""Evaluation: episodes drawn by (seed, split, index), matched in batches against a bank, mean accuracy with 95 % CI."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fsar_cli.config import Config, EvalConfig
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.clips import ClipReader, EvaluationClips
from fsar_cli.data.episodes import EpisodeDigest, EpisodeSampler
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.engine.bank import Bank, encode_videos, features_key
from fsar_cli.engine.matching import Matcher
from fsar_cli.engine.motion import RegionStatistics
from fsar_cli.engine.results import ShotResult, keep_result, result_key
from fsar_cli.files import Cache, write_whole
from fsar_cli.reporting import SILENT, Reporter


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
    right, parts, digest = [], {}, EpisodeDigest(sampler)
    confusion = np.zeros((len(sampler.classes), len(sampler.classes)), dtype=np.int64)
    label, truth, done = f"{sampler.way}-way {sampler.shot}-shot", np.repeat(np.arange(sampler.way), sampler.queries), 0
    with reporter.track(label, episodes, "episodes") as task:
        for start in range(0, episodes, batch):
            drawn = sampler.batch(start, min(batch, episodes - start))
            digest.add(drawn)
            scores = matcher(drawn)
            predicted = {name: part.argmax(-1).cpu().numpy() for name, part in scores.everything().items()}
            answers = predicted.pop("logits")
            right.append(answers == truth)
            _count(confusion, drawn.classes, truth, answers)
            for name, prediction in predicted.items():
                parts.setdefault(name, []).append((prediction == truth).mean(1))
            done += int(right[-1].sum())
            task.advance(len(drawn.classes), accuracy=done / (len(truth) * (start + len(drawn.classes))))
    return ShotResult(
        sampler.way,
        sampler.shot,
        sampler.queries,
        np.concatenate(right),
        {name: float(np.concatenate(values).mean()) for name, values in parts.items()},
        sampler.classes,
        confusion,
        digest.text(),
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
    results: Cache | None = None,
) -> tuple[Evaluation, Bank]:
    """Encode the videos of `eval.split` once, then evaluate every number of shots of `eval.shots` on them.

    Args:
        cache: where the backbones' features are kept between evaluations; None: nowhere.
        results: where what was right is kept for comparisons (`engine.results`); None: nowhere.

    Returns:
        the results, and the bank they were matched in.

    Raises:
        DataError: missing split, too few classes or videos, unreadable frames.
    """
    draws = samplers(config.eval, Splits.read(config.data.splits))
    reader = ClipReader(FrameStore(config.data.frames), config.clip)
    started = time.monotonic()
    bank = encode_videos(method, reader, draws[0].videos, device, config, reporter, cache)
    seconds = time.monotonic() - started
    found = []
    key = features_key(method, EvaluationClips(reader, draws[0].videos), device, config) if results is not None else ""
    for sampler in draws:
        found.append(evaluate_bank(method, bank, sampler, config.eval.episodes, device=device, reporter=reporter))
        if results is not None:
            keep_result(results, result_key(method, key, sampler, config, found[-1].digest), found[-1])
    return Evaluation(found, bank.regions, len(bank.videos), seconds, bank.cached), bank


def samplers(settings: EvalConfig, splits: Splits) -> list[EpisodeSampler]:
    """The episodes of each number of shots.

    Raises:
        DataError: missing split, too few classes or videos.
    """
    return [
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


def document(result: Evaluation, config: Config) -> dict[str, object]:
    """The evaluation as plain values for JSON."""
    return {
        "method": config.model.label,
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
    write_whole(folder / "result.json", text + "\n")
    for shot in result.shots:
        name = f"{shot.way}w{shot.shot}s.csv"
        episodes = pd.DataFrame({"episode": np.arange(len(shot.accuracies)), "accuracy": shot.accuracies})
        write_whole(folder / f"episodes-{name}", episodes.to_csv(index=False))
        confusion = pd.DataFrame(shot.confusion, index=list(shot.classes), columns=list(shot.classes))
        write_whole(folder / f"confusion-{name}", confusion.to_csv(index_label="true \\ predicted"))
