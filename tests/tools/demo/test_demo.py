"""The demo: every step really runs; the full one keeps what the README says of it."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from fsar_cli.data.clips import ClipReader
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.video import probe
from fsar_cli.errors import UsageError
from fsar_cli.recognise.supportfile import read_support
from fsar_cli.settings import resolve
from fsar_cli.tools.demo import demo

FEW = {"train": ("walk", "run", "wave", "flag", "steam"), "val": ("bubbles", "hug")}
FEW["test"] = ("fight", "fire", "fall", "banner", "smoke")


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory):
    """A demo of 12 classes and two training episodes."""
    names = [name for role in FEW.values() for name in role]
    patch = pytest.MonkeyPatch()
    patch.setattr(demo, "CLASSES", {name: demo.CLASSES[name] for name in names})
    out = tmp_path_factory.mktemp("a b [c]") / "demo"
    clips = {"train": 3, "val": 3, "test": 6}
    result = demo.run_demo(out, torch.device("cpu"), iterations=2, episodes=100, clips=clips)
    patch.undo()
    return result


def test_every_step_leaves_what_it_should(small_demo):
    out = small_demo.folder
    splits = Splits.read(out / "splits.csv")
    assert {split: set(splits.classes(split)) for split in FEW} == {split: set(names) for split, names in FEW.items()}
    store = FrameStore(out / "frames")
    assert len(store) == 5 * 3 + 2 * 3 + 5 * 6
    assert store.count("fire/fire_0001") == probe(out / "videos" / "fire" / "fire_0001.mp4").frames
    assert (small_demo.run / "model.safetensors").is_file()
    assert [shot.shot for shot in small_demo.trained.shots] == [1, 5]
    assert set(small_demo.hits) == {"key region", "centre crop", "random crop"}
    for picture in small_demo.pictures:
        assert picture.overlay.is_file()
        assert len(json.loads(picture.regions.read_text())["windows"]) == 1


def test_it_ends_with_a_scan_of_a_long_video_and_its_page(small_demo):
    own, folder = small_demo.own, small_demo.folder
    assert own.against.truth == 9  # three of each enrolled class that were not enrolled
    assert own.against.found == own.events == len((folder / "scans/yard/events.csv").read_text().splitlines()) - 1
    support = read_support(own.support)
    assert {example.cls for example in support.examples} == {"fall", "fight", "fire"}
    assert all("quiet.mp4" in source for source in support.document.normal.sources)
    assert own.page.is_file() and list((own.page.parent / "media").iterdir())


def test_the_actors_of_the_sampled_frames_are_where_the_picture_changes(small_demo):
    config = resolve(path=small_demo.folder / "fsar.yaml", environ={}).config
    paths = {name: small_demo.folder / getattr(config.data, name) for name in ("videos", "frames", "splits")}
    config = config.model_copy(update={"data": config.data.model_copy(update=paths)})
    videos = tuple(f"fire/fire_{i:04d}" for i in range(1, 7))
    boxes = demo.actor_boxes(config, small_demo.folder, videos)
    assert boxes.shape == (6, 8, 4)
    reader = ClipReader(FrameStore(config.data.frames), config.clip)
    for video, actors in zip(videos, boxes.numpy(), strict=True):
        clip = reader.evaluation(video).astype(float)
        warm = clip[-1, :, :, 0] - clip[-1, :, :, 2] - (clip[0, :, :, 0] - clip[0, :, :, 2])  # flames have grown
        y, x = np.unravel_index(warm.argmax(), warm.shape)
        x0, y0, x1, y1 = actors[-1] * config.clip.size
        assert x0 - 3 <= x <= x1 + 3
        assert y0 - 3 <= y <= y1 + 3


def test_a_demo_is_replaced_only_when_asked_and_other_folders_never(small_demo, tmp_path):
    with pytest.raises(UsageError, match="holds a demo already"):
        demo.run_demo(small_demo.folder, torch.device("cpu"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UsageError, match="is no demo"):
        demo.run_demo(tmp_path / "mine", torch.device("cpu"), force=True)
    assert (tmp_path / "mine" / "thesis.tex").exists()


@pytest.mark.slow
def test_the_full_demo_is_above_chance_finds_the_actors_and_keeps_its_time(tmp_path):
    started = time.monotonic()
    command = [sys.executable, "-c", "from fsar_cli.cli.app import main; main()", "demo", "--json", "--device", "cpu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert time.monotonic() - started < 360
    document = json.loads(done.stdout)
    one, five = document["accuracy"]["keyregion"]
    assert five["accuracy"] - five["ci95"] > 2 * five["chance"]
    assert one["accuracy"] - one["ci95"] > 1.5 * one["chance"]
    hits = document["regions"]
    assert hits["key region"]["hit"] > 0.7 > 0.4 > hits["centre crop"]["hit"]
    assert hits["key region"]["iou"] > hits["random crop"]["iou"]
