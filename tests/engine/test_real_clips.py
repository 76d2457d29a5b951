"""On real clips with real weights the whole chain runs, and regions from differences beat the centre."""

import json

import pytest
import torch

from fsar_cli.config import ExtractConfig
from fsar_cli.core.build import build_method
from fsar_cli.data.splits.making import make
from fsar_cli.data.splits.tree import scan_tree
from fsar_cli.data.store.extraction import extract
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.sources import find_videos
from fsar_cli.data.video import count_frames, probe
from fsar_cli.engine.evaluate import evaluate
from fsar_cli.engine.visualize import visualize
from fsar_cli.settings import resolve

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def config(shared, tmp_path_factory):
    """Three clips each of kick, punch and push, as a test split grouped by sequence."""
    root = tmp_path_factory.mktemp("real")
    source = shared / "data" / "ut_interaction"
    chosen = [path for name in ("kick", "punch", "push") for path in sorted((source / name).glob("set1_*"))[:3]]
    extract(find_videos(chosen).sources, root / "frames", ExtractConfig(short_side=128))
    lists = {"train": [], "val": [], "test": ["kick", "punch", "push"]}
    made = make("arn", scan_tree(root / "frames"), lists=lists, group_by=r"(seq\d+)")
    made.splits.write(root / "splits.csv")
    values = {
        "data.frames": root / "frames", "data.splits": root / "splits.csv", "clip.size": 112, "clip.short_side": 128,
        "model.backbone": "mobilenet_v2", "model.weights": str(shared / "weights" / "mobilenet_v2.pth"),
        "model.normalize": True, "model.region.side": 64, "model.region.source": "difference",
        "model.region.weights": "l1", "model.region.gain": 3.0, "model.match.key_dim": 16, "train.workers": 0,
        "eval.way": 3, "eval.shots": (1,), "eval.episodes": 50, "eval.group_disjoint": True,
    }  # fmt: skip
    return resolve(base=values, environ={}).config


def test_regions_from_differences_hold_more_motion_than_the_centre_and_less_than_the_oracle(config):
    result = evaluate(build_method(config).eval(), config, CPU)
    found = result.regions
    assert found.motion_oracle > found.motion_region > found.motion_centre
    assert result.videos == len(FrameStore(config.data.frames)) == 9
    assert 0 <= result.shots[0].accuracy[0] <= 1


def test_a_real_kick_is_drawn_frame_for_frame(config, shared, tmp_path):
    video = sorted((shared / "data" / "ut_interaction" / "kick").glob("*.avi"))[0]
    made = visualize(build_method(config).eval(), config, video, tmp_path / "out [1]", CPU, sheets=1)
    assert count_frames(made.overlay) == count_frames(video)
    source, drawn = probe(video), probe(made.overlay)
    assert drawn.duration == pytest.approx(count_frames(video) / source.fps, rel=0.05)
    document = json.loads(made.regions.read_text())
    x0, y0, x1, y1 = document["input_crop"]
    for frame in document["windows"][0]:
        left, top, right, bottom = frame["box"]
        assert x0 - 1 <= left < right <= x1 + 1
        assert y0 - 1 <= top < bottom <= y1 + 1
        assert right - left == pytest.approx((x1 - x0) * 64 / 112, abs=0.01)
