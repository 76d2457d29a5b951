"""The parts of a step: nothing waits for a device, one call for support and query where it is the same, optimisers."""

import pytest
import torch
from small_project import episode_of, small
from torch.utils._python_dispatch import TorchDispatchMode

from fsar_cli.core.build import build_method
from fsar_cli.core.features import KeyRegionFeatures
from fsar_cli.core.methods import METHODS
from fsar_cli.engine import steps
from fsar_cli.engine.setup import build_optimizer
from fsar_cli.engine.steps import clips_per_call, episode_loss, statistics_kept, together

CPU = torch.device("cpu")
# What makes the host wait for a GPU: reading a number, sizes that depend on numbers, numbers sent from the host.
WAITING = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique",
    "equal",
    "lift_fresh",
    "repeat_interleave.Tensor",
)


class Watch(TorchDispatchMode):
    """Names of the operations that would wait."""

    def __init__(self):
        super().__init__()
        self.waiting = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name, places = function.name().removeprefix("aten::"), args[1] if len(args) > 1 else None
        masked = name.startswith("index.") and any(place is not None and place.dtype == torch.bool for place in places)
        if masked or name.startswith(WAITING):
            self.waiting.append(name)
        return function(*args, **(kwargs or {}))


def test_the_watch_sees_what_waits():
    x = torch.arange(4.0)
    for wait in (
        lambda: x.sum().item(),
        lambda: x[x > 1],
        lambda: float(x[0]),
        lambda: torch.tensor([1.0, 2.0]) + x[0],
    ):
        with Watch() as watch:
            wait()
        assert watch.waiting


@pytest.mark.parametrize("name", list(METHODS))
def test_no_part_of_a_training_step_waits_for_the_device(project, monkeypatch, name):
    monkeypatch.setattr(KeyRegionFeatures, "_chance", staticmethod(lambda _: 0.7))  # drawn on the host
    changes = {"model.method": name, "model.classes": 3, "model.normalize": True, "optim.clip_norm": 1.0}
    config = small(project, **changes)
    method, batch, generator = build_method(config).train(), episode_of(config), torch.Generator().manual_seed(0)
    optimizer = build_optimizer(method, config.optim)
    episode_loss(method, batch, config, CPU, generator)  # what is kept from the first use on
    with Watch() as watch:
        loss, _, _ = episode_loss(method, batch, config, CPU, generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
    optimizer.step()
    assert watch.waiting == []


@pytest.mark.parametrize("name", ["keyregion", "trx"])
def test_one_call_for_support_and_query_gives_the_loss_and_gradients_of_two(project, monkeypatch, name):
    changes = {"model.method": name, "model.freeze_batchnorm": True, "model.match.dropout": 0.0}
    changes |= {"model.backbone": "resnet18"}  # its features keep their scale untrained
    config = small(project, **changes | {"model.region.random_probability": 0.0})
    method, batch = build_method(config).train(), episode_of(config)
    assert clips_per_call(method, config) == [9]
    found = []
    for joint in (True, False):
        monkeypatch.setattr(steps, "together", lambda _, joint=joint: joint)
        method.zero_grad()
        loss, accuracy, seen = episode_loss(method, batch, config, CPU, None)
        loss.backward()
        gradients = torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])
        found.append((loss.detach(), accuracy, gradients, [pixels for pixels, _ in seen]))
        assert [len(encoded) for _, encoded in seen] == [6, 3]
    (loss, accuracy, gradients, pixels), (other, same, expected, apart) = found
    torch.testing.assert_close(loss, other, rtol=1e-4, atol=1e-5)
    assert accuracy == same and all(torch.equal(a, b) for a, b in zip(pixels, apart, strict=True))
    assert float((gradients - expected).norm() / expected.norm()) < 1e-3


def test_support_and_query_stay_apart_where_it_would_matter(project):
    config = small(project)
    method = build_method(config).train()
    assert not together(method) and clips_per_call(method, config) == [6, 3]
    for change in ("model.freeze_batchnorm", "model.freeze_backbone"):
        method = build_method(small(project, **{change: True})).train()
        assert together(method)
        method.features.backbones()[0].checkpointing = True
        assert not together(method), "its peak grows with the call"


def test_trying_leaves_no_trace(project):
    method = build_method(small(project)).train()
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    with statistics_kept(method):
        method.encode(torch.rand(2, 4, 3, 32, 32)).tensors["frames"].sum().backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in method.state_dict().items())
    assert all(p.grad is None for p in method.parameters())


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_fused_steps_are_plain_steps(project, name):
    """Against the formula of one parameter at a time."""
    config = small(project, **{"optim.name": name, "optim.weight_decay": 0.1, "optim.momentum": 0.5}).optim
    module, plain = torch.nn.Linear(7, 5), torch.nn.Linear(7, 5)
    plain.load_state_dict(module.state_dict())
    optimizer = build_optimizer(module, config)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    momentum = {"momentum": 0.5} if name == "sgd" else {}
    reference = kind(plain.parameters(), config.lr, weight_decay=0.1, foreach=False, fused=False, **momentum)
    assert bool(optimizer.param_groups[0]["fused"]) is (name != "sgd")
    for step in range(5):
        gradients = [torch.randn(p.shape, generator=torch.Generator().manual_seed(step)) for p in module.parameters()]
        for network, chosen in ((module, optimizer), (plain, reference)):
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter.grad = gradient.clone()
            chosen.step()
    for a, b in zip(module.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
