"""Networks of timm: maps that its own head turns into its own logits, sides, weights, recipes, what does not fit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fsar_cli.cli.app import main
from fsar_cli.core.backbones.build import build_backbone
from fsar_cli.core.build import build_method, normalization
from fsar_cli.core.layers.checkpointing import NORMS
from fsar_cli.engine.device import folded, place
from fsar_cli.errors import DataError, UsageError
from fsar_cli.recipes import recipe_of
from fsar_cli.settings import resolve
from tests.core_parts import filled, random_clips, seeded

timm = pytest.importorskip("timm", reason="no timm: its tests skip")
VIT = "timm:test_vit"  # 160 px, patches of 16, a class token
SMALL = {
    "model.backbone": VIT, "model.weights": "none", "model.method": "keyregion", "clip.frames": 4, "clip.size": 64,
    "clip.short_side": 64, "model.region.side": 32, "model.region.random_probability": 0.0, "model.region.gain": 1e-3,
    "model.match.key_dim": 12, "model.match.dropout": 0.0, "model.region.stop_gradient": False,
}  # fmt: skip


def network(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return filled(timm.create_model(name, **options)).eval()


def file_of(net: nn.Module, path: Path) -> Path:
    torch.save(net.state_dict(), path)
    return path


# Maps


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_vit2", {"dynamic_img_size": True, "global_pool": "avg"}),  # norm after the pooling
        ("test_convnext", {}),
        ("test_resnet", {}),
        ("test_mambaout", {}),
    ],
)
@torch.no_grad()
def test_the_librarys_own_head_gives_its_own_logits_of_the_maps(name: str, options: dict, tmp_path: Path) -> None:
    whole = network(name, **options)
    backbone = build_backbone(f"timm:{name}", file_of(whole, tmp_path / "x.pth")).eval()
    clips = torch.rand(2, 3, 3, 96, 96, generator=seeded(1))
    maps = backbone(clips)
    assert maps.shape[1:] == backbone.shape(3, 96) and maps.shape[2] == backbone.dim
    frames = maps.flatten(0, 1)
    if "vit" in name:
        found = whole.head(whole.fc_norm(frames.mean((2, 3))))
    else:
        found = whole.forward_head(frames if name != "test_mambaout" else frames.permute(0, 2, 3, 1))
    expected = whole(clips.flatten(0, 1))
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


@torch.no_grad()
def test_tokens_of_a_transformer_lie_in_the_maps_where_their_patches_do(tmp_path: Path) -> None:
    whole = network("test_vit", dynamic_img_size=True)
    backbone = build_backbone(VIT, file_of(whole, tmp_path / "x.pth")).eval()
    frames = torch.rand(2, 3, 64, 96, generator=seeded(2))
    tokens = whole.forward_features(frames)[:, 1:]  # normed, without the class token
    maps = backbone(frames[None])[0]
    assert maps.shape == (2, 64, 4, 6)
    for row in range(4):
        for column in range(6):
            assert torch.allclose(maps[:, :, row, column], tokens[:, 6 * row + column], atol=1e-5)


# What the project does with a trunk


def test_gradients_reach_the_crop_and_a_frozen_trunk_gets_none() -> None:
    built = build_method(resolve(flags=SMALL, environ={}).config).train()
    encoded = built.encode(random_clips(3, 4, 64))
    assert encoded["boxes"].shape == (3, 4, 4)
    scores = built.match(encoded.take(torch.tensor([[[0], [1]]])), encoded.take(torch.tensor([[2]])))
    built.loss(scores, torch.tensor([[0]])).backward()
    assert max(float(p.grad.abs().max()) for p in built.features.relation.parameters() if p.grad is not None) > 0
    trunk = built.features.local_backbone.trunk
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trunk.parameters()), "no parameter is idle"
    frozen = build_method(resolve(flags=SMALL | {"model.freeze_backbone": True}, environ={}).config).train()
    assert not any(p.requires_grad for p in frozen.features.global_backbone.parameters())
    assert not frozen.features.global_backbone.training


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_resnet"])
def test_computing_blocks_again_changes_neither_gradients_nor_statistics(name: str) -> None:
    clips = random_clips(2, 2, 64)
    results = []
    for again in (False, True):
        torch.manual_seed(0)
        backbone = build_backbone(f"timm:{name}", "none").train()
        backbone.checkpointing = again
        backbone(clips).square().mean().backward()
        norms = [m.running_mean for m in backbone.modules() if isinstance(m, NORMS)]
        results.append([*(p.grad for p in backbone.parameters() if p.grad is not None), *norms])
    assert len(results[0]) == len(results[1]) > 0
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*results, strict=True))


def test_transformers_keep_the_inputs_of_blocks_alone() -> None:
    def kept(again: bool) -> int:
        backbone, sizes = build_backbone(VIT, "none").train(), []
        backbone.checkpointing = again
        own = {p.data_ptr() for p in backbone.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(0 if t.data_ptr() in own else t.nbytes) or t, lambda t: t
        ):
            backbone(random_clips(1, 2, 64))
        return sum(sizes)

    assert kept(True) < kept(False) / 3


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_efficientnet"])
@torch.no_grad()
def test_folding_and_layout_leave_maps_what_they_are(name: str) -> None:
    config = resolve(flags=SMALL | {"model.backbone": f"timm:{name}", "model.method": "prototype"}, environ={}).config
    method = build_method(config).eval()
    clips = random_clips(2, 4, 64)
    plain = method.features(clips).maps
    place(method, torch.device("cpu"), channels_last=True)
    with folded(method):
        assert torch.allclose(method.features(clips).maps, plain, atol=1e-4 * float(plain.abs().max()))


@pytest.mark.parametrize("method", ["sloshnet", "trx"])
def test_methods_that_take_stages_get_the_one_there_is(method: str) -> None:
    built = build_method(resolve(flags=SMALL | {"model.method": method}, environ={}).config).eval()
    assert len(built.encode(random_clips(2, 4, 64))) == 2
    backbone = build_backbone(VIT, "none").eval()
    (stage,) = backbone.stages(64)
    assert (stage.channels, stage.side) == (64, 4)
    assert torch.equal(backbone.maps(random_clips(1, 2, 64), [stage])[0], backbone(random_clips(1, 2, 64)))


# Weights


@pytest.mark.parametrize("form", ["pth", "safetensors", "wrapped", "half"])
@torch.no_grad()
def test_a_file_of_the_network_is_read_whatever_its_wrapping(form: str, tmp_path: Path) -> None:
    whole = network("test_vit", num_classes=5)
    state, path = whole.state_dict(), tmp_path / "x"
    if form == "safetensors":
        save_file(state, path)
    else:
        wrapped = {"model": {f"module.{k}": v for k, v in state.items()}}
        half = {k: v.half() for k, v in state.items()}
        torch.save({"pth": state, "wrapped": wrapped, "half": half}[form], path)
    found = build_backbone(VIT, path).trunk.network.state_dict()
    assert found.keys() == state.keys() - {"head.weight", "head.bias"}
    assert all(torch.allclose(tensor, state[key], atol=1e-2) for key, tensor in found.items())


def test_a_file_that_lacks_tensors_or_is_of_another_network_is_refused(tmp_path: Path) -> None:
    state = network("test_vit").state_dict()
    torch.save({k: v for k, v in state.items() if "blocks.3" not in k}, tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"does not fit the backbone timm:test_vit: .* missing, first 'blocks\.3"):
        build_backbone(VIT, tmp_path / "x.pth")
    with pytest.raises(DataError, match="does not fit the backbone timm:test_vit") as caught:
        build_backbone(VIT, file_of(network("test_convnext"), tmp_path / "y.pth"))
    assert caught.value.hint == "it takes a state dict of timm:test_vit"


def test_weights_that_cannot_be_fetched_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    make = timm.create_model

    def failing(*args: object, pretrained: bool = False, **options: object) -> nn.Module:
        if pretrained:
            raise ConnectionError("no route to host\nand much more")
        return make(*args, **options)

    monkeypatch.setattr(timm, "create_model", failing)
    with pytest.raises(DataError) as caught:
        build_backbone(VIT, "pretrained")
    assert caught.value.message == "cannot get the weights of timm:test_vit: no route to host"


def test_a_run_is_read_again_without_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm.models, "load_pretrained", None)
    config = resolve(flags=SMALL | {"model.weights": "pretrained"}, environ={}).config
    first, second = (build_method(config, pretrained=False, seed=seed).eval() for seed in (1, 2))
    second.load_state_dict(first.state_dict())
    clips = random_clips(2, 4, 64)
    assert torch.equal(first.features(clips).frames, second.features(clips).frames)


# Recipes


@pytest.mark.parametrize("name", ["test_vit", "vit_small_patch14_dinov2", "vit_base_patch16_clip_224.openai"])
def test_recipes_are_those_of_the_library(name: str) -> None:
    recipe, data = recipe_of(f"timm:{name}", "none"), timm.data.resolve_data_config(model=timm.create_model(name))
    assert recipe.size == data["input_size"][-1] and recipe.weights == "pretrained"
    assert (recipe.normalization.mean, recipe.normalization.deviation) == (data["mean"], data["std"])
    resized = timm.data.create_transform(**data).transforms[0].size
    assert recipe.interpolation == data["interpolation"]
    assert recipe.short_side == (resized if isinstance(resized, int) else min(resized))


def test_settings_say_whose_recipe_it_is_and_regions_fit_the_patches() -> None:
    found = resolve(flags={"model.backbone": "timm:vit_small_patch14_dinov2"}, environ={})
    clip, model = found.config.clip, found.config.model
    assert (clip.frames, clip.size, clip.short_side, model.region.side) == (8, 518, 518, 294)
    assert model.weights == "pretrained" and normalization(model).mean == (0.485, 0.456, 0.406)
    assert found.origins["clip.size"] == "recipe of timm:vit_small_patch14_dinov2 (timm's pretrained_cfg)"
    small = resolve(flags={"model.backbone": "timm:vit_small_patch14_dinov2", "clip.size": 224}, environ={}).config
    assert (small.clip.size, small.clip.short_side, small.model.region.side) == (224, 224, 126)


# What does not fit


def test_sides_that_patches_do_not_divide_are_refused_with_the_nearest_that_they_do() -> None:
    with pytest.raises(UsageError, match="does not take 100 x 100 pixels: its patches must divide the side") as caught:
        build_method(resolve(flags=SMALL | {"clip.size": 100, "clip.short_side": 100}, environ={}).config)
    assert "96 or 112" in caught.value.hint
    with pytest.raises(UsageError, match="does not take 40 x 40 pixels") as caught:
        build_method(resolve(flags=SMALL | {"model.region.side": [32, 40]}, environ={}).config)
    assert "32 or 48" in caught.value.hint
    with pytest.raises(UsageError, match="takes inputs of 160 x 160 pixels, not 64 x 64"):
        build_backbone("timm:test_vit_relpos", "none").shape(1, 64)


@pytest.mark.parametrize(
    ("name", "weights", "message", "hint"),
    [
        ("timm:vit_smal_patch14_dinov2", "none", "timm has no network 'vit_smal_patch14_dinov2'", "vit_small_patch14"),
        ("timm:test_vit.r161", "none", "timm has no weights 'test_vit.r161'", "test_vit.r160_in1k"),
        (VIT, "imagenet", "timm:test_vit has no weights 'imagenet', but `pretrained`", "none"),
        ("resnet50", "pretrained", "resnet50 has no weights 'pretrained', but `imagenet`", "none"),
        ("timm:hiera_tiny_224", "none", "'timm:hiera_tiny_224' gives no map of its last block", "ConvNeXt"),
    ],
)
def test_names_and_words_that_are_unknown_are_refused(name: str, weights: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_backbone(name, weights)
    assert message in caught.value.message and hint in caught.value.hint


def test_without_timm_a_sentence_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    def without(name: str) -> object:
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr("fsar_cli.extras.import_module", without)
    monkeypatch.setattr("sys.argv", ["fsar", "config", "show", "--set", f"model.backbone={VIT}"])
    monkeypatch.chdir(tmp_path)
    recipe_of.cache_clear()
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert "needs timm, which cannot be imported (No module named 'timm')" in " ".join(told.split())
    assert "pip install 'fsar[timm]'" in " ".join(told.split())
