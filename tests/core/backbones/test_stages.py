"""Stages of a backbone: whose maps they are, and what finding them leaves alone."""

import pytest
import torch
from core_parts import four_stages, random_clips, tiny_backbone
from torch import Tensor, nn

from fsar_cli.core.backbones.backbone import FrameBackbone
from fsar_cli.core.backbones.build import build_backbone

SIDE = 64


def frames(count: int = 2, side: int = SIDE) -> Tensor:
    return random_clips(1, count, side)


@pytest.mark.parametrize(
    ("name", "layers", "channels_last"),
    [("resnet18", ["4", "5", "6", "7"], False), ("swin_t", ["0.1", "0.3", "0.5"], True)],
)
def test_maps_are_what_the_layers_of_the_network_give(name: str, layers: list[str], channels_last: bool) -> None:
    backbone = build_backbone(name, "none").eval()
    seen: list[Tensor] = []
    for layer in layers:
        backbone.trunk.get_submodule(layer).register_forward_hook(lambda module, args, out: seen.append(out.clone()))
    with torch.no_grad():
        backbone(frames())
        expected = [m.permute(0, 3, 1, 2) if channels_last else m for m in seen]
        found = backbone.maps(frames(), backbone.stages(SIDE))
    assert len(expected) == len(layers)
    assert all(torch.equal(a[0], b) for a, b in zip(found, expected, strict=False))


def test_stages_found_with_one_side_serve_another() -> None:
    backbone = build_backbone("resnet18", "none").eval()
    with torch.no_grad():
        maps = backbone.maps(frames(1, 96), backbone.stages(64))
    assert [m.shape[2:] for m in maps] == [(64, 24, 24), (128, 12, 12), (256, 6, 6), (512, 3, 3)]


def test_convolutions_without_padding_end_no_stage() -> None:
    """Sides 32, 30, 15, 13 are two stages."""
    widths, strides = [3, 4, 5, 6, 7], [2, 1, 2, 1]
    layers = [
        nn.Conv2d(a, b, 3, stride, padding=stride - 1)
        for a, b, stride in zip(widths, widths[1:], strides, strict=False)
    ]
    stages = FrameBackbone(nn.Sequential(*layers), 7).stages(SIDE)
    assert [(stage.end, stage.channels, stage.side) for stage in stages] == [(2, 5, 30), (4, 7, 13)]


def test_a_trunk_with_few_resolutions_has_few_stages_and_fewer_may_be_asked_for() -> None:
    assert [(s.channels, s.side) for s in tiny_backbone().stages(32)] == [(8, 8), (10, 4)]
    assert [s.channels for s in four_stages().stages(SIDE, 2)] == [16, 20]


def test_looking_for_stages_leaves_the_network_as_it_was() -> None:
    backbone = four_stages()
    backbone.trunk[1].eval()
    before = [(m.training, {n: b.clone() for n, b in m.named_buffers(recurse=False)}) for m in backbone.modules()]
    backbone.stages(SIDE)
    for module, (training, buffers) in zip(backbone.modules(), before, strict=True):
        assert module.training is training
        assert all(torch.equal(buffers[n], b) for n, b in module.named_buffers(recurse=False))
