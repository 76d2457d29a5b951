"""Training the heads alone: on the features of views encoded once, resumable, with no backbone the second time."""

import torch
from small_project import Listener, lively, small

from fsar_cli.data.clips import AugmentedClips
from fsar_cli.data.transforms import to_float
from fsar_cli.engine import bank
from fsar_cli.engine.checkpoint import load_method
from fsar_cli.engine.frozen import FrozenFeatures
from fsar_cli.engine.runs import create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.files import Cache
from fsar_cli.reporting import SILENT

CPU = torch.device("cpu")


def config_of(project, **changes):
    return small(
        project, **{"model.freeze_backbone": True, "train.views": 3, "model.region.source": "difference"} | changes
    )


def trainer_of(config, tmp_path, name="run", **options) -> Trainer:
    return Trainer(config, lambda: create_run(config, tmp_path / name), CPU, **options)


def test_an_episode_holds_the_features_of_the_views_it_drew(project, tmp_path):
    config = config_of(project)
    trainer, method = trainer_of(config, tmp_path), lively(config)
    frozen = FrozenFeatures(method, trainer.reader, trainer.sampler, CPU, config, SILENT, None)
    clips = AugmentedClips(trainer.reader, trainer.sampler.videos, 3, config.train.seed)
    with torch.no_grad():
        every = [method.describe(to_float(clips[p].unsqueeze(0), None))["frames"] for p in range(len(clips))]
    views = set()
    for index in range(6):
        episode, drawn = trainer.sampler(index), frozen(index)
        for videos, found in ((episode.support, drawn.support), (episode.query, drawn.query)):
            for row, column in [(r, c) for r in range(videos.shape[0]) for c in range(videos.shape[1])]:
                candidates = torch.cat(every[3 * videos[row, column] :][:3])
                distances = (candidates - found["frames"][row, column]).abs().amax((1, 2))
                assert distances.min() < 1e-5 * candidates.abs().max(), "the features of one of that video's views"
                views.add(int(distances.argmin()))
    assert views == {0, 1, 2}


def test_heads_learn_backbones_do_not_and_a_resumed_run_is_the_uninterrupted_one(project, tmp_path):
    config = config_of(project)
    whole = trainer_of(config, tmp_path, "whole")
    before = {name: tensor.clone() for name, tensor in whole.method.state_dict().items()}
    whole.run()
    moved = {
        name.split(".")[0]
        for name, tensor in whole.method.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert moved == {"heads", "auxiliary"}
    half = trainer_of(config_of(project, **{"train.iterations": 4}), tmp_path, "half")
    half.run()
    again = Trainer(config, half.folder, CPU, pretrained=False)
    again.resume()
    again.run()
    a, b = load_method(whole.folder, config), load_method(again.folder, config)
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_the_second_run_asks_no_backbone(project, tmp_path, monkeypatch):
    config, cache = config_of(project), Cache(tmp_path / "cache")
    first = trainer_of(config, tmp_path, "first", cache=cache)
    result = first.run()
    second = trainer_of(config, tmp_path, "second", cache=cache)

    def refuse(*_: object) -> None:
        raise AssertionError("a backbone was asked")

    monkeypatch.setattr(bank, "_described", refuse)
    assert second.run().loss == result.loss


def test_a_relation_module_that_stands_still_is_said(project, tmp_path):
    for source, said in (("relation", True), ("difference", False)):
        listener = Listener()
        trainer_of(config_of(project, **{"model.region.source": source}), tmp_path, source, reporter=listener)
        assert any("relation module" in text for text in listener.warnings) == said


def test_a_method_without_regions_trains_so(project, tmp_path):
    result = trainer_of(config_of(project, **{"model.method": "trx"}), tmp_path).run()
    assert result.iterations == 6 and result.best_step is not None
