"""Checkpointed trunks: the same maps, gradients and batch statistics from less memory."""

import copy

import pytest
import torch
from core_parts import random_clips, relative_error, small_config, split_episode, tiny_backbone
from torch import nn

from fsar_cli.core.backbones.backbone import FrameBackbone
from fsar_cli.core.backbones.build import build_backbone
from fsar_cli.core.build import build_method
from fsar_cli.core.layers.checkpointing import blocks, in_micro_batches

NAMES = ["resnet18", "efficientnet_b0", "densenet121", "googlenet"]


def pair(name: str) -> tuple[FrameBackbone, FrameBackbone]:
    torch.manual_seed(0)
    plain = build_backbone(name, "none")
    thrifty = copy.deepcopy(plain)
    thrifty.checkpointing = True
    return plain, thrifty


def run(backbone: FrameBackbone, frames: torch.Tensor) -> tuple[torch.Tensor, int]:
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


def assert_alike(plain: nn.Module, thrifty: nn.Module, tolerance: float = 1e-4) -> None:
    """The same gradients and batch statistics."""
    for (key, a), (_, b) in zip(plain.named_parameters(), thrifty.named_parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), key
        if a.grad is not None and a.grad.abs().max() > 1e-12:
            assert relative_error(b.grad, a.grad) < tolerance, key
    for (key, a), (_, b) in zip(plain.named_buffers(), thrifty.named_buffers(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize("name", NAMES)
def test_map_gradients_and_running_statistics_are_the_plain_ones_from_less_memory(name: str) -> None:
    plain, thrifty = pair(name)
    frames = random_clips(1, 4, 64)
    (expected, kept), (found, kept_of_less) = run(plain, frames), run(thrifty, frames)
    assert torch.equal(found, expected)
    assert kept_of_less < 0.5 * kept
    assert_alike(plain, thrifty)


def test_maps_of_all_stages_are_the_plain_ones_too() -> None:
    plain, thrifty = pair("shufflenet_v2_x0_5")
    stages, maps = plain.stages(64), []
    for backbone in (plain, thrifty):
        maps.append(backbone.maps(random_clips(1, 4, 64), stages))
        sum(m.square().mean() for m in maps[-1]).backward()
    assert all(torch.equal(a, b) for a, b in zip(*maps, strict=True))
    assert_alike(plain, thrifty)


def test_nothing_changes_where_no_gradient_is_wanted() -> None:
    thrifty = tiny_backbone()
    thrifty.checkpointing = True
    frames = random_clips(1, 2, 64)
    with torch.no_grad():
        assert torch.equal(thrifty.eval()(frames)[0], thrifty.trunk(frames[0]))
    assert not thrifty.train()(frames).detach().isnan().any()


def test_a_trunk_is_taken_apart_into_what_runs_in_turn() -> None:
    resnet = build_backbone("resnet18", "none").trunk
    assert [type(block).__name__ for block in blocks(resnet)] == ["Sequential"] + 8 * ["BasicBlock"]
    assert [type(layer).__name__ for layer in blocks(resnet)[0]] == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    assert len(blocks(nn.Conv2d(3, 4, 1))) == 1


def train(method, clips: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    support, query = split_episode(method.encode(clips, generator), 2, 2)
    loss = method.loss(method.match(support, query), torch.tensor([[0, 1, 1]]))
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("size", [1, 3])
def test_micro_batches_give_the_plain_gradients_where_batch_statistics_stand_still(size: int) -> None:
    plain = build_method(small_config(**{"model.freeze_batchnorm": True})).train()
    thrifty = copy.deepcopy(plain)
    thrifty.micro_batch = size
    clips = random_clips(7)
    (loss, expected), (again, found) = train(plain, clips), train(thrifty, clips)
    assert again.item() == pytest.approx(loss.item(), rel=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert relative_error(found[name], gradient) < 1e-4, name


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("kind", ["mask", "uniform_centre"])
def test_the_second_run_repeats_the_random_regions_and_leaves_the_generator_alone(kind: str) -> None:
    changes = {"model.region.random_probability": 1.0, "model.region.random_kind": kind}
    plain = build_method(small_config(**changes)).train()
    thrifty, clips = copy.deepcopy(plain), random_clips(4)
    first, second = (torch.Generator().manual_seed(3) for _ in range(2))
    expected = plain.describe(clips, first)
    found = in_micro_batches(thrifty.features, lambda *x: thrifty.describe(*x).tensors, clips, 4, second)
    assert all(torch.equal(found[name], expected[name]) for name in expected.tensors)
    for described in (expected, found):
        described["frames"].square().sum().backward()
    assert torch.equal(first.get_state(), second.get_state())
    assert_alike(plain, thrifty, 1e-5)


@pytest.mark.usefixtures("tiny")
def test_micro_batches_of_the_second_run_do_not_count_for_running_statistics_twice() -> None:
    method = build_method(small_config(**{"model.region.enabled": False, "model.method": "trx"})).train()
    method.micro_batch = 2
    train(method, random_clips(7))
    counts = {int(b) for name, b in method.named_buffers() if name.endswith("num_batches_tracked")}
    assert counts == {4}, "seven clips in groups of two"
