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
    interpolation: str = "bilinear"
    """What frames were resized by in training. Frame stores are resized by area or bicubically, once."""
    frames: int | None = None
    """F that it was trained for, or is usually read with; None: `clip.frames` decides."""
    step: int = 1
    """Frames of a step, F / T."""
    rate: float | None = None
    """Frames a second it was trained at."""
    weights: str = "imagenet"
    """What `model.weights` is where nothing was said."""
    backbone: str = ""

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Dotted keys that the recipe decides, where `values` and the defaults of the paper do not."""
        if self.size is None:
            return {}
        side = values.get("clip.size", self.size)
        found = {
            "model.weights": self.weights, "clip.size": self.size, "clip.short_side": max(self.short_side, side),
            "model.region.side": 4 * side // 7,  # as 128 of 224
        }  # fmt: skip
        frames = values.get("clip.frames", self.frames)
        if frames is not None:
            found["clip.frames"] = frames
        if isinstance(frames, int) and frames // self.step < 3:  # no triples of steps
            found["model.match.cardinalities"] = (max(1, frames // self.step),)
        return {key: value for key, value in found.items() if value is not None}


def _video(normalization: Normalization, size: int, short_side: int, step: int, rate: float) -> InputRecipe:
    return InputRecipe("torchvision", normalization, size, short_side, "bilinear", 16, step, rate, "kinetics400")


VIDEO_RECIPES = {
    "r3d_18": _video(KINETICS, 112, 128, 8, 15),
    "mc3_18": _video(KINETICS, 112, 128, 1, 15),
    "r2plus1d_18": _video(KINETICS, 112, 128, 8, 15),
    "s3d": _video(KINETICS, 224, 256, 8, 15),
    "mvit_v1_b": _video(SLOWFAST, 224, 256, 2, 7.5),
    "mvit_v2_s": _video(SLOWFAST, 224, 256, 2, 7.5),
    "swin3d_t": _video(IMAGENET, 224, 256, 2, 15),
    "swin3d_s": _video(IMAGENET, 224, 256, 2, 15),
    "swin3d_b": _video(IMAGENET, 224, 256, 2, 15),
    # Its authors have a short side of 256; 224 keeps more of the scene in the crop.
    "i3d": InputRecipe("I3D's authors", SYMMETRIC, 224, 224, "bilinear", 32, 8, 25.0, "none"),
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
