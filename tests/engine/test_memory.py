"""The memory plan: what it says it needs is what autograd keeps, and each way fits a smaller budget than the last."""

import pytest
import torch
from small_project import small

from fsar_cli.core.build import build_method
from fsar_cli.engine.memory import CPU, GIB, activations_per_clip, plan_memory
from fsar_cli.engine.runs import create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.errors import UsageError
from fsar_cli.reporting import SILENT
from fsar_cli.settings import resolve


def kept_by(method, clips: int, config) -> int:
    """Bytes autograd keeps for that many clips, by counting every saved tensor."""
    found, own = {}, {p.untyped_storage().data_ptr() for p in method.parameters()}

    def keep(tensor):
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        alive = method.train().encode(torch.zeros(clips, config.clip.frames, 3, config.clip.size, config.clip.size))
    assert len(alive) == clips
    return sum(storage.nbytes() for pointer, storage in found.items() if pointer not in own)


@pytest.fixture(scope="module")
def case(project):
    sizes = {"clip.size": 64, "clip.short_side": 72, "model.region.side": 32, "model.region.random_probability": 0.0}
    config = small(project, **sizes | {"model.backbone": "resnet18"})
    return build_method(config), config


def test_activations_grow_with_the_clips_as_measured_on_one(case):
    method, config = case
    one = activations_per_clip(method, config, "off")
    assert kept_by(method, 6, config) - kept_by(method, 2, config) == pytest.approx(4 * one, rel=0.02)
    assert activations_per_clip(method, config, "bf16") < 0.75 * one


def test_smaller_budgets_take_more_thrifty_ways_and_keep_them(case):
    method, config = case
    clips = config.episode.way * (config.episode.shot + config.episode.queries)
    plain = plan_memory(method, config, CPU, None)
    assert (plain.checkpointing, plain.micro_batch) == (False, None)
    assert plain == plan_memory(method, config, CPU, plain.memory.total / GIB)
    thrifty = plan_memory(method, config, CPU, 0.999 * plain.memory.total / GIB)
    assert (thrifty.checkpointing, thrifty.micro_batch) == (True, None)
    small_batches = plan_memory(method, config, CPU, 0.999 * thrifty.memory.total / GIB)
    assert small_batches.micro_batch is not None and small_batches.micro_batch < clips
    budgets = [plan.memory.total for plan in (plain, thrifty, small_batches)]
    assert budgets == sorted(budgets, reverse=True)
    with pytest.raises(UsageError, match="a clip at a time needs"):
        plan_memory(method, config, CPU, 0.01)
    assert not any(backbone.checkpointing for backbone in method.features.backbones()), "planning changes nothing"


def test_what_a_plan_says_is_what_is_kept_in_the_forward_pass(case):
    method, config = case
    plan = plan_memory(method, config, CPU, 0.999 * plan_memory(method, config, CPU, None).memory.total / GIB)
    plain = kept_by(method, 6, config)
    try:
        plan.apply(method)
        assert kept_by(method, 6, config) < 0.5 * plain
        method.micro_batch = 2
        assert kept_by(method, 6, config) < 0.5 * plain
    finally:
        plan_memory(method, config, CPU, None).apply(method)


def losses(config, folder) -> tuple[float, list[torch.Tensor]]:
    trainer = Trainer(config, lambda: create_run(config, folder), CPU, reporter=SILENT)
    return trainer.run().loss, [tensor.clone() for tensor in trainer.method.state_dict().values()]


def test_training_within_a_budget_is_training(project, tmp_path):
    """Checkpointing: the same weights to rounding; the plan's measurements leave no trace."""
    changes = {"train.iterations": 4, "train.val_every": 0, "model.region.source": "difference"}
    plain = small(project, **changes)
    total = plan_memory(build_method(plain), plain, CPU, None).memory.total / GIB
    loss, weights = losses(plain, tmp_path / "plain")
    again, thrifty = losses(small(project, **changes | {"train.memory_budget": 0.98 * total}), tmp_path / "thrifty")
    assert again == pytest.approx(loss, rel=1e-3)
    for a, b in zip(weights, thrifty, strict=True):
        assert torch.allclose(a.float(), b.float(), atol=2e-3 * float(a.float().abs().max() + 1e-6))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "budget"), [("keyregion", 24.0), ("trx", 12.0)])
def test_the_episode_of_the_paper_fits_the_gpus_that_people_have(method, budget):
    """resnet50, 5-way 5-shot, 3 queries, 224 and 128 px, bfloat16, by means that leave the gradients as they are."""
    config = resolve(base={"model.method": method, "model.weights": "none", "train.amp": "bf16"}, environ={}).config
    plan = plan_memory(build_method(config), config, CPU, budget)
    assert plan.memory.total <= budget * GIB
    assert plan.micro_batch is None
