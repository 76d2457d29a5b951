"""How frames must reach a network for its weights to mean what they were trained to: the recipe belongs to the weights.

Of torchvision's networks the numbers are those of `weights.transforms()`, kept here because settings are found without
torch; a test compares them. A short side stands for their resizing, which for some networks would also stretch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Normalization:
    """(x - mean) / deviation of RGB in [0,1]."""

    mean: Channels
    deviation: Channels


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
KINETICS = Normalization((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
SLOWFAST = Normalization((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
SYMMETRIC = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class InputRecipe:
    """Of a network and its weights."""

    source: str
    """Whose it is, for people."""
    normalization: Normalization
    size: int | None = None
    """Side of the input crop in pixels; None: any, `clip.size` decides."""
    short_side: int | None = None
    frames: int = 8
    """F that it is usually read with."""
    step: int = 1
    """Frames of a step, F / T."""
    weights: str | None = None
    """What `model.weights` is where nothing was said."""

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Dotted keys that the recipe decides, where `values` and the defaults of the paper do not."""
        if self.size is None:
            return {}
        side, frames = _number(values, "clip.size", self.size), _number(values, "clip.frames", self.frames)
        found = {
            "clip.frames": self.frames, "clip.size": self.size, "clip.short_side": max(self.short_side, side),
            "model.region.side": 4 * side // 7,  # as 128 of 224
        }  # fmt: skip
        if self.weights is not None:
            found["model.weights"] = self.weights
        if frames // self.step < 3:  # no triples of steps
            found["model.match.cardinalities"] = (max(1, frames // self.step),)
        return found


def _number(values: Mapping[str, Any], key: str, usual: int) -> int:
    """What is given, by now of any kind: what is no number is refused later, in the words for settings."""
    given = str(values.get(key, usual))
    return int(given) if given.isascii() and given.isdigit() else usual


def _video(normalization: Normalization, size: int, short_side: int, step: int) -> InputRecipe:
    return InputRecipe("torchvision", normalization, size, short_side, 16, step, "kinetics400")


VIDEO_RECIPES = {
    "r3d_18": _video(KINETICS, 112, 128, 8),
    "mc3_18": _video(KINETICS, 112, 128, 1),
    "r2plus1d_18": _video(KINETICS, 112, 128, 8),
    "s3d": _video(KINETICS, 224, 256, 8),
    "mvit_v1_b": _video(SLOWFAST, 224, 256, 2),
    "mvit_v2_s": _video(SLOWFAST, 224, 256, 2),
    "swin3d_t": _video(IMAGENET, 224, 256, 2),
    "swin3d_s": _video(IMAGENET, 224, 256, 2),
    "swin3d_b": _video(IMAGENET, 224, 256, 2),
    # Its authors have a short side of 256; 224 keeps more of the scene in the crop.
    "i3d": InputRecipe("I3D's authors", SYMMETRIC, 224, 224, 32, 8),
}


@cache
def recipe_of(backbone: str, weights: str) -> InputRecipe | None:
    """The recipe of a network; None where none is known: a file of weights of an image network, or no network."""
    if backbone in VIDEO_RECIPES:
        return VIDEO_RECIPES[backbone]
    return InputRecipe("torchvision's ImageNet weights", IMAGENET) if weights == "imagenet" else None


def normalization_of(backbone: str, weights: str, asked: bool | None) -> Normalization | None:
    """What frames are normalised by; None: by nothing, they stay in [0,1].

    Args:
        asked: `model.normalize`; None: as the recipe has it.
    """
    if asked is False:
        return None
    recipe = recipe_of(backbone, weights)
    return recipe.normalization if recipe else IMAGENET if asked else None
