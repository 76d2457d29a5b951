"""Networks of video, a clip at a time: maps as evaluation computes them, against the library's own forward."""

from collections.abc import Iterator
from functools import partial

import torch
import torchvision
from torch import nn

from bench.report import Measurement
from bench.timing import flops_of, in_turn
from bench.workbench import Workbench
from fsar_cli.core.backbones.i3d import I3D
from fsar_cli.engine.device import encoding_autocast, folded
from fsar_cli.recipes import VIDEO_RECIPES
from fsar_cli.settings import resolve

QUICK = ("r3d_18",)


def backbones(bench: Workbench) -> Iterator[Measurement]:
    """Networks of video at the size and frames of their weights, one clip a call, against torchvision's own forward."""
    for name in QUICK if bench.sizes.side < 224 else VIDEO_RECIPES:
        values = {"model.method": "prototype", "model.backbone": name, "model.weights": "none"}
        config = resolve(flags=values, environ={}).config
        method, clip = bench.method(config).eval(), config.clip
        pixels = torch.rand((1, clip.frames, clip.size, clip.size, 3), generator=torch.Generator().manual_seed(0))
        clips = pixels.to(bench.device).permute(0, 1, 4, 2, 3)  # as `to_float` leaves them
        library = _library(name).to(bench.device).eval()
        theirs = partial(library, clips.transpose(1, 2).contiguous())
        with torch.no_grad():
            gmac = flops_of(partial(method.features, clips)) / 2e9

        def ours(features=method.features, clips=clips, config=config) -> None:
            with encoding_autocast(bench.device, config):
                features(clips)

        with torch.inference_mode(), folded(method):
            timing = in_turn({"ours": ours, "theirs": theirs}, bench.device, bench.sizes.repeats)
        yield Measurement(
            "backbones", name, f"{clip.frames} frames of {clip.size} px, {gmac:.1f} GMAC", "clips/s",
            1 / timing["ours"].median, 1 / timing["theirs"].median,
            "its own modules, one after the other" if name == "i3d" else "torchvision's forward", timing["ours"].spread,
            {"gmac": gmac},
        )  # fmt: skip


def _library(name: str) -> nn.Module:
    """The network as its library has it; I3D, which none has, in its plain form."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return I3D() if name == "i3d" else torchvision.models.get_model(name, weights=None)
