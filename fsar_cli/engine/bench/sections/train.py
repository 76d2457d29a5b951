"""A training episode: how long does it take, on what does it spend its time, and does it wait for the loader?"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from statistics import median

import pandas as pd
import torch
from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.data.clips import ClipReader, EpisodeBatch, TrainingEpisodes
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.bench.ceiling import flops_of
from fsar_cli.engine.bench.measurement import Measurement
from fsar_cli.engine.bench.plain_episodes import in_customary_layout, plain_optimizer, train_plainly
from fsar_cli.engine.bench.testset import SyntheticSet
from fsar_cli.engine.bench.timing import Timing, in_turn, once
from fsar_cli.engine.bench.workbench import Workbench
from fsar_cli.engine.device import constant_sizes, loader_workers
from fsar_cli.engine.runs import create_run
from fsar_cli.engine.setup import build_optimizer, training_sampler
from fsar_cli.engine.steps import episode_loss
from fsar_cli.engine.train import Trainer
from fsar_cli.errors import counted

METHODS = ("trx", "keyregion")
CLASSES, VIDEOS = 10, 200


def train(bench: Workbench) -> Iterator[Measurement]:
    """An episode in memory against the plain float32 form, then a real training run against the episode in memory."""
    methods = [name for name in METHODS if name in bench.sizes.methods]
    if not methods:
        return
    made = bench.make_set("train", {"train": (CLASSES, VIDEOS)}, _config(bench, methods[0]).clip.short_side)
    baseline = None
    for name in methods:
        config = _config(bench, name, made)
        ours, plain = FastEpisodes(bench, config), PlainEpisodes(bench, config)
        forms = {"ours": ours, "plain": plain} | ({"trx": baseline} if baseline else {})
        found = in_turn(forms, bench.device, bench.sizes.repeats)
        yield _in_memory(bench, config, ours, found, plain.optimiser_seconds())
        if baseline:
            yield _against_trx(bench, found, baseline.optimiser_seconds())
        baseline = plain if name == "trx" else baseline
        yield _from_store(bench, config, ours, found["ours"])


def _config(bench: Workbench, method: str, made: SyntheticSet | None = None, **changes: object) -> Config:
    way, shot, queries = bench.sizes.train_shape
    where = {"data.frames": made.store.root, "data.splits": made.splits_file} if made else {}
    shape = {"episode.way": way, "episode.shot": shot, "episode.queries": queries, "clip.size": bench.sizes.train_side}
    return bench.sizes.config(method, **shape, **where, **changes)


def training_episodes(config: Config) -> TrainingEpisodes:
    """The episodes of a configuration, straight from its frame store."""
    made = SyntheticSet.open(config.data.frames, config.data.splits)
    return TrainingEpisodes(ClipReader(made.store, config.clip), training_sampler(config, made.splits), 0)


class FastEpisodes:
    """fsar's own step on one episode that lies in memory; calling it trains on it."""

    def __init__(self, bench: Workbench, config: Config) -> None:
        self.device, self.config = bench.device, config
        self.method = bench.method(config).train()
        self.optimizer = build_optimizer(self.method, config.optim)
        batch = training_episodes(config)[0]
        self.batch: EpisodeBatch = batch.pin_memory() if bench.device.type == "cuda" else batch
        self.generator = torch.Generator(bench.device).manual_seed(0)

    def __call__(self) -> None:
        with constant_sizes(self.device):
            self._backward(self._loss())

    def _loss(self) -> Tensor:
        return episode_loss(self.method, self.batch, self.config, self.device, self.generator)[0]

    def _backward(self, loss: Tensor) -> None:
        (loss / self.config.optim.accumulate).backward()

    def parts(self) -> dict[str, float]:
        """Seconds by episode of the parts, which in a run overlap where the device works on its own."""
        held: list[Tensor] = []
        with constant_sizes(self.device):
            forward = once(lambda: held.append(self._loss()), self.device)
            backward = once(lambda: self._backward(held.pop()), self.device)
        return {"forward": forward, "backward": backward, "optimiser": self.optimiser_seconds()}

    def optimiser_seconds(self) -> float:
        """Seconds of an optimiser step, by episode."""
        return _optimiser_seconds(self.optimizer, self.device) / self.config.optim.accumulate

    def flops(self) -> int:
        """Of a forward and backward."""
        return flops_of(lambda: self._backward(self._loss()))


