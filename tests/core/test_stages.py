"""Stages of a backbone and their fusion: whose maps they are, the searched cell against loops, training."""

import copy

import numpy as np
import pytest
import torch
from core_parts import random_clips, relative_error, seeded, tiny_backbone
from torch import Tensor, nn

from fsar_cli.core.backbones.image import Backbone, build_backbone
from fsar_cli.core.features import GlobalFeatures
from fsar_cli.core.stages import Alignment, FusedBackbone, SearchedCell
from fsar_cli.errors import UsageError

SIDE = 64
FAMILIES = {  # one of every way torchvision writes a network: channels and side of the last four stages at 64 pixels
    "resnet18": [(64, 16), (128, 8), (256, 4), (512, 2)],
    "mobilenet_v2": [(24, 16), (32, 8), (96, 4), (1280, 2)],
    "mobilenet_v3_small": [(16, 16), (24, 8), (48, 4), (576, 2)],
    "efficientnet_b0": [(24, 16), (40, 8), (112, 4), (1280, 2)],
    "mnasnet0_5": [(16, 16), (24, 8), (48, 4), (1280, 2)],
    "shufflenet_v2_x0_5": [(24, 16), (48, 8), (96, 4), (1024, 2)],
    "regnet_y_400mf": [(48, 16), (104, 8), (208, 4), (440, 2)],
    "densenet121": [(128, 16), (256, 8), (512, 4), (1024, 2)],
    "convnext_tiny": [(96, 16), (192, 8), (384, 4), (768, 2)],
    "swin_t": [(96, 16), (192, 8), (384, 4), (768, 2)],
    "squeezenet1_1": [(64, 31), (128, 15), (256, 7), (512, 3)],
    "vgg11_bn": [(256, 16), (512, 8), (512, 4), (512, 2)],
}


def slow(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.slow)


def four_stages() -> Backbone:
    """Like `tiny_backbone`, of four resolutions; widths double but for the last."""
    widths, layers = [3, 4, 8, 16, 20], []
    for i in range(4):
        layers += [
            nn.Conv2d(widths[i], widths[i + 1], 3, 2, 1, bias=False),
            nn.BatchNorm2d(widths[i + 1]),
            nn.ReLU(True),
        ]
    torch.manual_seed(0)
    return Backbone(nn.Sequential(*layers), 20, "four")


def frames(count: int = 2, side: int = SIDE) -> Tensor:
    return random_clips(1, count, side).squeeze(0)


# Stages


@pytest.mark.parametrize("name", [slow(n) if n in ("vgg11_bn", "densenet121") else n for n in FAMILIES])
def test_a_stage_is_the_last_map_of_its_resolution_and_the_last_one_the_backbones_own(name: str) -> None:
    backbone = build_backbone(name, "none").eval()
    stages = backbone.stages(SIDE)
    assert [(stage.channels, stage.side) for stage in stages] == FAMILIES[name]
    with torch.no_grad():
        maps = backbone.maps(frames(), stages)
        assert [m.shape for m in maps] == [(2, c, side, side) for c, side in FAMILIES[name]]
        assert torch.equal(maps[-1], backbone(frames()))


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
    with torch.no_grad():
        found = backbone.maps(frames(), backbone.stages(SIDE))
    assert len(expected) == len(layers)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=False))


def test_stages_found_with_one_side_serve_another() -> None:
    backbone = build_backbone("resnet18", "none").eval()
    with torch.no_grad():
        maps = backbone.maps(frames(1, 96), backbone.stages(64))
    assert [m.shape[1:] for m in maps] == [(64, 24, 24), (128, 12, 12), (256, 6, 6), (512, 3, 3)]


def test_convolutions_without_padding_end_no_stage() -> None:
    """Sides 32, 30, 15, 13 are two stages."""
    widths, strides = [3, 4, 5, 6, 7], [2, 1, 2, 1]
    layers = [
        nn.Conv2d(a, b, 3, stride, padding=stride - 1)
        for a, b, stride in zip(widths, widths[1:], strides, strict=False)
    ]
    stages = Backbone(nn.Sequential(*layers), 7).stages(SIDE)
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


def test_an_input_too_small_for_stages_is_refused() -> None:
    with pytest.raises(UsageError, match="16 x 16 pixels are too few for the backbone 'squeezenet1_1'"):
        build_backbone("squeezenet1_1", "none").stages(16)


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v2"])
def test_checkpointing_gives_the_same_maps_gradients_and_statistics(name: str) -> None:
    plain = build_backbone(name, "none").train()
    thrifty = copy.deepcopy(plain)
    thrifty.checkpointing = True
    stages = plain.stages(SIDE)
    results = []
    for backbone in (plain, thrifty):
        maps = backbone.maps(frames(4), stages)
        sum(m.square().mean() for m in maps).backward()
        results.append([m.detach() for m in maps])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    for (key, a), (_, b) in zip(plain.named_parameters(), thrifty.named_parameters(), strict=True):
        if a.grad.abs().max() > 1e-12:
            assert relative_error(b.grad, a.grad) < 1e-4, key
    for a, b in zip(plain.buffers(), thrifty.buffers(), strict=True):
        assert torch.equal(a, b)


# The cell


