"""What weights have seen: torchvision's own lists, lists beside files, classifiers of 400 classes, or nothing."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from fsar_cli.core.backbones import seen as module
from fsar_cli.core.backbones.seen import SeenClasses, list_of, seen_classes
from fsar_cli.errors import DataError
from fsar_cli.recipes import VIDEO_RECIPES

NET = "mobilenet_v3_small"


@pytest.mark.parametrize("name", [name for name in VIDEO_RECIPES if name != "i3d"])
def test_weights_of_video_networks_have_seen_the_classes_that_torchvision_lists(name: str) -> None:
    for weights in torchvision.models.get_model_weights(name):
        seen = seen_classes(name, weights.name.removesuffix("_V1").lower())
        assert seen == SeenClasses("Kinetics-400", tuple(weights.meta["categories"])) and len(seen.classes) == 400


def test_objects_are_no_actions_and_random_weights_have_seen_nothing() -> None:
    assert seen_classes("resnet50", "imagenet") == SeenClasses("ImageNet", ())
    assert seen_classes("r3d_18", "none") == seen_classes("resnet50", "none") == SeenClasses("", ())


@pytest.mark.parametrize("ending", [".pth", ".safetensors", ".v2.pt"])
def test_a_list_beside_the_weights_tells_and_the_weights_may_be_gone(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{ending}"
    list_of(path).write_text("kicking\n")
    assert seen_classes(NET, path) == SeenClasses(f"{path.stem}.classes.txt", ("kicking",))


@pytest.mark.parametrize(
    ("content", "classes"),
    [
        (b"", ()),
        (b"# none\n\n", ()),
        (b"kick\n\n  shot put  \n# remark\nkick\n", ("kick", "shot put")),
        (b"\xef\xbb\xbfkick\r\nthrow (a ball)\r\n", ("kick", "throw (a ball)")),
        ("Drücken".encode(), ("Drücken",)),
    ],
)
def test_forms_of_lists(content: bytes, classes: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "w.classes.txt").write_bytes(content)
    assert seen_classes(NET, tmp_path / "w.pth").classes == classes


@pytest.mark.parametrize("content", ["kick\n".encode("utf-16"), b"\xff\x00\x80"])
def test_a_list_that_is_no_text_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.classes.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"w\.classes\.txt is no text in UTF-8"):
        seen_classes(NET, tmp_path / "w.pth")


def test_a_list_that_cannot_be_read_is_said_in_the_systems_words(tmp_path: Path) -> None:
    (tmp_path / "w.classes.txt").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*w\.classes\.txt"):
        seen_classes(NET, tmp_path / "w.pth")


@pytest.mark.parametrize("key", ["logits.conv3d.bias", "module.logits.conv3d.bias", "head.1.bias"])
def test_a_file_with_400_outputs_for_a_network_of_video_is_of_kinetics(key: str, tmp_path: Path) -> None:
    save_file({key: torch.zeros(400), "Conv3d_1a_7x7.bias": torch.zeros(64)}, tmp_path / "w.safetensors")
    assert seen_classes("i3d", tmp_path / "w.safetensors") == seen_classes("r3d_18", "kinetics400")
    assert seen_classes(NET, tmp_path / "w.safetensors").classes is None, "frames of who knows what"
    (tmp_path / "w.classes.txt").write_text("mine")
    assert seen_classes("i3d", tmp_path / "w.safetensors").classes == ("mine",), "the user knows best"


@pytest.mark.parametrize("content", [None, b"damaged", {"logits.bias": torch.zeros(51)}, {"x.bias": torch.ones(400)}])
def test_of_other_files_it_is_not_known(content: object, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        save_file(content, path)
    assert seen_classes("i3d", path) == SeenClasses("w.safetensors", None)


def test_the_real_i3d_has_seen_kinetics(shared: Path) -> None:
    path = shared / "weights/i3d_kinetics400_fp16.safetensors"
    if not path.is_file():
        pytest.skip("no weights of I3D")
    assert "punching person (boxing)" in seen_classes("i3d", path).classes


@pytest.mark.parametrize(
    ("labels", "classes"),
    [({0: "abseiling", 1: "kick"}, ("abseiling", "kick")), ({0: "LABEL_0", 1: "LABEL_1"}, None), (None, None)],
)
def test_networks_of_transformers_have_their_classes_in_their_config(monkeypatch, labels, classes):
    monkeypatch.setattr(module, "hf_config", lambda name: SimpleNamespace(id2label=labels))
    assert seen_classes("hf:some/video", "pretrained") == SeenClasses("hf:some/video", classes)


def test_what_networks_of_timm_have_seen_is_not_known():
    assert seen_classes("timm:vit_tiny_patch16_224", "pretrained") == SeenClasses("timm:vit_tiny_patch16_224", None)
