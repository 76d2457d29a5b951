"""Backbones: the map of every family is the one its network pools, and weights are read safely or refused."""

import pickle
import urllib.error
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
import torchvision
from core_parts import relative_error, seeded
from safetensors.torch import save_file
from torch import Tensor, nn

from fsar_cli.core.backbones.backbone import FrameBackbone
from fsar_cli.core.backbones.build import backbone_names, build_backbone
from fsar_cli.core.backbones.weights import HEADS
from fsar_cli.errors import DataError, UsageError

SMALL = "shufflenet_v2_x0_5"
FAMILIES = {  # one of every way torchvision writes a network: channels and side of its last four stages at 64 pixels
    "alexnet": [(64, 15), (192, 7), (256, 3), (256, 1)],
    "convnext_tiny": [(96, 16), (192, 8), (384, 4), (768, 2)],
    "densenet121": [(128, 16), (256, 8), (512, 4), (1024, 2)],
    "efficientnet_b0": [(24, 16), (40, 8), (112, 4), (1280, 2)],
    "googlenet": [(192, 16), (480, 8), (832, 4), (1024, 2)],
    "inception_v3": [(192, 20), (288, 9), (768, 4), (2048, 1)],  # at 96 pixels
    "mnasnet0_5": [(16, 16), (24, 8), (48, 4), (1280, 2)],
    "mobilenet_v2": [(24, 16), (32, 8), (96, 4), (1280, 2)],
    "mobilenet_v3_small": [(16, 16), (24, 8), (48, 4), (576, 2)],
    "regnet_y_400mf": [(48, 16), (104, 8), (208, 4), (440, 2)],
    "resnet18": [(64, 16), (128, 8), (256, 4), (512, 2)],
    "shufflenet_v2_x0_5": [(24, 16), (48, 8), (96, 4), (1024, 2)],
    "squeezenet1_1": [(64, 31), (128, 15), (256, 7), (512, 3)],
    "swin_t": [(96, 16), (192, 8), (384, 4), (768, 2)],
    "swin_v2_t": [(96, 16), (192, 8), (384, 4), (768, 2)],
    "vgg11_bn": [(256, 16), (512, 8), (512, 4), (512, 2)],
}


SLOW = ("alexnet", "inception_v3", "swin_v2_t", "vgg11_bn")  # as others of their way: squeezenet, googlenet, swin_t


def slow(*names: str) -> list[object]:
    return [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in names]


Look = Callable[[FrameBackbone, int], object]


def shape(backbone: FrameBackbone, side: int) -> object:
    return backbone.shape(1, side)


look = pytest.mark.parametrize("look", [shape, FrameBackbone.stages], ids=["shape", "stages"])


