"""How frames must reach a network for its weights to mean what they were trained to: the recipe belongs to the weights.

Of torchvision's networks the numbers are those of `weights.transforms()`, kept here because settings are found without
torch; a test compares them. A short side stands for their resizing, which for some networks would also stretch. Of
networks of timm and transformers they are what these say; they are asked only where such a backbone is named.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fsar_cli.extras import HF, TIMM, hf_config, hf_processor, only_frames, only_side, timm_config

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

BICUBIC = 3  # PIL's number, which processors of transformers use
MOST_FRAMES = 16  # that a clip has where a network takes any number: 8 steps of two, as in the paper


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
    interpolation: str = "bilinear"
    """How frames were resized."""
    multiple: int = 1
    """What the side of a key region is a multiple of, where nothing was said: a transformer's patch."""

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Dotted keys that the recipe decides, where `values` and the defaults of the paper do not."""
        if self.size is None or self.short_side is None:
            return {}
        side, frames = _number(values, "clip.size", self.size), _number(values, "clip.frames", self.frames)
        region = 4 * side // 7  # as 128 of 224
        found = {
            "clip.frames": self.frames, "clip.size": self.size,
            "clip.short_side": max(side, self.short_side * min(side, self.size) // self.size),
            "clip.interpolation": self.interpolation,
            "model.region.side": max(self.multiple, region // self.multiple * self.multiple),
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
    """The recipe of a network; None where none is known: a file of weights of an image network, or no network.

    Raises:
        UsageError: a network that timm or transformers does not know, or that needs one of them where it is not.
        DataError: a network of transformers that cannot be had.
    """
    if backbone in VIDEO_RECIPES:
        return VIDEO_RECIPES[backbone]
    if backbone.startswith(TIMM):
        return _timm(backbone)
    if backbone.startswith(HF):
        return _hf(backbone)
    return InputRecipe("torchvision's ImageNet weights", IMAGENET) if weights == "imagenet" else None


def _timm(backbone: str) -> InputRecipe:
    found = timm_config(backbone)
    side = found.input_size[-1]
    # timm resizes to the side before the crop, rounded down; its configs do not know patches, but names do.
    patch = re.search(r"patch(\d+)", backbone)
    return InputRecipe(
        "timm's pretrained_cfg", Normalization(tuple(found.mean), tuple(found.std)), side, int(side / found.crop_pct),
        weights="pretrained", interpolation="bilinear" if found.interpolation == "bilinear" else "bicubic",
        multiple=int(patch[1]) if patch else 16,
    )  # fmt: skip


def _hf(backbone: str) -> InputRecipe:
    config, processor = hf_config(backbone), hf_processor(backbone)
    side, frames = only_side(config), only_frames(config) or min(MOST_FRAMES, config.frames_per_clip)
    crop, resized = (_shortest(processor.get(key) or side, side) for key in ("crop_size", "size"))
    return InputRecipe(
        "transformers' processor", Normalization(tuple(processor["image_mean"]), tuple(processor["image_std"])), side,
        max(side, resized * side // crop), frames, config.tubelet_size, "pretrained",
        "bicubic" if processor.get("resample") == BICUBIC else "bilinear",
    )  # fmt: skip


def _shortest(size: Any, side: int) -> int:
    """A processor's size, a number or an object, in pixels of the short side; `side` where it does not say that."""
    return size if isinstance(size, int) else min((v for k, v in size.items() if k != "longest_edge"), default=side)


def normalization_of(backbone: str, weights: str, asked: bool | None) -> Normalization | None:
    """What frames are normalised by; None: by nothing, they stay in [0,1].

    Args:
        asked: `model.normalize`; None: as the recipe has it.
    """
    if asked is False:
        return None
    recipe = recipe_of(backbone, weights)
    return recipe.normalization if recipe else IMAGENET if asked else None
