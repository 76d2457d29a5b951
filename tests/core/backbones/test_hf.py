"""Networks of transformers: maps that are their last tokens, weights of every form, recipes, and what does not fit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fsar_cli.core.backbones.build import build_backbone
from fsar_cli.core.build import build_method, normalization
from fsar_cli.core.layers.checkpointing import blocks
from fsar_cli.engine.device import folded, place
from fsar_cli.errors import DataError, UsageError
from fsar_cli.extras import cached_first
from fsar_cli.recipes import recipe_of
from fsar_cli.settings import resolve
from tests.core_parts import filled, random_clips, seeded

transformers = pytest.importorskip("transformers", reason="no transformers: its tests skip")
SHAPE = {"patch_size": 16, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
PREDICTOR = {"pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
NAMES = ("videomae", "vjepa2")


def config(name: str, **changes: object) -> "transformers.PretrainedConfig":
    """32 px, 4 frames in pretraining."""
    if name == "videomae":
        sizes = {"image_size": 32, "num_frames": 4, "intermediate_size": 32}
        return transformers.VideoMAEConfig(**SHAPE | sizes | changes)
    return transformers.VJEPA2Config(**SHAPE | PREDICTOR | {"crop_size": 32, "frames_per_clip": 4} | changes)


def headed(name: str, **changes: object) -> nn.Module:
    """With a classifier, as a training has it."""
    kind = {"videomae": "VideoMAEForVideoClassification", "vjepa2": "VJEPA2ForVideoClassification"}[name]
    torch.manual_seed(0)
    return filled(getattr(transformers, kind)(config(name, **changes)))


def trunk_of(model: nn.Module) -> nn.Module:
    return model.videomae if hasattr(model, "videomae") else model.vjepa2


def folder_of(model: nn.Module, folder: Path) -> str:
    """The network's name, as transformers saves it with its processor."""
    model.save_pretrained(folder)
    video = model.config.model_type == "vjepa2"
    sizes = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
    mean = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3], "resample": 3 if video else 2}
    file = "video_preprocessor_config.json" if video else "preprocessor_config.json"
    (folder / file).write_text(json.dumps(sizes | mean))
    return f"hf:{folder}"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    recipe_of.cache_clear()


# Maps


