"""Networks of video: maps that the network's own head turns into its logits, one contract, and what does not fit."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from fsar_cli.core.backbones.backbone import ClipBackbone
from fsar_cli.core.backbones.build import build_backbone
from fsar_cli.core.backbones.i3d import I3D, SamePool, SameUnit, same_padding
from fsar_cli.core.build import build_method
from fsar_cli.core.features import KeyRegionFeatures
from fsar_cli.core.regions import KeyRegionSelector, crop_regions
from fsar_cli.core.relation import Relation
from fsar_cli.errors import DataError, UsageError
from fsar_cli.recipes import VIDEO_RECIPES
from fsar_cli.settings import resolve
from tests.core_parts import filled, random_clips, seeded

TORCHVISION = [name for name in VIDEO_RECIPES if name != "i3d"]
HEAVY = ("mvit_v1_b", "swin3d_s", "swin3d_b")
SHAPES = {  # of 16 frames, or 8 of those without strides in time
    "r3d_18": (2, 512, 4, 4), "mc3_18": (16, 512, 4, 4), "r2plus1d_18": (2, 512, 4, 4), "s3d": (2, 1024, 2, 2),
    "mvit_v1_b": (8, 768, 7, 7), "mvit_v2_s": (8, 768, 7, 7), "swin3d_t": (8, 768, 2, 2), "swin3d_s": (8, 768, 2, 2),
    "swin3d_b": (8, 1024, 2, 2), "i3d": (2, 1024, 2, 2),
}  # fmt: skip


def side_of(name: str) -> int:
    return 224 if name.startswith("mvit") else 64


def logits(network: nn.Module, maps: torch.Tensor) -> torch.Tensor:
    """Maps [B,T,C,H,W] through the head of torchvision's network, pooled as it pools."""
    x = maps.transpose(1, 2)
    if hasattr(network, "fc"):
        return network.fc(x.mean((2, 3, 4)))
    if hasattr(network, "classifier"):
        return network.classifier(x).mean((2, 3, 4))  # its pooling over 2 x 7 x 7 cells is linear too
    return network.head(x.mean((2, 3, 4)))


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in HEAVY else n for n in TORCHVISION])
@torch.no_grad()
def test_the_networks_own_head_gives_its_own_logits_of_the_maps(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "x.pth")
    backbone = build_backbone(name, tmp_path / "x.pth").eval()
    side = side_of(name)
    clips = torch.rand(1, 16, 3, side, side, generator=seeded(0))
    maps = backbone(clips)
    assert maps.shape[1:] == backbone.shape(16, side) == SHAPES[name] and maps.shape[2] == backbone.dim
    if name.startswith("mvit"):  # it classifies by its class token, which is no map
        seen = []
        network.norm.register_forward_hook(lambda *hooked: seen.append(hooked[2]))
        network(clips.transpose(1, 2))
        found, expected = maps.permute(0, 1, 3, 4, 2).flatten(1, 3), seen[0][:, 1:]
    elif name == "s3d":
        network.avgpool = nn.AdaptiveAvgPool3d(1)  # its own needs 224 px
        found, expected = logits(network, maps), network(clips.transpose(1, 2))
    else:
        found, expected = logits(network, maps), network(clips.transpose(1, 2))
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", TORCHVISION)
def test_recipes_are_those_of_the_library(name: str) -> None:
    recipe = VIDEO_RECIPES[name]
    for weights in torchvision.models.get_model_weights(name):
        transforms = weights.transforms()
        assert (recipe.size, recipe.short_side) == (transforms.crop_size[0], min(transforms.resize_size))
        assert tuple(transforms.mean) == recipe.normalization.mean
        assert tuple(transforms.std) == recipe.normalization.deviation
        assert recipe.interpolation == transforms.interpolation.value


def test_a_recipe_decides_what_nobody_else_does_and_says_so() -> None:
    found = resolve(flags={"model.backbone": "r3d_18", "model.method": "trx"}, environ={})
    clip, model = found.config.clip, found.config.model
    assert (clip.frames, clip.size, clip.short_side, model.weights) == (16, 112, 128, "kinetics400")
    assert (model.region.side, model.match.cardinalities) == (64, (2,))
    assert found.origins["clip.size"] == "recipe of r3d_18 (torchvision)"
    mine = resolve(flags={"model.backbone": "r3d_18", "clip.size": 160, "clip.frames": 32}, environ={}).config
    assert (mine.clip.size, mine.clip.short_side, mine.model.match.cardinalities) == (160, 160, (2, 3))
    usual = resolve(flags={}, environ={})
    assert usual.config.clip.size == 224 and set(usual.origins.values()) == {"default"}


