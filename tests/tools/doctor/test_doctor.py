"""`fsar doctor`: the findings on machines that are not this one."""

import importlib
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
from stores import extracted
from trees import touch
from videos import make_video

from fsar_cli.data.splits import Splits, Video
from fsar_cli.tools.doctor import doctor
from fsar_cli.tools.doctor.data import check_project

Usage = namedtuple("Usage", "total used free")


def failing(error: Exception):
    def importer(name: str):
        raise error

    return importer


def fake_torch(version_cuda: str | None = "13.0", devices: int = 0, free: int = 70, broken: bool = False):
    def ones(*shape, device):
        if broken:
            raise RuntimeError("CUDA error: no kernel image is available")
        return importlib.import_module("torch").ones(*shape)

    cuda = SimpleNamespace(
        is_available=lambda: devices > 0,
        device_count=lambda: devices,
        mem_get_info=lambda index: (free * doctor.GIB, 80 * doctor.GIB),
        get_device_name=lambda index: f"Fast {index}",
    )
    module = SimpleNamespace(__version__="2.15.0", version=SimpleNamespace(cuda=version_cuda), cuda=cuda, ones=ones)
    return lambda name: module


def test_this_machine_has_no_problem_with_its_libraries():
    findings = [*doctor.check_torch(importlib.import_module), doctor.check_torchvision(importlib.import_module)]
    findings.append(doctor.check_video(importlib.import_module))
    assert {f.name for f in findings} == {"torch", "gpu", "torchvision", "video"}
    assert [f for f in findings if f.status == "problem"] == []


def test_mixed_builds_of_torch_and_torchvision_are_recognised():
    finding = doctor.check_torchvision(failing(RuntimeError("operator torchvision::nms does not exist")))
    assert finding.status == "problem" and finding.remedy == doctor.MIXED_BUILDS
    other = doctor.check_torchvision(failing(ImportError("no module\n named torchvision")))
    assert other.status == "problem" and "no module named torchvision" in other.text
    assert other.remedy != doctor.MIXED_BUILDS


def test_a_broken_torch_is_one_problem():
    (finding,) = doctor.check_torch(failing(OSError("libcudart.so: cannot open")))
    assert finding.status == "problem" and "libcudart" in finding.text and "pip install torch" in finding.remedy


@pytest.mark.parametrize(
    ("importer", "status", "text"),
    [
        (fake_torch(devices=1, free=3), "warning", "3 of 80 GiB free"),
        (fake_torch(devices=1, broken=True), "problem", "cuda:0 does not compute: CUDA error: no kernel image"),
        (fake_torch(version_cuda=None), "warning", "built for CPUs only"),
        (fake_torch(), "warning", "no CUDA device found"),
    ],
)
def test_gpus(importer, status, text):
    torch, gpu = doctor.check_torch(importer)
    assert torch.status == "ok"
    assert gpu.status == status and text in gpu.text
    assert bool(gpu.remedy) == (status != "ok")


def test_every_gpu_is_named():
    gpus = doctor.check_torch(fake_torch(devices=2))[1:]
    assert [(f.status, f.text) for f in gpus] == [("ok", f"cuda:{i} Fast {i}, 70 of 80 GiB free") for i in range(2)]


def test_missing_x264_is_a_warning():
    av = SimpleNamespace(__version__="1", codecs_available={"mpeg4"})
    assert doctor.check_video(lambda name: av).status == "warning"
    assert doctor.check_video(failing(ImportError("no av"))).status == "problem"


def test_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(1, 1, 2 * doctor.GIB))
    space, access = doctor.check_disk(tmp_path)
    assert (space.status, access.status) == ("warning", "ok")

    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    _, access = doctor.check_disk(tmp_path)
    assert access.status == "problem" and "Permission denied" in access.text and access.exit_code == 3


def test_exit_code_is_that_of_the_gravest_problem():
    def finding(status, code):
        return doctor.Finding("x", status, "", exit_code=code)

    assert doctor.exit_code([finding("ok", 4), finding("warning", 4)]) == 0
    assert doctor.exit_code([finding("problem", 3), finding("warning", 4)]) == 3
    assert doctor.exit_code([finding("problem", 3), finding("problem", 4), finding("problem", 2)]) == 4


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fsar.yaml").write_text("data: {name: x}\n")
    return tmp_path


def statuses() -> dict[str, str]:
    return {finding.name: finding.status for finding in check_project()}


def test_a_folder_without_project_file_is_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (finding,) = check_project()
    assert finding.status == "ok" and "fsar init" in finding.text


def test_a_wrong_project_file_is_a_problem_of_the_settings(project):
    (project / "fsar.yaml").write_text("optim: {lrr: 1}\n")
    (finding,) = check_project()
    assert (finding.status, finding.exit_code) == ("problem", 2) and "did you mean" in finding.remedy


def test_a_project_from_empty_to_complete(project):
    assert statuses() == {"videos": "problem", "frames": "warning", "splits": "warning"}
    touch(project, "videos/a/1.avi")
    assert statuses() == {"videos": "ok", "frames": "warning", "splits": "warning"}
    Splits((("train", Video("a", "a/1")), ("test", Video("b", "b/1")))).write(project / "splits.csv")
    assert statuses()["splits"] == "ok"
    make_video(project / "videos/a/1.avi")
    assert not extracted(project / "videos", project / "frames").failed
    assert statuses() == {"videos": "ok", "frames": "ok", "splits": "warning"}
    assert "1 of them have no frames yet" in check_project()[2].text
    shutil.rmtree(project / "videos")
    assert statuses()["videos"] == "ok"
    (project / "splits.csv").write_text("nonsense\n")
    assert check_project()[2].exit_code == 3 and statuses()["splits"] == "problem"
