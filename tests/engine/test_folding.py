"""Folded batch norms: the same maps, for evaluation alone, and no trace of them afterwards."""

import pytest
import torch
from small_project import lively, small
from torch import nn

from fsar_cli.core.backbones.backbone import FrameBackbone
from fsar_cli.core.backbones.build import build_backbone
from fsar_cli.core.features import GlobalFeatures
from fsar_cli.engine.device import folded

FAMILIES = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "densenet121", "googlenet", "vgg11_bn")


class Around:
    """As much of a method as folding looks at."""

    def __init__(self, backbone: FrameBackbone) -> None:
        self.features = GlobalFeatures(backbone).eval()


def unsettled(backbone: FrameBackbone, seed: int = 0) -> FrameBackbone:
    """The same backbone with batch norms that do something, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.running_var, module.weight):
                    tensor.uniform_(0.5, 1.5, generator=generator)
                for tensor in (module.running_mean, module.bias):
                    tensor.normal_(0, 0.1, generator=generator)
    return backbone.eval()


def largest(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", FAMILIES)
@torch.inference_mode()
def test_maps_are_those_of_the_plain_network(name):
    backbone = unsettled(build_backbone(name, "none"))
    frames, norms = torch.randn(1, 2, 3, 96, 96), []
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda *_: norms.append(1))
    expected = backbone(frames)
    plain = len(norms)
    norms.clear()
    with folded(Around(backbone)):
        assert largest(backbone(frames), expected) < 1e-5
    assert len(norms) <= 0.55 * plain, "of DenseNet's, half come before a convolution"
    assert torch.equal(backbone(frames), expected)


@torch.inference_mode()
def test_weights_are_those_of_the_moment():
    backbone, frames = unsettled(build_backbone("resnet18", "none")), torch.randn(1, 1, 3, 64, 64)
    with folded(Around(backbone)):
        before = backbone(frames)
    unsettled(backbone, seed=1)
    with folded(Around(backbone)):
        after = backbone(frames)
    assert largest(after, before) > 0.01
    assert largest(after, backbone(frames)) < 1e-5


def test_training_and_gradients_do_not_meet_it(project):
    method = lively(small(project)).eval()
    names = list(method.state_dict())
    frames, calls = torch.rand(1, 2, 3, 32, 32), []
    with folded(method):
        assert list(method.state_dict()) == names, "a run saved in the meantime is like any other"
        for backbone in method.features.backbones():
            backbone.folded = lambda frames: calls.append(1) or frames
        backbone.train()(frames)
        backbone.eval()(frames)
        with torch.no_grad():
            backbone.train()(frames)
        assert not calls
        with torch.no_grad():
            backbone.eval()(frames)
        assert calls
    assert all(backbone.folded is None for backbone in method.features.backbones())


def test_nothing_stays_after_an_error(project):
    method = lively(small(project)).eval()
    with pytest.raises(RuntimeError, match="stop"), folded(method):
        raise RuntimeError("stop")
    assert all(backbone.folded is None for backbone in method.features.backbones())


class Deciding(nn.Module):
    """Looks at values: no graph of it can be made."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, frames):
        maps = self.norm(self.convolution(frames))
        return maps if maps.sum() > 0 else -maps


class Branching(nn.Module):
    """Uses a convolution's map beside the norm of it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, frames):
        maps = self.convolution(frames)
        return maps + self.norm(maps)


@pytest.mark.parametrize("trunk", [Deciding, Branching])
@torch.inference_mode()
def test_a_trunk_that_cannot_be_folded_runs_as_it_is(trunk):
    backbone, frames = unsettled(FrameBackbone(trunk(), 4)), torch.randn(1, 2, 3, 8, 8)
    expected = backbone(frames)
    with folded(Around(backbone)):
        assert largest(backbone(frames), expected) < 1e-6
