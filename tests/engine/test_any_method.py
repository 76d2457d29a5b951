"""Any method, with and without key regions, through training, run folders, cache and evaluation."""

import pytest
import torch
from small_project import small

from fsar_cli.core.build import build_method
from fsar_cli.core.features import KeyRegionFeatures
from fsar_cli.engine.checkpoint import load_method, save_weights
from fsar_cli.engine.evaluate import evaluate
from fsar_cli.engine.runs import Run, create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.errors import DataError
from fsar_cli.files import Cache

CPU = torch.device("cpu")


def config_of(project, method, region=None, **changes):
    return small(project, **{"model.method": method, "model.region.enabled": region, "train.iterations": 4} | changes)


@pytest.mark.parametrize(("method", "region"), [("otam", None), ("otam", True), ("trx", True)])
def test_it_trains_its_run_loads_and_evaluates(project, tmp_path, method, region):
    config = config_of(project, method, region)
    trainer = Trainer(config, create_run(config, tmp_path / "run"), CPU)
    before = {name: tensor.clone() for name, tensor in trainer.method.state_dict().items()}
    assert trainer.run().best_step is not None
    moved = {
        name.rsplit(".", 1)[0] for name, t in trainer.method.named_parameters() if not torch.equal(t, before[name])
    }
    assert any(name.startswith("features.global_backbone") for name in moved)
    assert any(name.startswith("features.local_backbone") for name in moved) == bool(region)
    run = Run(tmp_path / "run")
    assert run.config() == trainer.folder.config() and run.config().model.region.enabled is region
    result = evaluate(load_method(run), run.config(), CPU)
    assert [shot.shot for shot in result.shots] == [1, 2]
    assert (result.bank.boxes is not None) == (result.regions is not None) == bool(region)


def test_methods_with_regions_share_what_their_backbones_said(project, tmp_path, monkeypatch):
    """keyregion has them by default, trx when asked; without them nothing is shared."""
    cache = Cache(tmp_path / "cache")
    cached = []
    for method, region in (("keyregion", None), ("trx", True), ("otam", True), ("otam", None), ("trx", False)):
        config = config_of(project, method, region, **{"eval.episodes": 5})
        cached.append(evaluate(build_method(config).eval(), config, CPU, cache=cache).cached)
    assert cached == [False, True, True, False, True]


def test_a_run_with_regions_keeps_them_and_does_not_load_without(project, tmp_path):
    config = config_of(project, "otam", region=True)
    run = create_run(config, tmp_path / "new")
    assert run.config().model.region.enabled is True  # before its first checkpoint
    save_weights(build_method(config), run.model_file)
    assert isinstance(load_method(run).features, KeyRegionFeatures)
    with pytest.raises(DataError, match="does not fit method otam, backbone") as caught:
        load_method(run, config_of(project, "otam"))
    assert "use the run's own configuration" in caught.value.hint


def test_run_folders_are_named_by_method_and_region(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [create_run(config_of(project, "trx", region)).path.name for region in (None, True)]
    assert [name.split("-small-")[1] for name in names] == ["trx-3w2s", "trx+region-3w2s"]