@pytest.mark.parametrize("wrong", ["abc", None, [1], "²", -1, True])
@pytest.mark.parametrize("key", ["clip.size", "clip.frames", "clip.short_side"])
def test_a_wrong_value_beside_a_recipe_is_refused_by_its_key(key: str, wrong: object) -> None:
    with pytest.raises(UsageError, match=key):
        resolve(over=({"model.backbone": "r3d_18", key: wrong}, "x.yaml"), environ={})


def test_i3d_without_weights_is_not_taken_for_one_with_random_ones() -> None:
    config = resolve(flags={"model.backbone": "i3d"}, environ={}).config
    with pytest.raises(UsageError, match="i3d has no weights 'imagenet'"):
        build_backbone("i3d", config.model.weights)


# I3D


def slow_same(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """[B,C,T,H,W] with TensorFlow's SAME zeros, axis by axis, as its guide has them."""
    for axis in (2, 3, 4):
        size = x.shape[axis]
        rest = size % stride
        total = max(kernel - stride, 0) if rest == 0 else max(kernel - rest, 0)
        for count, front in ((total // 2, True), (total - total // 2, False)):
            shape = list(x.shape)
            shape[axis] = count
            x = torch.cat([x.new_zeros(shape), x] if front else [x, x.new_zeros(shape)], axis)
    return x


def slow_unit(unit: SameUnit, x: torch.Tensor) -> torch.Tensor:
    state = {n: t.double() for n, t in unit.state_dict().items()}
    weight = state["conv3d.weight"]
    kernel, stride = weight.shape[-1], unit.conv3d.stride[0]
    windows = slow_same(x, kernel, stride)
    for axis in (2, 3, 4):
        windows = windows.unfold(axis, kernel, stride)  # [B,C,T,H,W,k,k,k]
    y = torch.einsum("bcthwijk,dcijk->bdthw", windows, weight)
    shape = (1, -1, 1, 1, 1)
    scale = state["bn.weight"] / (state["bn.running_var"] + 1e-3).sqrt()
    return ((y - state["bn.running_mean"].view(shape)) * scale.view(shape) + state["bn.bias"].view(shape)).clamp_min(0)


def slow_pool(x: torch.Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
    for axis, (k, s) in enumerate(zip(kernel, stride, strict=True), 2):
        size = x.shape[axis]
        total = max((-(-size // s) - 1) * s + k - size, 0)
        zeros = [x.new_zeros(*x.shape[:axis], n, *x.shape[axis + 1 :]) for n in (total // 2, total - total // 2)]
        x = torch.cat([zeros[0], x, zeros[1]], axis).unfold(axis, k, s).amax(-1)
    return x


def slow_i3d(network: I3D, x: torch.Tensor) -> torch.Tensor:
    x = x.double()
    for module in network:
        if isinstance(module, SameUnit):
            x = slow_unit(module, x)
        elif isinstance(module, SamePool):
            x = slow_pool(x, module.kernel_size, module.stride)
        else:
            b1 = slow_unit(module.b1b, slow_unit(module.b1a, x))
            b2 = slow_unit(module.b2b, slow_unit(module.b2a, x))
            b3 = slow_unit(module.b3b, slow_pool(x, (3, 3, 3), (1, 1, 1)))
            x = torch.cat([slow_unit(module.b0, x), b1, b2, b3], 1)
    return x


@pytest.mark.parametrize(("frames", "side"), [(9, 33), (16, 40), (11, 47)])
@torch.no_grad()
def test_i3d_is_the_slow_one(frames: int, side: int) -> None:
    network = filled(I3D())
    clips = torch.rand(1, 3, frames, side, side, generator=seeded(1)) * 2 - 1
    found, expected = network(clips), slow_i3d(network, clips)
    assert found.shape == (1, 1024, -(-frames // 8), -(-side // 32), -(-side // 32))
    assert expected.abs().max() > 0
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_padding_is_tensorflows() -> None:
    assert [same_padding(n, 7, 2) for n in (8, 9)] == [(2, 3), (3, 3)]
    assert [same_padding(n, 3, 2) for n in (8, 9)] == [(0, 1), (1, 1)]
    assert same_padding(4, 2, 2) == (0, 0) and same_padding(5, 2, 2) == (0, 1)
    assert SamePool((3, 3, 3), (2, 2, 2))(-torch.ones(1, 1, 4, 4, 4)).max() == 0


@torch.no_grad()
def test_i3d_reads_both_forms_of_its_weights(tmp_path: Path, shared: Path) -> None:
    network = filled(I3D())
    head = {"logits.conv3d.weight": torch.zeros(400, 1024, 1, 1, 1), "logits.conv3d.bias": torch.zeros(400)}
    torch.save(network.state_dict() | head, tmp_path / "x.pt")
    clips = torch.rand(1, 8, 3, 32, 32)
    expected = network(clips.transpose(1, 2)).transpose(1, 2)
    assert torch.equal(build_backbone("i3d", tmp_path / "x.pt").eval()(clips), expected)
    file = shared / "weights/i3d_kinetics400_fp16.safetensors"
    if not file.is_file():
        pytest.skip("no I3D among the shared weights")
    maps = build_backbone("i3d", file).eval()(torch.rand(1, 16, 3, 64, 64) * 2 - 1)
    assert maps.shape == (1, 2, 1024, 2, 2) and maps.isfinite().all() and maps.min() >= 0 and maps.max() > 0


# What does not fit


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet50", "kinetics400", "resnet50 has no weights 'kinetics400', but `imagenet`"),
        ("r3d_18", "imagenet", "r3d_18 has no weights 'imagenet', but `kinetics400`"),
        ("i3d", "kinetics400", "i3d has no weights 'kinetics400', but no weights that can be fetched"),
    ],
)
def test_weights_of_other_networks_are_refused_by_name(name: str, weights: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_backbone(name, weights)


def test_frames_and_sides_that_a_network_does_not_take_are_refused_with_those_it_does() -> None:
    with torch.device("meta"):
        mvit, i3d = build_backbone("mvit_v2_s", "none"), build_backbone("i3d", "none")
    with pytest.raises(UsageError, match="'mvit_v2_s' takes clips of 16 frames, not 5"):
        mvit.shape(5, 224)
    with pytest.raises(UsageError, match="takes inputs of 224 x 224 pixels, not 96 x 96"):
        mvit.shape(16, 96)
    with pytest.raises(UsageError, match="makes a step of 8 frames: clips of 20 do not fit") as caught:
        i3d.shape(20, 224)
    assert "clip.frames=16 or 24" in caught.value.hint


def test_too_few_steps_are_refused_with_what_would_do() -> None:
    flags = {"model.backbone": "r3d_18", "model.weights": "none", "clip.size": 64, "model.method": "molo"}
    with pytest.raises(UsageError, match="'r3d_18' makes 1 step of 8 frames, and methods need two") as caught:
        build_method(resolve(flags=flags | {"clip.frames": 8}, environ={}).config)
    assert "clip.frames=16" in caught.value.hint
    with pytest.raises(UsageError, match=r"2 steps of 16 frames, and model.match.cardinalities are \[2, 3\]") as caught:
        build_method(resolve(flags=flags | {"model.match.cardinalities": [2, 3]}, environ={}).config)
    assert "cardinalities=[2]" in caught.value.hint


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "x.pth")
    with pytest.raises(DataError, match="does not fit the backbone r3d_18"):
        build_backbone("r3d_18", tmp_path / "x.pth")


# Regions: tubes


class FirstOfStep(nn.Module):
    """A trunk whose map is the first frame of each step of four, so that what arrives at it can be seen."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return clips[:, :, ::4]


def test_a_tube_follows_the_centres_of_its_steps() -> None:
    backbones = [ClipBackbone(FirstOfStep(), 3, step=4) for _ in range(2)]
    relation = Relation(3, 2, temporal=False, motion=False)  # the mean of the channels
    features = KeyRegionFeatures(*backbones, relation, KeyRegionSelector(32, 16, gain=1e-2)).eval()
    clips = random_clips(2, 8, 32)
    found = features(clips)
    assert found.regions.centres.shape == (2, 2, 2) and not torch.equal(*found.regions.centres[0])
    for b in range(2):
        for t in range(2):
            crop = crop_regions(clips[b, 4 * t : 4 * t + 1], found.regions.centres[b, t : t + 1], 16)
            assert torch.allclose(found.local_maps[b, t], crop[0], atol=1e-5)