def make_network(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    if name in ("googlenet", "inception_v3"):  # as torchvision builds them with their weights
        options |= {"init_weights": True, "transform_input": True}
    network = torchvision.models.get_model(name, weights=None, **options)
    for buffer_name, buffer in network.named_buffers():  # batch statistics unlike those of a new network
        if buffer_name.endswith("running_var"):
            buffer.mul_(0.5)
    return network.eval()


@cache
def small_network() -> nn.Module:
    return make_network(SMALL, num_classes=7)


def body(network: nn.Module) -> dict[str, Tensor]:
    """State without the classifier."""
    return {k: v for k, v in network.state_dict().items() if k.split(".")[0] not in HEADS}


def what_the_network_pools(network: nn.Module, frames: Tensor) -> Tensor:
    """The map that enters the pooling layer, or the pooled vector where pooling is a function call."""
    caught: list[Tensor] = []
    place = next(getattr(network, n) for n in ("avgpool", "classifier", "fc") if hasattr(network, n))
    place.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
    with torch.no_grad():
        network(frames)
    return caught[0]


@pytest.mark.parametrize("name", slow(*FAMILIES))
def test_the_map_is_the_one_the_network_itself_pools_and_that_of_the_last_stage(name: str, tmp_path: Path) -> None:
    side = 96 if name == "inception_v3" else 64
    network, frames = make_network(name), torch.rand(2, 3, side, side, generator=seeded(0))
    torch.save(body(network), tmp_path / "weights.pth")
    backbone = build_backbone(name, tmp_path / "weights.pth").eval()
    stages = backbone.stages(side)
    with torch.no_grad():
        clip = frames.unsqueeze(0)
        found, maps = backbone(clip)[0], [m[0] for m in backbone.maps(clip, stages)]
    assert [(stage.channels, stage.side) for stage in stages] == FAMILIES[name]
    assert [m.shape for m in maps] == [(2, c, s, s) for c, s in FAMILIES[name]]
    assert torch.equal(maps[-1], found)
    expected = what_the_network_pools(network, frames)
    assert found.ndim == 4 and found.shape[:2] == (2, backbone.dim)
    assert backbone.shape(2, side) == found.shape
    assert expected.abs().max() > 0
    assert relative_error(found if expected.ndim == 4 else found.mean((2, 3)), expected) < 1e-5


def test_maps_need_not_be_square() -> None:
    assert build_backbone("resnet18", "none").eval()(torch.zeros(1, 2, 3, 64, 96)).shape == (1, 2, 512, 2, 3)


def test_a_new_backbone_trains() -> None:
    backbone = build_backbone(SMALL, "none")
    assert backbone.training and all(m.training for m in backbone.modules())
    assert all(p.requires_grad for p in backbone.parameters())


@pytest.mark.parametrize("name", ["vit_b_16", "maxvit_t"])
def test_vision_transformers_of_one_input_side_are_refused(name: str) -> None:
    assert name not in backbone_names()
    with pytest.raises(UsageError, match=f"'{name}' does not map frames and regions of any side") as caught:
        build_backbone(name, "none")
    assert "resnet50" in caught.value.hint


def test_a_misspelt_network_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown backbone 'resnet5O'") as caught:
        build_backbone("resnet5O", "none")
    assert "did you mean 'resnet5" in caught.value.hint


@look
def test_an_input_too_small_for_the_network_is_refused(look: Look) -> None:
    with pytest.raises(UsageError, match="16 x 16 pixels are too few for the backbone 'squeezenet1_1'") as caught:
        look(build_backbone("squeezenet1_1", "none"), 16)
    assert "model.region.side" in caught.value.hint


class Faulty(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("the driver has died")


@look
def test_a_fault_that_is_not_the_size_comes_through(look: Look) -> None:
    backbone = FrameBackbone(nn.Sequential(nn.Conv2d(3, 4, 1), Faulty()), 4, "faulty")
    with pytest.raises(RuntimeError, match="the driver has died"):
        look(backbone, 64)
    assert all(module.training for module in backbone.modules())


# Weights


def write(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


def in_half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


@pytest.mark.parametrize(
    "form",
    ["other classes", "no classifier", "float16", "module prefix", "wrapped", "no counters", "safetensors"],
)
def test_weights_load_in_every_form_they_come_in(form: str, tmp_path: Path) -> None:
    network = small_network()
    state, file = body(network), tmp_path / "weights.pth"
    if form == "safetensors":
        file = tmp_path / "weights.safetensors"
        save_file(state, file)
    else:
        forms = {
            "other classes": network.state_dict(),
            "no classifier": state,
            "float16": in_half(state),
            "module prefix": {f"module.{k}": v for k, v in state.items()},
            "wrapped": {"state_dict": state, "epoch": 3},
            "no counters": OrderedDict((k, v) for k, v in state.items() if not k.endswith("num_batches_tracked")),
        }
        write(file, forms[form])
    backbone = build_backbone(SMALL, file)
    expected = [v for k, v in state.items() if not k.endswith("num_batches_tracked")]
    found = [v for k, v in backbone.trunk.state_dict().items() if not k.endswith("num_batches_tracked")]
    assert all(v.dtype == torch.float32 for v in found)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b.half().float() if form == "float16" else b)


def test_weights_of_another_network_are_refused_by_their_first_wrong_tensor(tmp_path: Path) -> None:
    file = write(tmp_path / "x.pth", body(make_network("resnet18")))
    with pytest.raises(DataError, match=rf"does not fit the backbone {SMALL}: .*first 'conv1\.0\.weight'") as caught:
        build_backbone(SMALL, file)
    assert "model.backbone" in caught.value.hint


def test_weights_of_the_next_larger_network_are_refused_by_shape_or_name(tmp_path: Path) -> None:
    file = write(tmp_path / "x.pth", body(make_network("shufflenet_v2_x1_0")))
    with pytest.raises(DataError, match=r"of another form, first 'stage2\.0\.branch1"):
        build_backbone(SMALL, file)


def test_one_missing_tensor_is_named(tmp_path: Path) -> None:
    state = body(small_network())
    del state["conv5.1.running_var"]
    with pytest.raises(DataError, match=r"279 of 280 tensors do; 1 missing, first 'conv5\.1\.running_var'"):
        build_backbone(SMALL, write(tmp_path / "x.pth", state))


def test_no_file_is_refused() -> None:
    with pytest.raises(DataError, match=r"no weights at nowhere\.pth") as caught:
        build_backbone(SMALL, "nowhere.pth")
    assert "imagenet" in caught.value.hint


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_file_is_refused(ending: str, damage: str, tmp_path: Path) -> None:
    file, state = tmp_path / f"x.{ending}", {"a": torch.zeros(100)}
    save_file(state, file) if ending == "safetensors" else torch.save(state, file)
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"<html>404</html>"}[damage])
    with pytest.raises(DataError, match=rf"cannot read the weights .*x\.{ending}") as caught:
        build_backbone(SMALL, file)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"state_dict": {"a": "b"}}])
def test_a_file_without_a_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no state dict"):
        build_backbone(SMALL, write(tmp_path / "x.pth", content))


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_nothing_a_weights_file_holds_is_executed(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "proof")))
    assert (tmp_path / "proof").exists()  # the trap works
    file = write(tmp_path / "x.pth", {"a": torch.zeros(1), "trap": Trap(tmp_path / "sprung")})
    with pytest.raises(DataError):
        build_backbone(SMALL, file)
    assert not (tmp_path / "sprung").exists()


def test_a_failed_download_is_a_data_error_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torchvision.models, "get_model", no_network)
    with pytest.raises(DataError, match="cannot download the weights of resnet50") as caught:
        build_backbone("resnet50", "imagenet")
    assert "model.weights" in caught.value.hint


@pytest.mark.parametrize(
    ("file", "name"), [("mobilenet_v2.pth", "mobilenet_v2"), ("resnet50_finetuned_fp16.pth", "resnet50")]
)
def test_real_weights_load_and_tell_pictures_apart(file: str, name: str, shared: Path) -> None:
    path = shared / "weights" / file
    if not path.is_file():
        pytest.skip(f"no {file} among the shared weights")
    backbone = build_backbone(name, path).eval()
    pictures = torch.nn.functional.interpolate(torch.rand(3, 3, 6, 6, generator=seeded(1)), size=96)
    with torch.no_grad():
        vectors = nn.functional.normalize(backbone(pictures.unsqueeze(0))[0].mean((2, 3)), dim=-1)
    cosine = vectors @ vectors.T
    assert vectors.isfinite().all()
    assert cosine[~torch.eye(3, dtype=torch.bool)].max() < 0.97
    saved = torch.load(path, weights_only=True)
    first = next(iter(saved))
    assert torch.equal(next(iter(backbone.trunk.state_dict().values())), saved[first].float())
