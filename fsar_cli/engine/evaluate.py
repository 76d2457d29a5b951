"""Evaluation: episodes drawn by (seed, split, index), matched in batches against a bank, mean accuracy with 95 % CI.

`evaluate` is the one that keeps features and results and finds them again; every command that tests a method calls it.
`evaluate_bank` is its inner half, for whoever has videos encoded already: validation, checks of a support set.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
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
from fsar_cli.engine.bank import Bank, features_key
from fsar_cli.engine.device import encoding_type
from fsar_cli.engine.matching import Answers, answers
from fsar_cli.engine.motion import RegionStatistics
from fsar_cli.engine.outputs import remove_others
from fsar_cli.engine.results import ShotResult, kept_result, result_key
from fsar_cli.engine.runs import Run
from fsar_cli.engine.trained_on import Novelty
from fsar_cli.engine.whitening import WhitenedBy, whitening_of
from fsar_cli.files import Cache, write_whole
from fsar_cli.ranks import ALONE, Ranks
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
    precision: str = "float32"
    """What the backbones computed in."""
    novelty: Novelty = field(default_factory=Novelty)
    """How the test classes stand to what the run was trained on, where that was looked at."""
    whitening: WhitenedBy | None = None
    """The clips that were whitened by, where any were and that was looked at."""

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
    ranks: Ranks = ALONE,
) -> ShotResult:
    """Match episodes 0..episodes-1 of a sampler; `sampler.videos` must be the bank's.

    Args:
        batch: episodes a call; None: as many as the memory allows. The result does not depend on it.
        device: where episodes are matched; None: where the bank is.
        ranks: the processes that divide the episodes; each has the whole result.
    """
    drawn = EpisodeList(sampler, episodes)
    return _result(_of_all(method, bank, drawn, batch, device, ranks), drawn, bank, reporter, ranks)


def _of_all(
    method: FewShotMethod, bank: Bank, episodes: EpisodeList, batch: int | None, device: torch.device | None,
    ranks: Ranks,
) -> Iterator[Answers]:  # fmt: skip
    rows, queries = np.arange(episodes.count), episodes.sampler.way * episodes.sampler.queries
    return answers(method, bank, episodes, rows, np.ones((len(rows), queries), dtype=bool), batch, device, ranks)


@torch.inference_mode()
def _result(
    found: Iterable[Answers], episodes: EpisodeList, bank: Bank, reporter: Reporter, ranks: Ranks
) -> ShotResult:
    """What the answers of all processes to all queries of all episodes come to, in whatever order they come."""
    started, sampler, count = time.monotonic(), episodes.sampler, episodes.count
    truth = np.repeat(np.arange(sampler.way), sampler.queries)
    predicted: dict[str, np.ndarray] = {}  # [E,N*Q]
    label, correct, done = f"{sampler.way}-way {sampler.shot}-shot", 0, 0
    with reporter.track(label, count, "episodes") as task:
        for some in found:
            for name, part in some.scores.everything().items():
                whole = predicted.setdefault(name, np.zeros((count, len(truth)), dtype=np.int16))
                whole[some.rows] = np.where(some.asked, part.argmax(-1).cpu().numpy(), whole[some.rows])
            before, right = done, (predicted["logits"][some.rows] == truth) & some.asked
            correct, done = correct + int(right.sum()), done + int(some.asked.sum())
            advanced = ranks.world * (done // len(truth) - before // len(truth))
            task.advance(advanced, accuracy=correct / max(done, 1))
    others = ranks.all(predicted)  # each query was answered by one process, and is 0 on the others
    predicted = {name: sum(other[name] for other in others if name in other) for other in others for name in other}
    final = predicted.pop("logits")
    return ShotResult(
        sampler.way,
        sampler.shot,
        sampler.queries,
        final == truth,
        {name: float((part == truth).mean()) for name, part in predicted.items()},
        sampler.classes,
        _confusion(episodes.drawn.classes, truth, final, len(sampler.classes)),
        episodes.digest,
        time.monotonic() - started,
        bank.regions,
    )


def _confusion(classes: np.ndarray, truth: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """int64 [count,count]: by class, how often its queries were taken for which."""
    confusion = np.zeros((count, count), dtype=np.int64)
    rows = classes[:, truth]  # [E,N*Q] class of each query
    np.add.at(confusion, (rows, np.take_along_axis(classes, predicted, axis=1)), 1)
    return confusion


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
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Encode the videos of `eval.split` once, then evaluate every number of shots of `eval.shots` on them.

    Args:
        lists: the episodes, of one split, where they are drawn already.
        cache: where the backbones' features are kept between evaluations; None: nowhere.
        results: where results are kept and looked for; None: nowhere. Where all are known nothing is encoded.
        name: what is evaluated, for the log.
        ranks: the processes that divide the videos and the episodes; each has the whole evaluation.

    Raises:
        DataError: missing split, too few classes or videos, unreadable frames.
    """
    splits = Splits.read(config.data.splits)
    lists = lists or episode_lists(config.eval, splits)
    reader, videos = ClipReader(FrameStore(config.data.frames), config.clip), lists[0].sampler.videos
    made = Evaluation([], len(videos), precision=str(encoding_type(device, config)).removeprefix("torch."))
    whitening = whitening_of(method, config, splits.videos(lists[0].sampler.split))

    def matched(episodes: EpisodeList) -> ShotResult:
        if made.bank is None:
            started = time.monotonic()
            made.bank = whitening.encode(reader, videos, device, reporter, cache, ranks)
            made.encode_seconds = time.monotonic() - started
        if whitening.by_group:
            found = whitening.answers(made.bank, episodes, device, ranks)
        else:
            found = _of_all(method, made.bank, episodes, None, device, ranks)
        return _result(found, episodes, made.bank, reporter, ranks)

    if results is None:
        _say(name, (), len(lists), reporter)
        made.shots = [matched(episodes) for episodes in lists]
        return made
    features = features_key(method, EvaluationClips(reader, videos, config.eval.views), device, config)
    normal = whitening.key(device)
    keys = [result_key(method, features, episodes, config, normal) for episodes in lists]
    known = ranks.agreed(lambda: [results.find(key) is not None for key in keys])
    made.known = tuple(e.sampler.shot for e, there in zip(lists, known, strict=True) if there)
    _say(name, made.known, len(lists), reporter)
    for episodes, key in zip(lists, keys, strict=True):
        made.shots.append(kept_result(results, key, episodes.sampler, partial(matched, episodes), reporter, ranks))
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
        "precision": result.precision,
        "evaluated_before": list(result.known),
        "results": [shot.summary() for shot in result.shots],
        "regions": asdict(result.regions) if result.regions else None,
        "whitening": result.whitening.document() if result.whitening else None,
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
