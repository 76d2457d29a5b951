"""Evaluation: episodes drawn by (seed, split, index), matched in batches against a bank, mean accuracy with 95 % CI.

`evaluate` is the one that keeps features and results and finds them again; every command that tests a method calls it.
`evaluate_bank` is its inner half, for whoever has videos encoded already: validation, checks of a support set.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fsar_cli.config import Config, EvalConfig
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.clips import ClipReader, EvaluationClips
from fsar_cli.data.episodes import EpisodeList, EpisodeSampler
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.engine.bank import Bank, encode_videos, features_key
from fsar_cli.engine.matching import Matcher
from fsar_cli.engine.motion import RegionStatistics
from fsar_cli.engine.outputs import remove_others
from fsar_cli.engine.results import ShotResult, kept_result, result_key
from fsar_cli.engine.runs import Run
from fsar_cli.engine.trained_on import Novelty
from fsar_cli.files import Cache, write_whole
from fsar_cli.reporting import SILENT, Reporter


@dataclass
class Evaluation:
    """All of an `fsar eval`."""

    shots: list[ShotResult]
    videos: int
    known: tuple[int, ...] = ()
    """The numbers of shots whose result was known: nothing was matched for them."""
    bank: Bank | None = None
    """What the others were matched in; None: all were known, and nothing was encoded."""
    encode_seconds: float = 0.0
    novelty: Novelty = field(default_factory=Novelty)
    """How the test classes stand to what the run was trained on, where that was looked at."""

    @property
    def regions(self) -> RegionStatistics | None:
        """Of the videos, where the method selects key regions."""
        return self.shots[0].regions

    @property
    def cached(self) -> bool:
        """Whether the backbones' features were read back from disk, or not even needed."""
        return self.bank is None or self.bank.cached


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
    return _matched(method, bank, EpisodeList(sampler, episodes), batch, device, reporter)


@torch.inference_mode()
def _matched(
    method: FewShotMethod,
    bank: Bank,
    episodes: EpisodeList,
    batch: int | None,
    device: torch.device | None,
    reporter: Reporter,
) -> ShotResult:
    started, sampler, count = time.monotonic(), episodes.sampler, episodes.count
    matcher = Matcher(method, bank, sampler, count, device)
    right, parts = [], {}
    confusion = np.zeros((len(sampler.classes), len(sampler.classes)), dtype=np.int64)
    label, truth = f"{sampler.way}-way {sampler.shot}-shot", np.repeat(np.arange(sampler.way), sampler.queries)
    correct = done = 0
    with reporter.track(label, count, "episodes") as task:
        for some in episodes.parts(batch or matcher.batch):
            scores = matcher(some)
            predicted = {name: part.argmax(-1).cpu().numpy() for name, part in scores.everything().items()}
            answers = predicted.pop("logits")
            right.append(answers == truth)
            _count(confusion, some.classes, truth, answers)
            for name, prediction in predicted.items():
                parts.setdefault(name, []).append((prediction == truth).mean(1))
            correct, done = correct + int(right[-1].sum()), done + right[-1].size
            task.advance(len(some.classes), accuracy=correct / done)
    return ShotResult(
        sampler.way,
        sampler.shot,
        sampler.queries,
        np.concatenate(right),
        {name: float(np.concatenate(values).mean()) for name, values in parts.items()},
        sampler.classes,
        confusion,
        episodes.digest,
        time.monotonic() - started,
        bank.regions,
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
    lists: Sequence[EpisodeList] | None = None,
    reporter: Reporter = SILENT,
    cache: Cache | None = None,
    results: Cache | None = None,
    name: str = "",
) -> Evaluation:
    """Encode the videos of `eval.split` once, then evaluate every number of shots of `eval.shots` on them.

    Args:
        lists: the episodes, of one split, where they are drawn already.
        cache: where the backbones' features are kept between evaluations; None: nowhere.
        results: where results are kept and looked for; None: nowhere. Where all are known nothing is encoded.
        name: what is evaluated, for the log.

    Raises:
        DataError: missing split, too few classes or videos, unreadable frames.
    """
    lists = lists or episode_lists(config.eval, Splits.read(config.data.splits))
    reader, videos = ClipReader(FrameStore(config.data.frames), config.clip), lists[0].sampler.videos
    made = Evaluation([], len(videos))

    def matched(episodes: EpisodeList) -> ShotResult:
        if made.bank is None:
            started = time.monotonic()
            made.bank = encode_videos(method, reader, videos, device, config, reporter, cache)
            made.encode_seconds = time.monotonic() - started
        return _matched(method, made.bank, episodes, None, device, reporter)

    if results is None:
        _say(name, (), len(lists), reporter)
        made.shots = [matched(episodes) for episodes in lists]
        return made
    features = features_key(method, EvaluationClips(reader, videos), device, config)
    keys = [result_key(method, features, episodes, config) for episodes in lists]
    made.known = tuple(e.sampler.shot for e, key in zip(lists, keys, strict=True) if results.find(key))
    _say(name, made.known, len(lists), reporter)
    for episodes, key in zip(lists, keys, strict=True):
        made.shots.append(kept_result(results, key, episodes.sampler, partial(matched, episodes), reporter))
    return made


