"""The shipped checkpoint and how it is made: normal classes only, small, and of the demo's backbone."""

import torch

from fsar_cli.core.backbones.build import build_backbone
from fsar_cli.core.backbones.seen import seen_classes
from fsar_cli.core.build import DEMO_WEIGHTS
from fsar_cli.settings import resolve
from fsar_cli.tools.demo import pretrain
from fsar_cli.tools.demo.scenes import CLASSES


def test_the_shipped_checkpoint_is_small_and_fits_the_demo():
    assert DEMO_WEIGHTS.stat().st_size < 6e6
    config = resolve(preset="demo", environ={}).config
    assert config.model.backbone == pretrain.BACKBONE
    assert (config.clip.size, config.clip.short_side) == (pretrain.SIZE, pretrain.SHORT_SIDE)
    assert config.model.region.side == pretrain.REGION
    assert build_backbone(pretrain.BACKBONE, DEMO_WEIGHTS).dim == 576


def test_it_has_seen_34_normal_classes_and_none_that_the_demo_tests():
    seen = set(seen_classes(pretrain.BACKBONE, DEMO_WEIGHTS).classes)
    assert len(seen) == 34 and seen > set(pretrain.NORMAL)
    assert seen.isdisjoint(name for name, action in CLASSES.items() if action.role == "test")


def test_making_it_renders_normal_classes_alone_and_saves_what_was_learnt(tmp_path, monkeypatch):
    rendered = []
    original = pretrain.render_clip
    monkeypatch.setattr(
        pretrain, "render_clip", lambda name, seed: rendered.append((name, seed)) or original(name, seed)
    )
    monkeypatch.setattr(pretrain, "ProcessPoolExecutor", lambda workers: _Here())
    data = pretrain.render_normal(1, 1)
    assert {CLASSES[name].role for name, _ in rendered} == {"train"}
    assert min(seed for _, seed in rendered) >= pretrain.FIRST_SEED
    inside = data.centres.min() >= 0 and (data.centres[..., 0] < data.frames.shape[3]).all()
    assert inside
    model = pretrain.train(data, steps=2, batch=4)
    pretrain.save(model, tmp_path / "weights.safetensors")
    assert set(seen_classes(pretrain.BACKBONE, tmp_path / "weights.safetensors").classes) == {n for n, _ in rendered}
    loaded = build_backbone(pretrain.BACKBONE, tmp_path / "weights.safetensors").eval()
    frames = torch.rand(1, 2, 3, 72, 72)
    with torch.no_grad():
        expected, found = model.backbone.eval()(frames), loaded(frames)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.05)


class _Here:
    """A process pool that works in this process, so that what it does can be seen."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @staticmethod
    def map(work, jobs, chunksize):
        return map(work, jobs)
