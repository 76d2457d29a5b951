"""What a plan will take, from a few timed clips and episodes of each different configuration on this machine.

    training      iterations x an episode; with `train.views` the heads' part, and every view encoded once
    testing       test videos x a clip encoded, once for each set of weights, and episodes x one matched

Episodes are timed with few clips and scaled by their number, so an estimate takes seconds where a run takes days.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from fsar_cli.config import Config
from fsar_cli.core.build import build_method, normalizes
from fsar_cli.core.method import Encoded
from fsar_cli.core.methods import METHODS
from fsar_cli.data.clips import ClipReader, TrainingEpisodes
from fsar_cli.data.episodes import Episodes, EpisodeSampler
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.bank import Bank
from fsar_cli.engine.checkpoint import load_state
from fsar_cli.engine.device import encoding_autocast, place
from fsar_cli.engine.folding import folded
from fsar_cli.engine.frozen import DescribedEpisode, freeze_features
from fsar_cli.engine.matching import Matcher
from fsar_cli.engine.steps import episode_loss, with_classes
from fsar_cli.errors import FsarError
from fsar_cli.reporting import SILENT
from fsar_cli.tools.reproduce.jobs import Job, Trial
from fsar_cli.tools.reproduce.plan import Plan
from fsar_cli.tools.reproduce.work import Workshop

CLIPS = 4
FAKE_VIDEOS = 64
MATCHED = 16  # episodes
REPEATS = 2


@dataclass(frozen=True)
class Estimate:
    """Seconds of what is missing of a job."""

    job: Job
    missing: tuple[str, ...]
    seconds: float | None
    """None: cannot be told, as its configuration does not run."""
    reason: str = ""


class Estimator:
    """Times each configuration once."""

    def __init__(self, shop: Workshop) -> None:
        self.shop, self.device = shop, shop.device
        self._rates: dict[str, Rates] = {}
        self._encoded: set[str] = set()

    def plan(self, plan: Plan) -> list[Estimate]:
        """Estimates of all jobs, in the order in which they run."""
        found = []
        with self.shop.reporter.track("timing", len(plan.jobs), "configurations") as task:
            for job in plan.jobs:
                found.append(self._job(plan, job))
                task.advance()
        return found

    def _job(self, plan: Plan, job: Job) -> Estimate:
        missing = tuple(self.shop.missing(plan, job))
        if not missing:
            return Estimate(job, missing, 0.0)
        try:
            rates = self._rates_of(plan, job)
        except (FsarError, RuntimeError) as error:
            return Estimate(job, missing, None, " ".join(str(error).split())[:200])
        seconds = self._training(job, rates) if missing[0] != "test" else 0.0
        done = set()
        for trial, shot in plan.tests(job):
            seconds += trial.settings.episodes * rates.match(trial, shot)
            if trial.ground.name not in done:
                done.add(trial.ground.name)
                seconds += self._once(job, trial.ground.name, len(trial.samplers[shot].videos) * rates.encode)
        return Estimate(job, missing, seconds)

    def _training(self, job: Job, rates: "Rates") -> float:
        train, done = job.config.train, 0
        state = job.folder(self.shop.out) / "state.pt"
        if state.exists():
            done = load_state(state)["step"]
        seconds = (train.iterations - done) * rates.train
        if train.views:
            clips = train.views * len(job.ground.train.splits.videos("train"))
            seconds += self._once(job, "train", clips * rates.encode)
        return seconds

    def _once(self, job: Job, what: str, seconds: float) -> float:
        """0 where the same weights have encoded the same clips for another job."""
        config = job.config
        still = not job.trained or config.train.views
        key = _key(config, what, METHODS[config.model.method].keep.__qualname__, "" if still else job.digest)
        known = key in self._encoded
        self._encoded.add(key)
        return 0.0 if known else seconds

    def _rates_of(self, plan: Plan, job: Job) -> "Rates":
        config = job.config
        key = json.dumps([config.model_dump(mode="json", include={"clip", "model", "episode"}), config.train.views])
        if key not in self._rates:
            self._rates[key] = Rates(job, self.device)
        return self._rates[key]


def _key(config: Config, *others: str) -> str:
    model = config.model.model_dump(mode="json", include={"backbone", "weights", "local_weights", "region", "relation"})
    clip = config.clip.model_dump(mode="json")
    return json.dumps([model if config.model.selects_regions else {**model, "region": None}, clip, *others])


class Rates:
    """Seconds that clips and episodes of one configuration take."""

    def __init__(self, job: Job, device: torch.device) -> None:
        self.device, self.ground = device, job.ground
        sampler = EpisodeSampler(job.ground.train.splits, "train", way=2, shot=1, queries=1)
        self.config = with_classes(job.config, sampler)
        self.method = build_method(self.config, pretrained=False)
        if self.config.train.views:
            freeze_features(self.method, SILENT)
        place(self.method, device, self.config.train.channels_last)
        self.reader = ClipReader(job.ground.train.store, self.config.clip)
        videos = [video.id for video in job.ground.train.splits.videos("train")][:CLIPS]
        self.described, self.encode = self._encoding(videos)
        self.train = self._training(sampler) if job.trained else 0.0
        self._matched: dict[tuple[int, int, int], float] = {}

    def _encoding(self, videos: list[str]) -> tuple[Encoded, float]:
        self.method.eval()

        def describe() -> Encoded:
            clips = torch.stack([torch.from_numpy(self.reader.evaluation(video)) for video in videos])
            pixels = to_float(clips.to(self.device), normalizes(self.config.model))
            with torch.inference_mode(), encoding_autocast(self.device, self.config.train.amp):
                return self.method.describe(pixels).to(dtype=torch.float32)

        with folded(self.method):
            seconds, described = self._timed(describe)
        return Encoded({name: tensor.clone() for name, tensor in described.tensors.items()}), seconds / len(videos)

    def _training(self, sampler: EpisodeSampler) -> float:
        self.method.train()
        if self.config.train.views:
            return self._timed(lambda: self._backward(self._full_episode()))[0]
        batch = TrainingEpisodes(self.reader, sampler, 0)[0]
        episode = self.config.episode
        share = episode.way * (episode.shot + episode.queries) / len(batch.clips)
        return share * self._timed(lambda: self._backward(batch))[0]

    def _full_episode(self) -> DescribedEpisode:
        episode = self.config.episode

        def some(each: int) -> Encoded:
            return self.described.take(torch.arange(episode.way * each).reshape(episode.way, each) % CLIPS)

        classes = torch.arange(episode.way, device=self.device)
        classes = classes % (self.config.model.classes or episode.way)
        return DescribedEpisode(0, some(episode.shot), some(episode.queries), classes)

    def _backward(self, batch) -> None:
        generator = torch.Generator(self.device).manual_seed(0)
        loss, _, _ = episode_loss(self.method, batch, self.config, self.device, generator)
        loss.backward()
        self.method.zero_grad(set_to_none=True)

    @torch.inference_mode()
    def match(self, trial: Trial, shot: int) -> float:
        """Seconds an episode of a trial takes to match."""
        sampler = trial.samplers[shot]
        key = sampler.way, shot, sampler.queries
        if key not in self._matched:
            self.method.eval()
            described = self.described.take(torch.arange(FAKE_VIDEOS) % CLIPS)
            bank = Bank(tuple(map(str, range(FAKE_VIDEOS))), self.method.embed(described), None, None)
            matcher = Matcher(self.method, bank, sampler, trial.settings.episodes, self.device)
            few = min(MATCHED, matcher.batch)
            drawn = trial.drawn[shot]
            some = Episodes(*[part[:few] % FAKE_VIDEOS for part in (drawn.classes, drawn.support, drawn.query)])
            self._matched[key] = self._timed(lambda: matcher(some))[0] / len(some.classes)
        return self._matched[key]

    def _timed(self, work: Callable[[], object]) -> tuple[float, object]:
        """Median seconds, the first of the repeats aside, and what the last gave."""
        spent, result = [], None
        for _ in range(REPEATS):
            started = time.perf_counter()
            result = work()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            spent.append(time.perf_counter() - started)
        return median(spent[1:]), result


def total(estimates: list[Estimate]) -> float:
    """Seconds of everything that can be told."""
    return sum(estimate.seconds or 0.0 for estimate in estimates)