def _say(name: str, known: Sequence[int], count: int, reporter: Reporter) -> None:
    text = "evaluating"
    if known:
        before = ", ".join(f"{shot}-shot" for shot in known)
        text = f"{before} evaluated before" + ("" if len(known) == count else ", the rest now")
    if name or known:
        reporter.log(f"{name}: {text}" if name else text)


def episode_lists(settings: EvalConfig, splits: Splits) -> list[EpisodeList]:
    """The episodes of each number of shots.

    Raises:
        DataError: missing split, too few classes or videos.
    """
    shape = {"way": settings.way, "queries": settings.queries, "seed": settings.seed}
    samplers = [
        EpisodeSampler(splits, settings.split, shot=shot, group_disjoint=settings.group_disjoint, **shape)
        for shot in settings.shots
    ]
    return [EpisodeList(sampler, settings.episodes) for sampler in samplers]


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
        "evaluated_before": list(result.known),
        "results": [shot.summary() for shot in result.shots],
        "regions": asdict(result.regions) if result.regions else None,
        **result.novelty.document(),
    }


def source_of(config: Config, run: Run | None) -> dict[str, object]:
    """What a result is the result of: run and data, as result.json has them."""
    frames = {"frames": str(config.data.frames.resolve())}
    return {"run": str(run.path.resolve())} | frames if run else {"run": None, "method": config.model.label} | frames


def write_results(result: Evaluation, config: Config, folder: Path, run: Run | None = None) -> None:
    """Write result.json and, for each number of shots, episodes-<N>w<K>s.csv and confusion-<N>w<K>s.csv, in place of
    those of an earlier result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"schema": 1, **source_of(config, run), **document(result, config)}
    text = json.dumps(whole, indent=2, allow_nan=False)
    write_whole(folder / "result.json", text + "\n")
    names = [f"{shot.way}w{shot.shot}s.csv" for shot in result.shots]
    kept = {f"{kind}-{name}" for kind in ("episodes", "confusion") for name in names}
    remove_others(folder, kept, "episodes-[0-9]*w[0-9]*s.csv", "confusion-[0-9]*w[0-9]*s.csv")
    for name, shot in zip(names, result.shots, strict=True):
        episodes = pd.DataFrame({"episode": np.arange(len(shot.accuracies)), "accuracy": shot.accuracies})
        write_whole(folder / f"episodes-{name}", episodes.to_csv(index=False))
        confusion = pd.DataFrame(shot.confusion, index=list(shot.classes), columns=list(shot.classes))
        write_whole(folder / f"confusion-{name}", confusion.to_csv(index_label="true \\ predicted"))
