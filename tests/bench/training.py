"""A training episode: how long does it take, and does a real run wait for its loaders?"""

from collections.abc import Iterator
from functools import partial
from statistics import median

import pandas as pd
import torch
from oracles.episodes import in_customary_layout, plain_optimizer, train_plainly

from bench.report import Measurement
from bench.testset import SyntheticSet
from bench.timing import in_turn, once
from bench.workbench import Workbench
from fsar_cli.config import Config
from fsar_cli.data.clips import ClipReader, EpisodeBatch, TrainingEpisodes
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.device import constant_sizes, loader_workers
from fsar_cli.engine.runs import create_run
from fsar_cli.engine.setup import build_optimizer, training_sampler
from fsar_cli.engine.steps import episode_loss
from fsar_cli.engine.train import Trainer
from fsar_cli.errors import counted
from fsar_cli.recipes import IMAGENET

METHODS = ("trx", "keyregion")
CLASSES, VIDEOS = 10, 200


def train(bench: Workbench) -> Iterator[Measurement]:
    """An episode in memory against the plain float32 form, then a real training run against the episode in memory."""
    made = bench.make_set("train", {"train": (CLASSES, VIDEOS)}, training_config(bench, METHODS[0]).clip.short_side)
    for name in METHODS:
        config = training_config(bench, name, made)
        batch = first_episode(config, made)
        ours, plain = FastEpisodes(bench, config, batch), PlainEpisodes(bench, config, batch)
        timing = in_turn({"ours": ours, "plain": plain}, bench.device, bench.sizes.repeats)
        seconds = timing["ours"].median + ours.optimizer_seconds()
        yield Measurement(
            "train", f"{name}, episode in memory", _sizes(bench), "episodes/s", 1 / seconds,
            1 / (timing["plain"].median + plain.optimizer_seconds()), "the same in float32, in loops",
            timing["ours"].spread,
        )  # fmt: skip
        yield _from_store(bench, config, seconds)


def training_config(bench: Workbench, method: str, made: SyntheticSet | None = None, **changes: object) -> Config:
    """The configuration of a method with the benchmark's training episodes."""
    way, shot, queries = bench.sizes.train_shape
    where = {"data.frames": made.store.root, "data.splits": made.splits_file} if made else {}
    shape = {"episode.way": way, "episode.shot": shot, "episode.queries": queries, "clip.size": bench.sizes.train_side}
    return bench.sizes.config(method, **shape, **where, **changes)


def first_episode(config: Config, made: SyntheticSet) -> EpisodeBatch:
    """The first episode of a configuration, straight from its frame store."""
    return TrainingEpisodes(ClipReader(made.store, config.clip), training_sampler(config, made.splits), 0)[0]


class FastEpisodes:
    """fsar's own step on one episode that lies in memory; calling it trains on it."""

    def __init__(self, bench: Workbench, config: Config, batch: EpisodeBatch) -> None:
        self.device, self.config = bench.device, config
        self.method = bench.method(config).train()
        self.optimizer = build_optimizer(self.method, config.optim)
        self.batch = batch.pin_memory() if bench.device.type == "cuda" else batch
        self.generator = torch.Generator(bench.device).manual_seed(0)

    def __call__(self) -> None:
        with constant_sizes(self.device):
            loss = episode_loss(self.method, self.batch, self.config, self.device, self.generator)[0]
            (loss / self.config.optim.accumulate).backward()

    def optimizer_seconds(self) -> float:
        """Seconds of an optimiser step on the gradients that are there, by episode."""
        return median(once(self.optimizer.step, self.device) for _ in range(3)) / self.config.optim.accumulate


class PlainEpisodes(FastEpisodes):
    """The same episode in float32, the weights as torch lays them out, matched in loops."""

    def __init__(self, bench: Workbench, config: Config, batch: EpisodeBatch) -> None:
        self.device, self.config = bench.device, config
        self.method = in_customary_layout(bench.method(config)).train()
        self.optimizer = plain_optimizer(self.method, config.optim.lr)
        clips = to_float(batch.clips.cut(), IMAGENET).contiguous()
        support = batch.way * batch.shot
        self.support, self.query = (part.unflatten(0, (batch.way, -1)) for part in (clips[:support], clips[support:]))

    def __call__(self) -> None:
        train, accumulate = self.config.train, self.config.optim.accumulate
        train_plainly(self.method, self.support, self.query, self.device, accumulate, train.loss_reduction)


def _sizes(bench: Workbench) -> str:
    (way, shot, queries), sizes = bench.sizes.train_shape, bench.sizes
    return f"{sizes.backbone}, {sizes.train_side} px, {way}-way {shot}-shot, {counted(queries, 'query')} a class"


def _from_store(bench: Workbench, config: Config, in_memory: float) -> Measurement:
    """A training run from the frame store; its first half, in which the loaders start, is left out.

    Args:
        in_memory: seconds of an episode in memory.
    """
    count = bench.sizes.train_episodes
    run = {"iterations": count, "log_every": count // 2, "checkpoint_every": count}
    config = config.model_copy(update={"train": config.train.model_copy(update=run)})
    folder = bench.scratch("run") / config.model.method
    Trainer(config, partial(create_run, config, folder), bench.device).run()
    second_half = pd.read_csv(folder / "metrics.csv").iloc[-1]
    details = {"idle_share": float(second_half["waiting"]), "workers": loader_workers(None, bench.device)}
    return Measurement(
        "train", f"{config.model.method}, from the frame store", _sizes(bench), "episodes/s",
        1 / float(second_half["seconds"]), 1 / in_memory, "our own step, episode in memory", details=details,
    )  # fmt: skip
