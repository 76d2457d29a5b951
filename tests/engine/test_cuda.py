"""A run on a GPU: trains in bfloat16 without waiting, resumes, and evaluates to the accuracies of the CPU."""

import numpy as np
import pytest
import torch
from small_project import episode_of, lively, small

from fsar_cli.core.build import build_method
from fsar_cli.core.features import KeyRegionFeatures
from fsar_cli.core.methods import METHODS
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.checkpoint import load_method
from fsar_cli.engine.device import place
from fsar_cli.engine.evaluate import evaluate
from fsar_cli.engine.runs import Run, create_run
from fsar_cli.engine.setup import build_optimizer
from fsar_cli.engine.steps import episode_loss
from fsar_cli.engine.train import Trainer
from fsar_cli.recipes import IMAGENET

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize(("method", "whiten"), [("keyregion", "none"), ("trx", "train"), ("prototype", "train")])
def test_evaluation_gives_the_accuracies_of_the_cpu(project, cuda, method, whiten):
    values = {"model.method": method, "model.match.whiten": whiten, "train.amp": "off", "eval.episodes": 300}
    config = small(project, **values)
    network = lively(config)
    expected = evaluate(network, config, torch.device("cpu")).shots
    found = evaluate(network, config, cuda).shots
    for a, b in zip(expected, found, strict=True):
        assert a.digest == b.digest
        # Rounding may turn a tie; it may not move the mean.
        assert np.mean(a.accuracies != b.accuracies) < 0.02
        assert a.accuracy[0] == pytest.approx(b.accuracy[0], abs=0.01)


@pytest.mark.parametrize("amp", ["auto", "fp16"])
def test_training_runs_in_half_precision_and_resumes_exactly(project, cuda, tmp_path, amp):
    config = small(project, **{"train.val_every": 0, "train.workers": 2, "train.amp": amp})
    trainer = Trainer(config, create_run(config, tmp_path / "run"), cuda)
    result = trainer.run()
    assert np.isfinite(result.loss)
    again = Trainer(config, Run(tmp_path / "run"), cuda, pretrained=False)
    again.resume()
    assert again.step == 6
    for name, tensor in trainer.method.state_dict().items():
        assert torch.equal(tensor, again.method.state_dict()[name])
    assert load_method(Run(tmp_path / "run")).training is False


def test_clips_are_cut_on_the_gpu_to_the_bits_of_the_cpu(project, cuda):
    batch = episode_of(small(project), 0)
    found = batch.pin_memory().clips.to(cuda).cut()
    assert found.device.type == "cuda"
    assert torch.equal(found.cpu(), batch.clips.cut())
    assert torch.allclose(to_float(found, IMAGENET).cpu(), to_float(batch.clips.cut(), IMAGENET), atol=1e-6)


@pytest.mark.parametrize("method", list(METHODS))
def test_a_training_step_never_waits_for_the_gpu(project, cuda, method):
    config = small(project, **{"model.method": method, "train.amp": "auto", "optim.name": "adamw"})
    network = place(build_method(config), cuda, True).train()
    optimizer = build_optimizer(network, config.optim)
    assert optimizer.param_groups[0]["fused"]
    try:
        for index in range(3):
            batch = episode_of(config, index).pin_memory()
            generator = torch.Generator(cuda).manual_seed(index)
            torch.cuda.set_sync_debug_mode("error" if index else "default")  # the first use loads and keeps things
            loss, _, _ = episode_loss(network, batch, config, cuda, generator)
            loss.backward()
            optimizer.step()
            torch.cuda.set_sync_debug_mode("default")
            optimizer.zero_grad()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert loss.isfinite()


def test_the_draw_of_random_regions_follows_a_generator_on_the_gpu_without_asking_it(cuda):
    def draws(seed):
        generator = torch.Generator(cuda).manual_seed(seed)
        return [KeyRegionFeatures._chance(generator) for _ in range(400)]

    first = draws(0)
    assert first == draws(0) != draws(1)
    assert len(set(first)) == 400
    assert sum(first) / 400 == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_run_goes_on_on_another_device(project, cuda, tmp_path, name):
    config = small(project, **{"train.val_every": 0, "train.iterations": 4, "optim.name": name, "model.method": "trx"})
    longer = config.model_copy(update={"train": config.train.model_copy(update={"iterations": 8})})
    for first, second in ((torch.device("cpu"), cuda), (cuda, torch.device("cpu"))):
        run = create_run(config, tmp_path / f"{first.type}-{name}")
        Trainer(config, run, first).run()
        again = Trainer(longer, run, second, pretrained=False)
        again.resume()
        assert np.isfinite(again.run().loss)


@pytest.mark.slow
def test_compiled_training_is_training(project, cuda, tmp_path):
    changes = {"train.val_every": 0, "train.iterations": 4, "train.amp": "off", "model.backbone": "resnet18"}
    losses = []
    for compiled in (False, True):
        config = small(project, **changes | {"train.compile": compiled, "model.region.random_probability": 0.0})
        trainer = Trainer(config, create_run(config, tmp_path / str(compiled)), cuda)
        assert all((b.compiled is not None) is compiled for b in trainer.method.features.backbones())
        losses.append(trainer.run().loss)
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)
