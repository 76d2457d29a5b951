"""Files of weights: every wrapping they come in is taken off, and what is none is said to be what it is."""

import io
import tarfile
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from fsar_cli.core.backbones import weights
from fsar_cli.core.backbones.build import build_backbone
from fsar_cli.core.backbones.image import image_names
from fsar_cli.core.backbones.weightfile import read_state
from fsar_cli.errors import DataError

SMALL = "shufflenet_v2_x0_5"


@cache
def state(name: str = SMALL) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchvision.models.get_model(name, weights=None).state_dict()


def below(*names: str) -> dict[str, Tensor]:
    return {".".join((*names, key)): tensor for key, tensor in state().items()}


WRAPPED = {
    "backbone.": lambda: {"state_dict": below("backbone"), "meta": {}},
    "module.backbone.": lambda: {"state_dict": below("module", "backbone")},
    "encoder_q. beside encoder_k.": lambda: {"state_dict": below("module", "encoder_q") | {"queue": torch.zeros(2)}},
    "model in a checkpoint": lambda: {"model": state(), "optimizer": {"state": {}}, "epoch": 3},
    "teacher of two": lambda: {
        "teacher": below("backbone"),
        "student": {k: v * 2 for k, v in below("backbone").items()},
    },
    "below a name nobody knows": lambda: below("net", "visual", "trunk"),
    "one unknown key": lambda: {"weights_of_epoch_9": state()},
}


@pytest.mark.parametrize("form", WRAPPED)
def test_weights_of_other_programs_are_taken_out_of_their_wrapping(form: str, tmp_path: Path) -> None:
    torch.save(WRAPPED[form](), tmp_path / "x.pth")
    found = build_backbone(SMALL, tmp_path / "x.pth").trunk.state_dict()
    assert torch.equal(found["0.0.weight"], state()["conv1.0.weight"])
    assert torch.equal(found["5.1.running_var"], state()["conv5.1.running_var"])


def test_names_of_mmaction2s_resnet_are_understood(tmp_path: Path) -> None:
    def theirs(name: str) -> str:
        for kind, other in (("conv", "conv"), ("bn", "bn")):
            for number in "123":
                name = name.replace(f"{kind}{number}.", f"conv{number}.{other}.")
        return "backbone." + name.replace("downsample.0.", "downsample.conv.").replace(
            "downsample.1.", "downsample.bn."
        )

    torch.save({"state_dict": {theirs(k): v for k, v in state("resnet18").items()}}, tmp_path / "x.pth")
    found = build_backbone("resnet18", tmp_path / "x.pth").trunk.state_dict()
    assert torch.equal(found["7.1.bn2.weight"], state("resnet18")["layer4.1.bn2.weight"])
    assert torch.equal(found["5.0.downsample.0.weight"], state("resnet18")["layer2.0.downsample.0.weight"])


def test_googlenets_own_names_are_not_taken_for_mmaction2s(tmp_path: Path) -> None:
    given = torchvision.models.googlenet(weights=None, init_weights=False).state_dict()
    torch.save(given, tmp_path / "x.pth")
    found = build_backbone("googlenet", tmp_path / "x.pth").trunk.state_dict()
    assert any(torch.equal(tensor, given["conv1.conv.weight"]) for tensor in found.values())


