"""A network of video through the whole engine: budget, layouts, views, cache, a run, regions drawn on a file."""

import json

import numpy as np
import pytest
import torch
from small_project import Listener, lively, small
from videos import make_video

from fsar_cli.core.build import build_method
from fsar_cli.engine.checkpoint import load_method
from fsar_cli.engine.compiling import compile_backbones
from fsar_cli.engine.evaluate import evaluate
from fsar_cli.engine.memory import GIB, plan_memory
from fsar_cli.engine.runs import Run, create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.engine.visualize import visualize
from fsar_cli.files import Cache

CPU = torch.device("cpu")
VIDEO = {
    "model.backbone": "mc3_18", "clip.size": 48, "clip.short_side": 48, "model.region.side": 24,
    "model.region.source": "difference", "model.freeze_batchnorm": True, "train.iterations": 2, "train.val_every": 0,
    "train.checkpoint_every": 2, "eval.episodes": 20, "eval.shots": (1,), "episode.shot": 1,
    "model.region.random_probability": 0.0, "model.match.dropout": 0.0,
}  # fmt: skip


def test_it_trains_within_a_budget_as_without_and_the_run_is_tested_and_drawn(project, tmp_path):
    plain = small(project, **VIDEO)
    total = plan_memory(build_method(plain), plain, CPU, None).memory.total / GIB
    made = {}
    for name, budget in {"plain": None, "thrifty": 0.9 * total}.items():
        config = small(project, **VIDEO, **{"train.memory_budget": budget})
        trainer = Trainer(config, create_run(config, tmp_path / name), CPU)
        made[name] = trainer.run().loss
        thrifty = [backbone.checkpointing for backbone in trainer.method.features.backbones()]
        assert thrifty == [name == "thrifty"] * 2
    assert made["thrifty"] == pytest.approx(made["plain"], rel=1e-3)
    run = Run(tmp_path / "plain")
    cache = Cache(tmp_path / "cache")
    first, second = (evaluate(load_method(run), run.config(), CPU, cache=cache) for _ in range(2))
    assert (first.cached, second.cached) == (False, True) and first.bank.boxes.shape == (12, 4, 4)
    np.testing.assert_array_equal(first.shots[0].right, second.shots[0].right)
    drawn = visualize(load_method(run), run.config(), make_video(tmp_path / "a.mp4", frames=20), tmp_path / "out", CPU)
    windows = json.loads(drawn.regions.read_text())["windows"]
    assert len(windows) == drawn.windows == 1 and drawn.overlay.stat().st_size > 0


def test_layouts_and_folded_norms_change_no_answer_and_the_rate_does(project):
    """Channels last in five axes, against rows of channels: the same features to rounding."""
    found = []
    for last in (True, False):
        config = small(project, **VIDEO, **{"train.channels_last": last})
        method = lively(config)
        found.append(evaluate(method, config, CPU).bank.encoded)
        weight = next(p for p in method.parameters() if p.ndim == 5)
        assert weight.is_contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)
    for key, tensor in found[0].tensors.items():
        torch.testing.assert_close(tensor, found[1][key], rtol=2e-3, atol=2e-3 * float(tensor.abs().max()))
    rated = small(project, **VIDEO, **{"clip.rate": 30})
    other = evaluate(lively(rated), rated, CPU).bank.encoded["frames"]
    assert other.shape == found[0]["frames"].shape and not torch.allclose(other, found[0]["frames"])


def test_heads_alone_are_trained_on_views_of_its_clips(project, tmp_path):
    config = small(project, **VIDEO | {"model.method": "trx", "train.views": 2})
    trainer = Trainer(config, create_run(config, tmp_path / "run"), CPU)
    before = [p.clone() for backbone in trainer.method.features.backbones() for p in backbone.parameters()]
    assert trainer.run().iterations == 2
    after = [p for backbone in trainer.method.features.backbones() for p in backbone.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_it_is_compiled_like_any_other(project, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda module, **_: torch._dynamo.optimize("eager")(module))
    config, listener = small(project, **VIDEO), Listener()
    method = build_method(config).train()
    compile_backbones(method, config, CPU, listener)
    assert all(backbone.compiled is not None for backbone in method.features.backbones()), listener.warnings
