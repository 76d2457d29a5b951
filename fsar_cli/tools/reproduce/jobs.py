"""What is run for a table: training jobs and test trials, each known by a digest of what it depends on.

A run is the same run in every table, so what one has trained another finds. The digest holds clips, model, episodes,
optimiser, training settings, the training videos and the weights to start from; not where results go, nor how many
processes load frames.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from fsar_cli.config import Config, DataConfig, EvalConfig, validate
from fsar_cli.core.build import build_method
from fsar_cli.data.episodes import EpisodeDigest, Episodes, EpisodeSampler
from fsar_cli.engine.evaluate import samplers
from fsar_cli.settings import resolve
from fsar_cli.tools.reproduce.grounds import Ground
from fsar_cli.tools.reproduce.tables import Row

LENGTH = 16  # hex digits of a digest in names
PASSING = {"workers", "frame_cache", "log_every", "checkpoint_every"}
"""Training settings that change nothing of what is learnt."""


@dataclass(frozen=True)
class Trial:
    """The test episodes of a ground."""

    ground: Ground
    data: DataConfig
    settings: EvalConfig

    @cached_property
    def samplers(self) -> dict[int, EpisodeSampler]:
        """By number of shots. Raises DataError where they cannot be drawn."""
        return dict(zip(self.settings.shots, samplers(self.settings, self.ground.test.splits), strict=True))

    @cached_property
    def drawn(self) -> dict[int, Episodes]:
        """By number of shots."""
        return {shot: sampler.batch(0, self.settings.episodes) for shot, sampler in self.samplers.items()}

    @cached_property
    def digests(self) -> dict[int, str]:
        """Of the episodes, by number of shots."""
        found = {}
        for shot, sampler in self.samplers.items():
            digest = EpisodeDigest(sampler)
            digest.add(self.drawn[shot])
            found[shot] = digest.text()
        return found

    @cached_property
    def groups(self) -> list[str]:
        """Group of each test video."""
        return [video.group for video in self.ground.test.splits.videos(self.settings.split)]

    def key(self, shot: int) -> str:
        """Digest of what an evaluation depends on, beside the run."""
        plain = {"eval": self.settings.model_dump(exclude={"shots"}), "shot": shot, "episodes": self.digests[shot]}
        videos = self.ground.test.digest(self.settings.split)
        return short_digest(json.dumps([plain, videos], sort_keys=True))


@dataclass(frozen=True)
class Job:
    """A training run, or a method as it starts."""

    digest: str
    config: Config
    trained: bool
    """False: there is nothing to train, or not with frozen features."""
    ground: Ground
    """The first that needs it."""
    label: str
    """Of the first row that needs it."""

    def folder(self, out: Path) -> Path:
        """Its run folder."""
        return out / "runs" / self.digest

    def on(self, trial: Trial, shots: tuple[int, ...]) -> Config:
        """Its configuration, tested on a ground."""
        settings = trial.settings.model_copy(update={"shots": shots})
        return self.config.model_copy(update={"data": trial.data, "eval": settings})


def make_job(row: Row, ground: Ground, values: Mapping[str, Any]) -> Job:
    """The run of a row's settings (dotted keys). Raises UsageError, DataError: settings that are wrong."""
    config = resolve(base=values, environ={}).config
    trained = has_something_to_train(config)
    if not trained:  # seeds and training data change nothing
        training = config.train.model_copy(update={"seed": 0})
        config = config.model_copy(update={"train": training})
    return Job(digest_of(config, ground, trained), config, trained, ground, row.label)


def has_something_to_train(config: Config) -> bool:
    """Whether any parameter can learn: with `train.views` none of the features' can."""
    return _learns(config.model.model_dump_json(), config.clip.model_dump_json(), config.train.views > 0)


@cache
def _learns(model: str, clip: str, frozen: bool) -> bool:
    values = {"model": json.loads(model), "clip": json.loads(clip)}
    values["model"]["classes"] = values["model"]["classes"] or 2
    method = build_method(validate(values), pretrained=False)
    named = method.named_parameters()
    return any(p.requires_grad and not (frozen and name.startswith("features.")) for name, p in named)


def digest_of(config: Config, ground: Ground, trained: bool) -> str:
    """Name of a run: what it depends on, see the module docstring."""
    sections = {"clip", "model"} | ({"episode", "optim", "train"} if trained else set())
    plain = config.model_dump(mode="json", include=sections)
    if trained:
        plain["train"] = {key: value for key, value in plain["train"].items() if key not in PASSING}
        plain["videos"] = ground.train.digest("train", "val")
    else:
        plain["train"] = {"seed": config.train.seed}
    for key in ("weights", "local_weights"):
        if plain["model"][key] and Path(plain["model"][key]).is_file():
            plain["model"][key] = file_digest(Path(plain["model"][key]))
    return short_digest(json.dumps(plain, sort_keys=True))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as long as in names."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:LENGTH]


def short_digest(text: str) -> str:
    """SHA-256 (hex) of a text, as long as in names."""
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def share(jobs: list[Job], rank: int, world: int) -> list[Job]:
    """All jobs, beginning with the rank's share: processes start far from one another and end by helping out."""
    start = rank * len(jobs) // max(world, 1)
    return jobs[start:] + jobs[:start]
