"""`train.compile`: the compiled backbones are the plain ones, in training alone, and without a compiler all goes on."""

import pytest
import torch
from small_project import Listener, episode_of, small
from torch import nn

from fsar_cli.core.build import build_method
from fsar_cli.engine.compiling import compile_backbones
from fsar_cli.engine.device import place
from fsar_cli.engine.runs import create_run
from fsar_cli.engine.steps import episode_loss
from fsar_cli.engine.train import Trainer

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def method_of(project, **changes):
    """A method whose backbones are a few layers, which compile in a second."""
    config = small(project, **changes)
    method = build_method(config)
    torch.manual_seed(0)
    for backbone in method.features.backbones():
        backbone.trunk = nn.Sequential(
            nn.Conv2d(3, 8, 3, 8, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, backbone.dim, 1),
            nn.BatchNorm2d(backbone.dim),
        )
    return place(method, CPU, True).train(), config


def trace(method, frames):
    """Map, gradients and batch statistics of a forward and a backward."""
    backbone = method.features.backbones()[0]
    method.zero_grad()
    maps = backbone(frames)
    maps.square().mean().backward()
    gradients = torch.cat([p.grad.flatten() for p in backbone.parameters()])
    return maps.detach(), gradients, [b.clone().float() for _, b in backbone.named_buffers()]


def agree(a, b, tolerance):
    return float((a - b).norm()) <= tolerance * float(b.norm()) + 1e-8


def compare(project, backend, frames=24):
    method, config = method_of(project, **{"model.method": "trx"})
    plain, _ = method_of(project, **{"model.method": "trx"})
    names, before = list(method.state_dict()), {n: t.clone() for n, t in method.state_dict().items()}
    listener = Listener()
    assert compile_backbones(method, config, CPU, listener, backend), listener.warnings
    assert list(method.state_dict()) == names
    assert all(torch.equal(before[name], t) for name, t in method.state_dict().items()), "the trial left a trace"
    pixels = torch.rand(frames, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    pixels = pixels.to(memory_format=torch.channels_last).unflatten(0, (-1, 4))
    found, expected = trace(method, pixels), trace(plain, pixels)
    assert agree(found[0], expected[0], 1e-4) and agree(found[1], expected[1], 1e-3)
    assert all(agree(a, b, 1e-4) for a, b in zip(found[2], expected[2], strict=True))


def test_a_graph_of_the_backbone_is_the_backbone(project):
    compare(project, "aot_eager")


@pytest.mark.slow
def test_what_the_compiler_makes_of_it_is_the_backbone(project):
    compare(project, "inductor")


def test_every_trunk_and_size_of_training_is_compiled_before_it_and_evaluation_runs_plain(project):
    """Two sides of regions make ten graphs, and Dynamo by itself no more than eight of one function."""
    method, config = method_of(project, **{"model.region.side": (16, 24)})
    made, calls = [], []

    def backend(graph, example):
        made.append(tuple(example[-1].shape))
        return lambda *inputs: calls.append(tuple(inputs[-1].shape)) or graph.forward(*inputs)

    listener = Listener()
    assert compile_backbones(method, config, CPU, listener, backend), listener.warnings
    graphs = 2 + 2 * 4  # support and query; and, at each side, with regions chosen or drawn
    assert len(made) == graphs
    calls.clear()
    sources = set()
    for seed in range(6):
        batch, generator = episode_of(config, seed), torch.Generator().manual_seed(seed)
        _, _, seen = episode_loss(method, batch, config, CPU, generator)
        sources |= {encoded["frames"].shape for _, encoded in seen}
    assert {shape[:2] for shape in sources} == {(6, 4), (3, 4)}
    assert len(made) == graphs, "nothing is compiled during training"
    assert len(calls) == 6 * (2 + 2 * 2)
    with torch.no_grad():
        method.eval().encode(torch.rand(5, 4, 3, 32, 32))
    assert len(made) == graphs and len(calls) == 6 * (2 + 2 * 2)


def test_a_trunk_of_which_a_part_cannot_be_compiled_is_said_to_run_as_it_is(project):
    class Printing(nn.Module):
        def forward(self, maps):
            torch._dynamo.graph_break()
            return maps

    method, config = method_of(project, **{"model.method": "trx"})
    method.features.backbones()[0].trunk.append(Printing())
    listener = Listener()
    assert not compile_backbones(method, config, CPU, listener, "eager")
    assert "the backbones run as they are" in listener.warnings[0]
    assert method.features.backbones()[0].compiled is None


def test_a_compiler_that_is_missing_or_fails_is_one_warning_and_training_goes_on(project, tmp_path, monkeypatch):
    def broken(graph, example):
        raise RuntimeError("no C++ compiler\nlong story")

    listener = Listener()
    monkeypatch.setattr("fsar_cli.engine.setup.compile_backbones", lambda *a: compile_backbones(*a, backend=broken))
    changes = {"train.iterations": 2, "train.val_every": 0}
    weights = []
    for compiled in (True, False):
        config = small(project, **changes | {"train.compile": compiled})
        trainer = Trainer(config, create_run(config, tmp_path / str(compiled)), CPU, reporter=listener)
        trainer.run()
        weights.append(trainer.method.state_dict())
    assert len(listener.warnings) == 1
    assert listener.warnings[0].startswith("train.compile: the backbones run as they are")
    assert "no C++ compiler" in listener.warnings[0] and "long story" not in listener.warnings[0]
    assert all(torch.equal(a, b) for a, b in zip(weights[0].values(), weights[1].values(), strict=True))


def test_a_failure_in_the_backward_pass_falls_back_too(project):
    from torch._dynamo.backends.common import aot_autograd

    def broken(graph, example):
        raise RuntimeError("backward has no code")

    method, config = method_of(project)
    listener = Listener()
    half = aot_autograd(fw_compiler=lambda graph, _: graph.forward, bw_compiler=broken)
    assert not compile_backbones(method, config, CPU, listener, half)
    assert len(listener.warnings) == 1 and "backward has no code" in listener.warnings[0]
    assert all(backbone.compiled is None for backbone in method.features.backbones())
    method.encode(torch.rand(2, 4, 3, 32, 32)).tensors["frames"].sum().backward()


def test_what_is_computed_twice_is_not_compiled(project):
    method, config = method_of(project)
    method.features.backbones()[0].checkpointing = True
    listener = Listener()
    assert not compile_backbones(method, config, CPU, listener)
    assert "train.memory_budget" in listener.warnings[0]
