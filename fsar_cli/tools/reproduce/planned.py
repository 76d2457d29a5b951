"""A run of a plan: its settings, whether there is anything to train, and its name.

A run is the same run in every table, so what one has trained another finds: its name is a digest of clips, model,
episodes, optimiser, training settings, the training videos and the weights to start from; not of where results go, nor
of how many processes load frames.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from fsar_cli.config import Config, validate
from fsar_cli.core.build import build_method
from fsar_cli.settings import resolve
from fsar_cli.tools.reproduce.ground import Ground
from fsar_cli.tools.reproduce.tables import PaperRow

LENGTH = 16  # hex digits of a digest in names
PASSING = {"workers", "frame_cache", "log_every", "checkpoint_every"}
"""Training settings that change nothing of what is learnt."""


@dataclass(frozen=True)
class PlannedRun:
    """A training run to be made, or a method as it starts."""

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

    @cached_property
    def encoder(self) -> str:
        """Digest of the backbone and of how it reads clips: runs that are not trained and share it share features."""
        backbone = {"backbone", "weights", "local_weights", "normalize"}
        return _digest(self.config.model_dump(mode="json", include={"clip": True, "model": backbone}))


def plan_run(row: PaperRow, ground: Ground, values: Mapping[str, Any], frozen: bool = False) -> PlannedRun:
    """The run of a row's settings (dotted keys).

    Args:
        frozen: it is not to be trained, and its network is not made to see what could be.

    Raises:
        UsageError, DataError: settings that are wrong.
    """
    config = resolve(base=values, environ={}, recipe=True).config
    learns = (config.model.model_dump_json(), config.clip.model_dump_json(), config.train.views > 0)
    trained = not frozen and _learns(*learns)
    if not trained:  # seeds and training data change nothing
        config = config.model_copy(update={"train": config.train.model_copy(update={"seed": 0})})
    return PlannedRun(digest_of(config, ground, trained), config, trained, ground, row.label)


@cache
def _learns(model: str, clip: str, frozen: bool) -> bool:
    """Whether any parameter can learn: with `train.views` none of the features' can."""
    values = {"model": json.loads(model), "clip": json.loads(clip)}
    values["model"]["classes"] = values["model"]["classes"] or 2
    parameters = build_method(validate(values), pretrained=False).named_parameters()
    return any(p.requires_grad and not (frozen and name.startswith("features.")) for name, p in parameters)


def digest_of(config: Config, ground: Ground, trained: bool) -> str:
    """Name of a run: what it depends on, see the module docstring."""
    sections = {"clip", "model"} | ({"episode", "optim", "train"} if trained else set())
    plain = config.model_dump(mode="json", include=sections)
    if trained:
        plain["train"] = {key: value for key, value in plain["train"].items() if key not in PASSING}
        plain["videos"] = ground.learnt_from
    else:
        plain["train"] = {"seed": config.train.seed}
    return _digest(plain)


def _digest(plain: dict[str, Any]) -> str:
    """Of settings; of files of weights the content counts, not the name."""
    for key in ("weights", "local_weights"):
        if plain["model"][key] and Path(plain["model"][key]).is_file():
            plain["model"][key] = file_digest(Path(plain["model"][key]))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:LENGTH]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as long as in names."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:LENGTH]
