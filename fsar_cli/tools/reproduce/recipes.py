"""How rows are trained: as the paper says, or quickly, on a CPU in minutes.

Precedence: quick defaults < the project's own settings < what makes a recipe quick < --set < the row's settings. So a
project says which backbone, weights and way suit its data, and a row is always what the paper's table says it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

QUICK_DEFAULTS: Mapping[str, Any] = {
    "clip.size": 112, "clip.short_side": 128, "model.backbone": "mobilenet_v2", "model.freeze_batchnorm": True,
    "model.region.side": 64, "model.match.key_dim": 256,
}  # fmt: skip
QUICK: Mapping[str, Any] = {
    "episode.shot": 1, "episode.queries": 1, "optim.name": "adamw", "optim.accumulate": 4,
    "optim.clip_norm": 10.0, "optim.weight_decay": 0.0, "train.loss_reduction": "mean", "train.val_every": 0,
    "train.checkpoint_every": 20, "train.log_every": 10, "eval.episodes": 2000, "eval.queries": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """Settings of all rows of a table."""

    name: str
    words: str
    """What a reader must know of it; {iterations}, {shot} and {views} are those of training."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Below the project's settings."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Above them."""
    train_shot: int | None = None
    """Shots of training for all columns; None: a training run for each number of shots, as in the paper."""
    regions: Mapping[str, Any] = field(default_factory=dict)
    """In place of what a row says of its regions."""
    regions_words: str = ""
    """Why."""

    @property
    def faithful(self) -> bool:
        """Whether it is the paper's."""
        return self.name == "paper"


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("paper", "The paper's recipe (section 4.1): for each number of shots a training run of its own."),
        Recipe(
            "heads",
            "A quick look, not a faithful reproduction: the backbones keep the weights they start from and only what "
            "follows them is trained, for {iterations} {shot}-shot episodes on {views} augmented views of each video, "
            "encoded once, at small size; one training run serves all numbers of shots.",
            QUICK_DEFAULTS,
            QUICK | {"model.freeze_backbone": True, "train.views": 4, "train.iterations": 200, "optim.lr": 3e-4},
            train_shot=1,
            regions={"model.region.source": "difference", "model.region.weights": "l1", "model.region.gain": 3.0},
            regions_words="regions from map differences: a relation module cannot be trained with frozen features",
        ),
        Recipe(
            "whole",
            "A quick look, not a faithful reproduction: everything is trained end to end, but a small network at "
            "small size for {iterations} {shot}-shot episodes; one training run serves all numbers of shots.",
            QUICK_DEFAULTS,
            QUICK | {"train.views": 0, "model.freeze_backbone": False, "train.iterations": 100, "optim.lr": 1e-4},
            train_shot=1,
        ),
        Recipe(
            "few",
            "Nothing is trained, and there are fewer episodes.",
            settings={"eval.episodes": QUICK["eval.episodes"]},
        ),
    )
}