def zipped(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return data.getvalue()


def tarred() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"))
    return data.getvalue()


def saved(save, *content: object) -> bytes:
    data = io.BytesIO()
    save(*content, data)
    return data.getvalue()


def numpy_file() -> bytes:
    data = io.BytesIO()
    np.save(data, np.zeros(3))
    return data.getvalue()


NO_WEIGHTS = {
    "is a web page": lambda: b"\n<!DOCTYPE html><html>proxy login</html>",
    "is a pointer of git LFS": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "is empty": lambda: b"",
    "is JSON": lambda: b'{"error": "not found"}',
    "is an HDF5 file": lambda: b"\x89HDF\r\n\x1a\n" + bytes(64),
    "is a NumPy array": numpy_file,
    "is a NumPy archive": lambda: zipped("a.npy", "b.npy"),
    "is a zip archive without weights": lambda: zipped("readme.txt"),
    "is a tar archive": tarred,
    "is a gzip archive": lambda: b"\x1f\x8b\x08" + bytes(64),
    "is text that begins 'Not Found'": lambda: b"Not Found\n",
    "is a TorchScript archive": lambda: zipped("x/constants.pkl", "x/data.pkl"),
    "is a whole pickled model": lambda: saved(torch.save, nn.Linear(2, 2)),
    "is cut off": lambda: saved(torch.save, {"a": torch.zeros(100)})[:-200],
    "is damaged": lambda: b"\x80\x02}q\x00" + bytes(range(64)),
    "is a damaged or cut off safetensors file": lambda: (900).to_bytes(8, "little") + b'{"a": ',
}


@pytest.mark.parametrize("words", NO_WEIGHTS)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_what_is_no_file_of_weights_is_said_to_be_what_it_is_whatever_its_name(
    words: str, ending: str, tmp_path: Path
) -> None:
    file = tmp_path / f"x.{ending}"
    file.write_bytes(NO_WEIGHTS[words]())
    with pytest.raises(DataError, match=words) as caught:
        read_state(file)
    assert str(file) in caught.value.message and caught.value.hint


def test_a_folder_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder, not a file of weights"):
        read_state(tmp_path)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(DataError, match="is a run folder"):
        read_state(tmp_path)


def test_weights_of_another_network_are_told_by_its_name(tmp_path: Path) -> None:
    torch.save(state("resnet18"), tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"does not fit the backbone resnet34: 100 of 180 tensors do") as caught:
        build_backbone("resnet34", tmp_path / "x.pth")
    assert "these are weights of resnet18: set model.backbone=resnet18" in caught.value.hint


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused_with_their_tensor(number: float, tmp_path: Path) -> None:
    bad = {key: tensor.clone() for key, tensor in state().items()}
    bad["stage3.0.branch1.0.weight"].view(-1)[:2] = number
    save_file(bad, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match=r"holds NaN or infinite numbers: 2 in 1 tensor of \d+, first 'stage3\.0"):
        build_backbone(SMALL, tmp_path / "x.safetensors")


def test_a_nan_in_the_classifier_does_not_matter(tmp_path: Path) -> None:
    torch.save({k: v * float("nan") if k.startswith("fc.") else v for k, v in state().items()}, tmp_path / "x.pth")
    build_backbone(SMALL, tmp_path / "x.pth")


def test_a_broken_download_is_deleted_and_fetched_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    kept.parent.mkdir()
    kept.write_text("<html>proxy login</html>")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    asked = []

    def download(name: str, weights: str | None) -> nn.Module:
        asked.append(kept.exists())
        raise OSError("no route to host")

    monkeypatch.setattr(weights.torchvision.models, "get_model", download)
    with pytest.raises(DataError, match="was a broken download and has been deleted") as caught:
        weights.pretrained_network("resnet18", "imagenet", nn.Identity)
    assert asked == [False] and not kept.exists()
    assert str(kept.parent) in caught.value.hint


@pytest.mark.parametrize(
    "error",
    [PermissionError(13, "Permission denied", "/hub"), OSError(28, "No space left on device")],
)
def test_weights_that_cannot_be_kept_are_fetched_without_and_results_stay_alone(
    error: OSError, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    places = []

    def download(name: str, weights: str | None) -> nn.Module:
        places.append(Path(torch.hub.get_dir()))
        print("Downloading")
        if places[-1] == tmp_path:
            raise error
        return nn.Linear(1, 1)

    monkeypatch.setattr(weights.torchvision.models, "get_model", download)
    assert isinstance(weights.pretrained_network("resnet18", "imagenet", nn.Identity), nn.Linear)
    assert Path(torch.hub.get_dir()) == places[0] == tmp_path and not places[1].exists()
    said = capsys.readouterr()
    assert said.out == ""
    assert f"warning: {tmp_path}/checkpoints keeps nothing ({error.strerror}): going on without it\n" in said.err


def test_imagenet_is_the_librarys_default_of_every_network() -> None:
    """Some have later versions that are not: features alone, or heads on frozen features."""
    for name in image_names():
        assert weights.weights_of(name) == {"imagenet": torchvision.models.get_model_weights(name).DEFAULT}, name


# A RegNet reads numbers back while it is made, so it cannot be made without content.
@pytest.mark.parametrize("name", [name for name in image_names() if not name.startswith("regnet")])
def test_the_width_of_every_network_is_known_without_computing(name: str) -> None:
    with torch.device("meta"):
        assert build_backbone(name, "none").dim > 0