class PlainEpisodes:
    """The same episode in float32, the weights as torch lays them out, matched in loops."""

    def __init__(self, bench: Workbench, config: Config) -> None:
        self.device, self.config = bench.device, config
        self.method = in_customary_layout(bench.method(config)).train()
        self.optimizer = plain_optimizer(self.method, config.optim.lr)
        batch = training_episodes(config)[0]
        clips = to_float(batch.clips.cut(), True).contiguous()
        support = batch.way * batch.shot
        self.support, self.query = (part.unflatten(0, (batch.way, -1)) for part in (clips[:support], clips[support:]))

    def __call__(self) -> None:
        train, accumulate = self.config.train, self.config.optim.accumulate
        train_plainly(self.method, self.support, self.query, self.device, accumulate, train.loss_reduction)

    def optimiser_seconds(self) -> float:
        """Seconds of an optimiser step, by episode."""
        return _optimiser_seconds(self.optimizer, self.device) / self.config.optim.accumulate


def _optimiser_seconds(optimizer: torch.optim.Optimizer, device: torch.device) -> float:
    """A step on the gradients that are there."""
    return median(once(optimizer.step, device) for _ in range(3))


def _sizes(bench: Workbench) -> str:
    (way, shot, queries), sizes = bench.sizes.train_shape, bench.sizes
    return f"{sizes.backbone}, {sizes.train_side} px, {way}-way {shot}-shot, {counted(queries, 'query')} a class"


def _in_memory(
    bench: Workbench, config: Config, ours: FastEpisodes, found: dict[str, Timing], plain_step: float
) -> Measurement:
    parts, seconds = ours.parts(), found["ours"].median
    flops, step = ours.flops(), parts["optimiser"]
    return Measurement(
        "train", f"{config.model.method}, episode in memory", _sizes(bench), "episodes/s", 1 / (seconds + step),
        1 / (found["plain"].median + plain_step), "the same in float32, in loops", found["ours"].spread,
        bench.share(flops, seconds, bench.working_type(config)), {f"seconds_{n}": value for n, value in parts.items()},
    )  # fmt: skip


def _against_trx(bench: Workbench, found: dict[str, Timing], plain_step: float) -> Measurement:
    return Measurement(
        "train", "keyregion against plain TRX", _sizes(bench), "episodes/s", 1 / found["ours"].median,
        1 / (found["trx"].median + plain_step), "TRX (a third less for the backbones) in float32, in loops",
        found["ours"].spread,
    )  # fmt: skip


def _from_store(bench: Workbench, config: Config, ours: FastEpisodes, in_memory: Timing) -> Measurement:
    """A training run from the frame store; its first half, in which the loaders start, is left out."""
    count = bench.sizes.train_episodes
    half = count // 2
    run = {"iterations": count, "log_every": half, "checkpoint_every": count}
    config = config.model_copy(update={"train": config.train.model_copy(update=run)})
    ticks, folder = Ticks(), bench.scratch("run") / config.model.method
    Trainer(config, partial(create_run, config, folder), bench.device, reporter=ticks).run()
    # The last one also saves the run.
    seconds = Timing(tuple(after - before for before, after in pairwise(ticks.times[half - 1 : -1])))
    whole = sum(seconds.seconds) / len(seconds.seconds)
    row = pd.read_csv(folder / "metrics.csv").iloc[-1]
    waited = float(row["waiting"] * row["seconds"])
    return Measurement(
        "train", f"{config.model.method}, from the frame store", _sizes(bench), "episodes/s", 1 / whole,
        1 / (in_memory.median + ours.optimiser_seconds()), "our own step, episode in memory", seconds.spread,
        details={
            "idle_share": waited / whole, "workers": loader_workers(None, bench.device),
            "episodes": len(seconds.seconds),
        },
    )  # fmt: skip


class Ticks:
    """A reporter that only notes when episodes were done."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def log(self, text: str) -> None:
        pass

    detail = warn = log

    @contextmanager
    def track(self, label: str, total: int | None, unit: str = "") -> Iterator["Ticks"]:
        yield self

    def advance(self, steps: int = 1, **metrics: object) -> None:
        """An episode is done."""
        self.times.append(time.perf_counter())