@pytest.mark.parametrize(
    ("name", "changes", "frames"),
    [("videomae", {}, 4), ("videomae", {"use_mean_pooling": False}, 4), ("vjepa2", {}, 4), ("vjepa2", {}, 10)],
)
@torch.no_grad()
def test_maps_are_the_librarys_last_tokens(name: str, changes: dict, frames: int, tmp_path: Path) -> None:
    whole = headed(name, **changes)
    backbone = build_backbone(folder_of(whole, tmp_path), "pretrained").eval()
    clips = torch.rand(2, frames, 3, 32, 32, generator=seeded(0))
    maps = backbone(clips)
    assert maps.shape[1:] == backbone.shape(frames, 32) == (frames // 2, 24, 2, 2) and backbone.dim == 24
    last = (trunk_of(whole) if name == "videomae" else trunk_of(whole).encoder)(clips).last_hidden_state
    for t in range(frames // 2):
        for row in range(2):
            for column in range(2):
                expected = last[:, 4 * t + 2 * row + column]
                assert torch.allclose(maps[:, t, :, row, column], expected, atol=1e-5 * float(last.abs().max()))


def small(backbone: str, **changes: object) -> dict:
    return {
        "model.backbone": backbone, "model.method": "keyregion", "clip.frames": 4, "model.region.side": 16,
        "model.region.random_probability": 0.0, "model.region.gain": 1e-3, "model.match.key_dim": 12,
        "model.match.dropout": 0.0, "model.region.stop_gradient": False,
    } | changes  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_regions_are_resized_to_the_one_side_and_gradients_reach_the_crop(name: str, tmp_path: Path) -> None:
    found = small(folder_of(headed(name), tmp_path))
    built = build_method(resolve(flags=found, environ={}).config).train()
    assert built.features.steps == 2
    encoded = built.encode(random_clips(3, 4, 32))
    scores = built.match(encoded.take(torch.tensor([[[0], [1]]])), encoded.take(torch.tensor([[2]])))
    built.loss(scores, torch.tensor([[0]])).backward()
    assert max(float(p.grad.abs().max()) for p in built.features.relation.parameters() if p.grad is not None) > 0
    trunk = built.features.local_backbone.trunk
    assert all(p.grad is not None for p in trunk.parameters()), "no parameter is idle"
    frozen = build_method(resolve(flags=found | {"model.freeze_backbone": True}, environ={}).config).train()
    assert not any(p.requires_grad for p in frozen.features.global_backbone.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_blocks_can_be_computed_again(name: str, tmp_path: Path) -> None:
    backbone = build_backbone(folder_of(headed(name), tmp_path), "pretrained").train()
    assert len(blocks(backbone.trunk)) == 4  # tokens, two layers, the end
    results = []
    for again in (False, True):
        backbone.checkpointing = again
        backbone.zero_grad()
        backbone(random_clips(2, 4, 32)).square().mean().backward()
        results.append([p.grad.clone() for p in backbone.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_folding_layout_and_stages_leave_maps_what_they_are(name: str, tmp_path: Path) -> None:
    found = small(folder_of(headed(name), tmp_path), **{"model.method": "prototype"})
    method = build_method(resolve(flags=found, environ={}).config).eval()
    clips = random_clips(2, 4, 32)
    backbone, plain = method.features.global_backbone, method.features(clips).maps
    place(method, torch.device("cpu"), channels_last=True)
    with folded(method):
        assert torch.allclose(method.features(clips).maps, plain, atol=1e-5 * float(plain.abs().max()))
    (stage,) = backbone.stages(32)
    assert (stage.channels, stage.side) == (24, 2)
    assert torch.allclose(backbone.maps(clips, [stage])[0], plain, atol=1e-5 * float(plain.abs().max()))


# Weights


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, form) for name in NAMES for form in ("head", "safetensors", "wrapped", "half")),
        ("videomae", "before 5"),
    ],
)
@torch.no_grad()
def test_a_file_of_the_network_is_read_with_or_without_its_head(name: str, form: str, tmp_path: Path) -> None:
    whole = headed(name)
    backbone, path = folder_of(whole, tmp_path / "x"), tmp_path / "x.pth"
    state = whole.state_dict() if form == "head" else trunk_of(whole).state_dict()
    if form == "before 5":  # transformers 4 called VideoMAE's biases so
        state = {k.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): v for k, v in state.items()}
    if form == "safetensors":
        save_file(state, path)
    else:
        half = {k: v.half() for k, v in state.items()}
        torch.save({"wrapped": {"state_dict": state}, "half": half}.get(form, state), path)
    expected = build_backbone(backbone, "pretrained").state_dict()
    for key, tensor in build_backbone(backbone, path).state_dict().items():
        assert tensor.dtype == torch.float32 and torch.allclose(tensor, expected[key], atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_lack_tensors_or_are_of_another_form_are_refused(name: str, tmp_path: Path) -> None:
    whole = headed(name)
    backbone, path = folder_of(whole, tmp_path / "x"), tmp_path / "x.pth"
    state = trunk_of(whole).state_dict()
    torch.save({k: v for k, v in state.items() if "layer.1" not in k}, path)
    with pytest.raises(DataError, match=r"does not fit the backbone hf:.* missing, first 'encoder\.layer\.1\."):
        build_backbone(backbone, path)
    torch.save({k: v[:5] if k.startswith("encoder.layer.0") else v for k, v in state.items()}, path)
    with pytest.raises(DataError, match=r"of another form, first 'encoder\.layer\.0\..*not \[24"):
        build_backbone(backbone, path)
    torch.save({k: v * float("nan") for k, v in state.items()}, path)
    with pytest.raises(DataError, match="holds NaN or infinite numbers"):
        build_backbone(backbone, path)


def test_loading_says_nothing_and_leaves_the_librarys_reports_as_they_were(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    logging = transformers.utils.logging
    name = folder_of(headed("videomae"), tmp_path)
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    capfd.readouterr()
    build_backbone(name, "pretrained")
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_run_needs_the_config_alone(name: str, tmp_path: Path) -> None:
    found = resolve(flags=small(folder_of(headed(name), tmp_path)), environ={}).config
    first = build_method(found).eval()
    (tmp_path / "model.safetensors").unlink()
    second = build_method(found, pretrained=False, seed=2).eval()
    second.load_state_dict(first.state_dict())
    clips = random_clips(2, 4, 32)
    assert torch.equal(first.features(clips).frames, second.features(clips).frames)
    with pytest.raises(DataError, match="cannot get the weights of hf:"):
        build_method(found)


# Recipes


@pytest.mark.parametrize(("name", "frames"), [("videomae", 4), ("vjepa2", 4)])
def test_the_processor_decides_how_frames_arrive(name: str, frames: int, tmp_path: Path) -> None:
    backbone = folder_of(headed(name), tmp_path)
    found = resolve(flags={"model.backbone": backbone}, environ={})
    clip, model = found.config.clip, found.config.model
    assert (clip.frames, clip.size, clip.short_side, model.weights) == (frames, 32, 36, "pretrained")
    assert clip.interpolation == ("bicubic" if name == "vjepa2" else "bilinear")
    assert model.match.cardinalities == (2,)
    assert normalization(model).mean == (0.4, 0.5, 0.6) and normalization(model).deviation == (0.2, 0.25, 0.3)
    assert found.origins["clip.size"] == f"recipe of {backbone} (transformers' processor)"


def test_a_processor_that_leaves_its_sizes_out_has_those_of_the_network(tmp_path: Path) -> None:
    backbone = folder_of(headed("videomae"), tmp_path)
    file = tmp_path / "preprocessor_config.json"
    given = json.loads(file.read_text())
    for sizes in ({"size": None, "crop_size": None}, {"size": {"longest_edge": 50}}, {"size": 32}):
        file.write_text(json.dumps(given | sizes))
        recipe_of.cache_clear()
        assert recipe_of(backbone, "none").size == 32
    file.write_text(json.dumps(given | {"image_mean": None}))
    recipe_of.cache_clear()
    with pytest.raises(DataError, match="names no image_mean and image_std"):
        recipe_of(backbone, "none")


def test_v_jepa_2_reads_16_frames_where_nobody_says_how_many(tmp_path: Path) -> None:
    name = folder_of(headed("vjepa2", frames_per_clip=64), tmp_path)
    assert resolve(flags={"model.backbone": name}, environ={}).config.clip.frames == 16


# What does not fit


def test_frames_and_sides_that_it_does_not_take_are_refused(tmp_path: Path) -> None:
    videomae, vjepa2 = (build_backbone(folder_of(headed(n), tmp_path / n), "none") for n in NAMES)
    with pytest.raises(UsageError, match="takes clips of 4 frames, not 6"):
        videomae.shape(6, 32)
    with pytest.raises(UsageError, match="makes a step of 2 frames: clips of 5 do not fit"):
        vjepa2.shape(5, 32)
    for backbone in (videomae, vjepa2):
        with pytest.raises(UsageError, match="takes inputs of 32 x 32 pixels, not 64 x 64"):
            backbone.shape(4, 64)


def test_networks_of_other_kinds_and_other_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "auto_map": {"AutoModel": "evil.Model"}}')
    with pytest.raises(UsageError, match="is of the kind 'bert', and VideoMAE and V-JEPA 2 alone can be taken"):
        build_backbone(f"hf:{tmp_path}", "none")
    name = folder_of(headed("videomae"), tmp_path)
    with pytest.raises(UsageError, match="has no weights 'kinetics400', but `pretrained`"):
        build_backbone(name, "kinetics400")


def test_folders_without_configs_and_names_that_nobody_knows_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"holds no config\.json"):
        build_backbone(f"hf:{tmp_path}", "none")
    name = folder_of(headed("videomae"), tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(DataError, match="names no image_mean and image_std"):
        recipe_of(name, "none")
    (tmp_path / "preprocessor_config.json").write_text("not JSON")
    with pytest.raises(DataError, match="is no JSON"):
        recipe_of(name, "none")

    (tmp_path / "config.json").write_text('{"model_type": "videomae", "hidden_size": "wide"}')
    with pytest.raises(DataError, match=r"does not take the config of .*hidden_size"):
        build_backbone(name, "none")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for unknown in ("some/where", "./no/such/folder"):
        with pytest.raises(DataError, match=f"there is no folder '{unknown}', and the hub has no such network or"):
            build_backbone(f"hf:{unknown}", "none")


def test_a_name_is_read_from_the_hubs_cache_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache as the hub's library lays it out."""
    place = tmp_path / "models--some--where"
    folder_of(headed("vjepa2"), place / "snapshots/0123abc")
    (place / "refs").mkdir()
    (place / "refs/main").write_text("0123abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve(flags={"model.backbone": "hf:some/where"}, environ={}).config.clip.size == 32
    assert build_backbone("hf:some/where", "pretrained").shape(4, 32).steps == 2


def test_the_cache_is_asked_before_the_hub() -> None:
    asked = []

    def fetch(cached: bool, there: bool) -> str:
        asked.append(cached)
        if cached and not there:
            raise OSError("not in the cache")
        return "found"

    assert cached_first(lambda cached: fetch(cached, True)) == "found" and asked == [True]
    assert cached_first(lambda cached: fetch(cached, False)) == "found" and asked == [True, True, False]


def test_without_transformers_a_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> object:
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr("fsar_cli.extras.import_module", without)
    with pytest.raises(UsageError, match="'hf:some/where' needs transformers, which cannot be imported") as caught:
        resolve(flags={"model.backbone": "hf:some/where"}, environ={})
    assert "pip install 'fsar[transformers]'" in caught.value.hint


def test_the_positions_of_videomae_move_with_the_network_and_are_no_weight(tmp_path: Path) -> None:
    """A plain tensor would stay on the CPU, and a GPU would wait for it with every batch."""
    trunk = build_backbone(folder_of(headed("videomae"), tmp_path), "none").trunk
    tables = [name for name, _ in trunk.named_buffers() if name.endswith("position_embeddings")]
    assert len(tables) == 1 and tables[0] not in trunk.state_dict()
