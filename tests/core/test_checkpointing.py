"""Checkpointed trunks: the same maps, gradients and batch statistics from less memory."""

import copy

import pytest
import torch
from core_parts import random_clips, relative_error
from torch import nn

from fsar_cli.core.backbone import Backbone, build_backbone
from fsar_cli.core.checkpointing import blocks

NAMES = ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "densenet121", "googlenet"]


def pair(name: str) -> tuple[Backbone, Backbone]:
    torch.manual_seed(0)
    plain = build_backbone(name, "none")
    thrifty = copy.deepcopy(plain)
    thrifty.checkpointing = True
    return plain, thrifty


def run(backbone: Backbone, frames: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The map after backward, and the bytes that the forward pass kept."""
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is counted for two tensors
    own = {p.untyped_storage().data_ptr() for p in backbone.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    torch.manual_seed(1)  # of stochastic depth
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = backbone(frames)
        size = sum(storage.nbytes() for storage in kept.values())
    found.square().mean().backward()
    return found.detach(), size


@pytest.mark.parametrize("name", NAMES)
def test_map_gradients_and_running_statistics_are_the_plain_ones(name: str) -> None:
    plain, thrifty = pair(name)
    frames = random_clips(2, 4, 64).flatten(0, 1)
    (expected, _), (found, _) = run(plain, frames), run(thrifty, frames)
    assert torch.equal(found, expected)
    for (key, a), (_, b) in zip(plain.named_parameters(), thrifty.named_parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), key
        if a.grad is not None and a.grad.abs().max() > 1e-12:
            assert relative_error(b.grad, a.grad) < 1e-4, key
    for (key, a), (_, b) in zip(plain.named_buffers(), thrifty.named_buffers(), strict=True):
        assert torch.equal(a, b), key


def test_it_keeps_a_fraction_of_the_activations() -> None:
    plain, thrifty = pair("resnet18")
    frames = random_clips(2, 4, 64).flatten(0, 1)
    assert run(thrifty, frames)[1] < 0.5 * run(plain, frames)[1]


def test_nothing_changes_where_no_gradient_is_wanted() -> None:
    _, thrifty = pair("resnet18")
    frames = random_clips(1, 2, 64).flatten(0, 1)
    with torch.no_grad():
        assert torch.equal(thrifty.eval()(frames), thrifty.trunk(frames))
    assert not thrifty.train()(frames).detach().isnan().any()


def test_a_trunk_is_taken_apart_into_what_runs_in_turn() -> None:
    resnet = build_backbone("resnet18", "none").trunk
    assert [type(block).__name__ for block in blocks(resnet)] == ["Sequential"] + 8 * ["BasicBlock"]
    assert [type(layer).__name__ for layer in blocks(resnet)[0]] == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    assert len(blocks(nn.Conv2d(3, 4, 1))) == 1