def slow_cell(nodes: list[np.ndarray], edges: list[np.ndarray]) -> list[np.ndarray]:
    """The searched cell one edge and one operation at a time, for one frame [C,H,W] of each stage."""

    def gated(x: np.ndarray, other: np.ndarray) -> np.ndarray:  # x + sigmoid(mean of x) * other
        return x + other / (1 + np.exp(-x.mean((1, 2), keepdims=True)))

    states = [nodes[0]]
    for own, logits in zip(nodes[1:], edges, strict=True):
        total = 0.0
        for state, row in zip(states, logits, strict=True):
            weights = np.exp(row) / np.exp(row).sum()
            for weight, result in zip(weights, (gated(own, state), gated(state, own), state + own), strict=True):
                total = total + weight * result
        states.append(total)
    return states


def test_the_cell_is_the_sum_of_three_weighted_operations_on_each_edge() -> None:
    cell = SearchedCell(4).double()
    with torch.no_grad():
        for edge in cell.edges:
            edge.copy_(torch.randn(edge.shape, generator=seeded(1)))
    nodes = [torch.randn(2, 5, 3, 4, generator=seeded(s), dtype=torch.float64) for s in range(4)]
    found = cell(nodes)
    for b in range(2):
        expected = slow_cell([n[b].numpy() for n in nodes], [e.detach().numpy() for e in cell.edges])
        for state, slow in zip(found, expected, strict=True):
            assert relative_error(state[b], torch.from_numpy(slow)) < 1e-12
    assert [tuple(edge.shape) for edge in cell.edges] == [(1, 3), (2, 3), (3, 3)]


def test_alignment_halves_the_side_and_doubles_the_width_up_to_that_of_the_last_stage() -> None:
    def widths(*sizes: int) -> list[tuple[int, ...]]:
        convolutions = [m for m in Alignment(*sizes) if isinstance(m, nn.Conv2d)]
        assert all(c.stride == (2, 2) for c in convolutions)
        return [(c.in_channels, c.out_channels) for c in convolutions]

    assert widths(256, 2048, 3) == [(256, 512), (512, 1024), (1024, 2048)]
    assert widths(24, 1280, 3) == [(24, 48), (48, 96), (96, 1280)]
    assert widths(512, 512, 2) == [(512, 512), (512, 512)]
    assert widths(2048, 2048, 0) == []


# The fusion


def fused(**options: int) -> FusedBackbone:
    torch.manual_seed(1)
    return FusedBackbone(four_stages(), SIDE, **options)


def test_the_map_is_the_cells_states_and_the_last_stage_by_their_shares() -> None:
    module, x = fused().double().eval(), frames().double()
    with torch.no_grad():
        module.shares.copy_(torch.tensor([0.3, -0.2, 0.1, 0.5, 1.0]))
        maps = module.backbone.maps(x, module.stages)
        nodes = [align(m) for align, m in zip(module.align, maps, strict=True)]
        found = module(x)
    assert [tuple(n.shape) for n in nodes] == 4 * [(2, 20, 4, 4)]
    shares = np.exp(module.shares.detach().numpy())
    shares = shares / shares.sum()
    for b in range(2):
        states = slow_cell([n[b].numpy() for n in nodes], [e.detach().numpy() for e in module.cell.edges])
        expected = sum(share * m for share, m in zip(shares, [*states, maps[-1][b].numpy()], strict=True))
        assert relative_error(found[b], torch.from_numpy(expected)) < 1e-12


@pytest.mark.parametrize("nodes", [2, 3, 4])
def test_the_last_stage_starts_with_six_tenths_and_the_rest_is_shared(nodes: int) -> None:
    shares = fused(nodes=nodes).shares.softmax(0)
    torch.testing.assert_close(shares, torch.tensor([0.4 / nodes] * nodes + [0.6]))


def test_its_map_has_the_form_of_the_backbones_own_for_any_side() -> None:
    module = fused().eval()
    for side in (64, 60, 33):
        assert module(frames(1, side)).shape == module.backbone(frames(1, side)).shape


def test_it_takes_a_backbones_place_and_freezing_spares_the_fusion() -> None:
    features = GlobalFeatures(fused(), freeze_backbone=True)
    backbone = features.global_backbone.backbone
    assert features.backbones() == [backbone] and features.dim == 20
    before = {n: b.clone() for n, b in features.named_buffers()}
    features.train()(random_clips(2, 3, SIDE)).frames.square().sum().backward()
    assert all(p.grad is None for p in backbone.parameters())
    own = {n: p for n, p in features.global_backbone.named_parameters() if not n.startswith("backbone.")}
    assert len(own) == 1 + 3 + 3 * (3 + 2 + 1) and all(p.grad.abs().max() > 0 for p in own.values())
    moved = {n for n, b in features.named_buffers() if not torch.equal(b, before[n])}
    assert moved and all(n.startswith("global_backbone.align.") for n in moved)


@pytest.mark.parametrize("name", ["squeezenet1_1", slow("swin_t")])
def test_stages_of_odd_sides_and_of_transformers_fuse(name: str) -> None:
    backbone = build_backbone(name, "none")
    module = FusedBackbone(backbone, SIDE).train()
    module(frames()).square().mean().backward()
    assert all(p.grad is not None for p in module.align.parameters())
    assert module.eval()(frames()).shape == backbone(frames()).shape
