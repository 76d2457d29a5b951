"""SloshNet: the fusion of stages and the temporal modules against loops in float64, one number at a time."""

import math

import numpy as np
import pytest
import torch
from core_parts import FRAMES, four_stages, random_clips, relative_error, seeded, small_config, split_episode
from torch import Tensor, nn

from fsar_cli.core.backbones.build import build_backbone
from fsar_cli.core.build import build_method
from fsar_cli.core.features import GlobalFeatures
from fsar_cli.core.method import Encoded
from fsar_cli.core.methods import sloshnet
from fsar_cli.core.methods.sloshnet import Alignment, FusedBackbone, LongTerm, SearchedCell, ShortTerm, SloshNet

T, H, W, D = 5, 2, 3, 12
SIDE = 64


def lively(module: nn.Module) -> nn.Module:
    """In float64, with parameters that are neither zero nor one."""
    generator = seeded(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return module.double()


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}


def tokens(videos: int = 2) -> Tensor:
    return torch.randn(videos, H * W, T, D, generator=seeded(1), dtype=torch.float64)


def normed(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias


def slow_long(x: np.ndarray, p: dict[str, np.ndarray], heads: int) -> np.ndarray:
    """One transformer layer over the frames [T,D] of one position of one video."""
    qkv = normed(x, p["attention_norm.weight"], p["attention_norm.bias"]) @ p["attention.weight"].T
    qkv = qkv + p["attention.bias"]
    attended, width = np.zeros_like(x), D // heads
    for head in range(heads):
        q, k, v = (qkv[:, part * D + head * width : part * D + (head + 1) * width] for part in range(3))
        for t in range(T):
            weights = np.array([math.exp(q[t] @ k[s] / math.sqrt(width)) for s in range(T)])
            attended[t, head * width : (head + 1) * width] = weights / weights.sum() @ v
    x = x + attended @ p["out.weight"].T + p["out.bias"]
    hidden = normed(x, p["norm.weight"], p["norm.bias"]) @ p["expand.weight"].T + p["expand.bias"]
    return x + hidden / (1 + np.exp(-1.702 * hidden)) @ p["reduce.weight"].T + p["reduce.bias"]


def slow_depthwise(x: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """3x3 correlation of a map [H,W,D] with zeros around; channel d has the kernel d modulo their number."""
    found = np.zeros_like(x)
    for y, z, d in np.ndindex(x.shape):
        for dy, dz in np.ndindex(3, 3):
            if 0 <= y + dy - 1 < H and 0 <= z + dz - 1 < W:
                found[y, z, d] += kernels[d % len(kernels), 0, dy, dz] * x[y + dy - 1, z + dz - 1, d]
    return found


def gelu(x: float) -> float:
    return x / 2 * (1 + math.erf(x / math.sqrt(2)))


def slow_short(x: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    """The gated maps [T,H,W,D] of one video."""
    q, k, v = (x @ p["qkv.weight"][part * D : (part + 1) * D].T for part in range(3))
    found = np.zeros_like(x)
    for t in range(T):
        change = np.zeros((H, W, D))
        if t + 1 < T:
            change = slow_depthwise(k[t + 1], p["key_conv.weight"]) - slow_depthwise(q[t], p["query_conv.weight"])
        hidden = np.vectorize(gelu)(change @ p["gate.0.weight"].T)
        found[t] = -v[t] / (1 + np.exp(-hidden @ p["gate.2.weight"].T))
    return found


@pytest.mark.parametrize("heads", [1, 4])
def test_the_long_term_module_is_a_transformer_layer_over_the_frames_of_each_position(heads: int) -> None:
    module, x = lively(LongTerm(D, heads)), tokens()
    p = arrays(module)
    expected = [np.mean([slow_long(position, p, heads) for position in video], 0) for video in x.numpy()]
    assert relative_error(module(x), torch.from_numpy(np.stack(expected))) < 1e-12


@pytest.mark.parametrize("groups", [1, 4])
def test_the_short_term_module_gates_by_the_next_frames_difference(groups: int) -> None:
    module, x = lively(ShortTerm(D, groups)), tokens()
    assert len(module.key_conv.weight) == D // groups
    maps = x.permute(0, 2, 1, 3).reshape(2, T, H, W, D).numpy()
    expected = [slow_short(video, arrays(module)).mean((1, 2)) for video in maps]
    assert relative_error(module(x, (H, W)), torch.from_numpy(np.stack(expected))) < 1e-12


# The method


def make(**changes: object) -> SloshNet:
    return build_method(small_config(**{"model.method": "sloshnet"} | changes))


@pytest.mark.usefixtures("tiny")
def test_both_modules_are_added_with_twice_their_shares() -> None:
    method = make().double().eval()
    maps = torch.randn(2, FRAMES, 10, 4, 4, generator=seeded(2), dtype=torch.float64)
    x = maps.permute(0, 3, 4, 1, 2).flatten(1, 2)
    with torch.no_grad():
        assert torch.allclose(method._temporal(maps), method.long(x) + method.short(x, (4, 4)))
        method.shares.copy_(torch.tensor([math.log(3.0), 0.0]))
        assert torch.allclose(method._temporal(maps), 1.5 * method.long(x) + 0.5 * method.short(x, (4, 4)))


@pytest.mark.usefixtures("tiny")
def test_the_head_matches_single_frames_of_what_the_modules_give() -> None:
    method, clips = make().eval(), random_clips(8)
    assert list(method.head.cards) == ["card1"]
    with torch.no_grad():
        described = method.describe(clips)
        frames = method._temporal(described["maps"])
        support, query = split_episode(Encoded(method.head.encode(frames)), 3, 2)
        expected = -method.head.distance(support, query)
        support, query = split_episode(method.encode(clips), 3, 2)
    assert relative_error(method.match(support, query).logits, expected) < 1e-5
    assert described["maps"].shape == (8, FRAMES, 10, 4, 4)


@pytest.mark.usefixtures("tiny")
def test_evaluation_takes_a_few_videos_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    method, clips = make().eval(), random_clips(7)
    with torch.no_grad():
        described = method.describe(clips)
        whole = method.embed(described)
        monkeypatch.setattr(sloshnet, "VIDEOS_AT_A_TIME", 3)
        found = method.embed(described)
    assert all(relative_error(found[name], whole[name].double()) < 1e-5 for name in whole.tensors)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("region", [False, True])
def test_each_backbone_has_a_fusion_of_its_own(region: bool) -> None:
    features = make(**{"model.region.enabled": region}).features
    fusions = [m for m in features.children() if isinstance(m, FusedBackbone)]
    assert [m.backbone for m in fusions] == features.backbones() and len(fusions) == 1 + region
    assert not any(isinstance(m, FusedBackbone) for m in build_method(small_config()).modules())


@pytest.mark.slow
def test_at_the_papers_sizes_heads_groups_and_stages_are_theirs() -> None:
    method = make(**{"model.backbone": "resnet50", "clip.size": 224, "clip.frames": 8})
    assert method.long.heads == 8 and method.short.groups == 16
    fused = method.features.global_backbone
    assert [(s.channels, s.side) for s in fused.stages] == [(256, 56), (512, 28), (1024, 14), (2048, 7)]


def frames(count: int = 2, side: int = SIDE) -> Tensor:
    return random_clips(1, count, side)


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
        maps = [m[0] for m in module.backbone.maps(x, module.stages)]
        nodes = [align(m) for align, m in zip(module.align, maps, strict=True)]
        found = module(x)[0]
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


@pytest.mark.parametrize("name", ["squeezenet1_1", pytest.param("swin_t", marks=pytest.mark.slow)])
def test_stages_of_odd_sides_and_of_transformers_fuse(name: str) -> None:
    backbone = build_backbone(name, "none")
    module = FusedBackbone(backbone, SIDE).train()
    module(frames()).square().mean().backward()
    assert all(p.grad is not None for p in module.align.parameters())
    assert module.eval()(frames()).shape == backbone(frames()).shape
