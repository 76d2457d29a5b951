"""`fsar export --onnx` and `--runtime onnx` as users run them."""

import shutil
import sys
from pathlib import Path

import pytest
from onnx_parts import IMAGES, Place, make_place, make_videos, tiny_networks

from fsar_cli.recognise import onnxexport


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Place, Path]:
    """A folder with a run and a support file, and its videos. Read only."""
    folder = tmp_path_factory.mktemp("own")
    videos = make_videos(folder / "videos")
    with tiny_networks():
        values = {"model.method": "prototype", "model.backbone": IMAGES}
        return make_place(folder / "place", videos, **values), videos


@pytest.fixture(scope="module")
def graphs() -> dict:
    """Graphs that were exported: of equal networks one will do."""
    return {}


@pytest.fixture
def here(made, graphs, fsar, tmp_path, monkeypatch) -> Path:
    """The current folder with run/, support.fsar and clip.mp4, and tiny networks behind their names."""
    place, videos = made
    shutil.copytree(place.run, tmp_path / "run")
    shutil.copy(place.support, tmp_path / "support.fsar")
    shutil.copy(videos / "snow" / "1.mp4", tmp_path / "clip.mp4")
    true = onnxexport.onnx_model

    def once(*arguments):
        if "model" not in graphs:
            graphs["model"] = true(*arguments).SerializeToString()
        import onnx

        return onnx.load_from_string(graphs["model"])

    monkeypatch.setattr(onnxexport, "onnx_model", once)
    with tiny_networks():
        yield tmp_path


def test_the_file_lies_beside_the_support_file_and_is_used_from_there(here, fsar) -> None:
    result = fsar("export", "--onnx")
    assert result.code == 0, result.err
    assert result.out.startswith("support.fsar.onnx: prototype on mobilenet_v2, ")
    assert "clips [batch,4,3,32,32] -> frames [batch,1,10], boxes [batch,4,4], all float32" in result.out
    assert "checked against PyTorch on 6 clips in batches of 2, 1, 3: largest difference" in result.out
    plain, other = (fsar("classify", "clip.mp4", "--json", "--runtime", name) for name in ("torch", "onnx"))
    assert plain.code == other.code == 0, other.err
    wanted, given = (answer.json["clips"][0] for answer in (plain, other))
    assert wanted["class"] == given["class"]
    assert wanted["scores"] == pytest.approx(given["scores"], abs=1e-4)


def test_a_run_is_exported_into_its_folder_and_fits_its_support_file(here, fsar) -> None:
    result = fsar("export", "run", "--onnx", "--json")
    assert result.code == 0, result.err
    assert result.json["command"] == "export"
    assert result.json["file"] == str(Path("run") / "encoder.onnx")
    assert result.json["bytes"] == (here / "run" / "encoder.onnx").stat().st_size
    assert result.json["checked"]["relative"] < result.json["checked"]["tolerance"] == 1e-3
    assert result.json["outputs"]["boxes"]["shape"] == ["batch", 4, 4]
    answer = fsar("classify", "clip.mp4", "--runtime", "onnx", "--onnx", "run/encoder.onnx")
    assert answer.code == 0, answer.err


def test_a_file_is_replaced_only_when_that_is_asked_for(here, fsar) -> None:
    (here / "x.onnx").write_text("mine")
    refused = fsar("export", "--onnx", "--out", "x.onnx")
    assert refused.code == 2
    assert "x.onnx is there already" in refused.err and "--force" in refused.err
    assert (here / "x.onnx").read_text() == "mine"
    assert fsar("export", "--onnx", "--out", "x.onnx", "--force").code == 0


def test_what_is_missing_or_contradicts_is_said(here, fsar, monkeypatch) -> None:
    assert fsar("export").code == 2
    assert fsar("export", "run", "--support", "support.fsar", "--onnx").code == 2
    assert fsar("export", "--support", "other.fsar", "--onnx").code == 3
    assert fsar("export", "nowhere", "--onnx").code == 3
    missing = fsar("classify", "clip.mp4", "--runtime", "onnx")
    assert missing.code == 3
    assert "no ONNX file at support.fsar.onnx" in missing.err
    assert fsar("classify", "clip.mp4", "--onnx", "x.onnx").code == 2
    assert fsar("scan", "clip.mp4", "--runtime", "tensorrt", "--help").code == 0
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    without = fsar("export", "--onnx")
    assert without.code == 2
    assert "an export to ONNX needs onnxscript" in without.err and "pip install 'fsar[onnx]'" in without.err


def test_other_numbers_leave_no_file_and_exit_with_three(here, fsar, monkeypatch) -> None:
    monkeypatch.setattr(onnxexport, "TOLERANCE", 0.0)
    refused = fsar("export", "--onnx")
    assert refused.code == 3
    assert "would give other numbers than PyTorch" in refused.err
    assert not list(here.glob("*.onnx"))
