"""Training classes on their way: from the split file to the configuration of a run, and from episodes to the loss."""

import pytest
import torch
from small_project import CLASSES, bank_of, episode_of, reader_of, small
from small_project import sampler_of as of_test

from fsar_cli.core.build import build_method
from fsar_cli.core.methods import METHODS
from fsar_cli.data.clips import TrainingEpisodes
from fsar_cli.data.splits import Splits
from fsar_cli.engine.checkpoint import load_method
from fsar_cli.engine.evaluate import evaluate, evaluate_bank
from fsar_cli.engine.frozen import FrozenFeatures
from fsar_cli.engine.runs import Run, create_run
from fsar_cli.engine.setup import plan, training_sampler, with_classes
from fsar_cli.engine.steps import episode_loss
from fsar_cli.engine.train import Trainer
from fsar_cli.errors import DataError
from fsar_cli.reporting import SILENT

CPU = torch.device("cpu")
CLASSIFYING = [name for name, kind in METHODS.items() if kind.classifies]


def config_of(project, method, **changes):
    return small(project, **{"model.method": method, "train.iterations": 4, "optim.accumulate": 1} | changes)


def sampler_of(config):
    return training_sampler(config, Splits.read(config.data.splits))


def test_those_with_a_classifier_are_known():
    assert set(CLASSIFYING) >= {"ata", "hyrsm", "molo"}
    assert not {"trx", "keyregion", "otam", "prototype"} & set(CLASSIFYING)


@pytest.mark.parametrize(("name", "views"), [("hyrsm", 2), *[(name, 0) for name in CLASSIFYING]])
def test_the_classifier_is_trained_saved_and_loaded_again(project, tmp_path, name, views):
    config = config_of(project, name, **{"train.views": views})
    run = create_run(config, tmp_path / "run")
    trainer = Trainer(config, run, CPU)
    before = trainer.method.classifier.weight.detach().clone()
    assert trainer.method.classifier.out_features % len(CLASSES["train"]) == 0
    trainer.run()
    assert not torch.equal(trainer.method.classifier.weight, before)
    assert run.config().model.classes == len(CLASSES["train"]) and config.model.classes is None
    result = evaluate(load_method(Run(run.path)), run.config(), CPU)
    assert [shot.shot for shot in result.shots] == [1, 2]


def test_resuming_is_the_run_in_one_go(project, tmp_path):
    config = config_of(project, "hyrsm")
    whole = Trainer(config, create_run(config, tmp_path / "whole"), CPU)
    whole.run()
    half = config.model_copy(update={"train": config.train.model_copy(update={"iterations": 2})})
    Trainer(half, create_run(half, tmp_path / "parts"), CPU).run()
    run = Run(tmp_path / "parts")
    settings = run.config().model_copy(update={"train": config.train})
    again = Trainer(settings, run, CPU, pretrained=False)
    again.resume()
    again.run()
    for key, value in whole.method.state_dict().items():
        torch.testing.assert_close(again.method.state_dict()[key], value, rtol=0, atol=0, msg=key)


def test_match_and_loss_hear_of_the_classes_of_the_episode(project):
    config = config_of(project, "hyrsm")
    config = with_classes(config, sampler_of(config))
    method, heard = build_method(config).train(), []
    match, loss = method.match, method.loss
    method.match = lambda support, query, classes: heard.append(classes) or match(support, query, classes)
    method.loss = lambda scores, labels, reduction, classes: (
        heard.append(classes) or loss(scores, labels, reduction, classes)
    )
    episode_loss(method, episode_of(config), config, CPU, torch.Generator().manual_seed(0))
    assert [classes.tolist() for classes in heard] == 2 * [[sampler_of(config)(0).classes.tolist()]]


@pytest.mark.parametrize("name", ["prototype", "otam"])
def test_match_hears_of_the_classes_at_evaluation_too(project, name):
    """Also where all pairs are known and only positions are left of the videos."""
    config = config_of(project, name)
    sampler, method, heard = of_test(config, way=2, shot=1), build_method(config).eval(), []
    bank = bank_of(method, config, sampler.videos)
    match = method.match
    method.match = lambda support, query, classes, pairs: heard.append(classes) or match(support, query, classes, pairs)
    evaluate_bank(method, bank, sampler, 50, batch=20)
    drawn = sampler.batch(0, 50)
    assert torch.equal(torch.cat(heard), torch.from_numpy(drawn.classes))
    assert (sampler.labels[drawn.support] == drawn.classes[:, :, None]).all()


def test_an_episode_names_the_classes_its_videos_are_of(project):
    config = config_of(project, "hyrsm", **{"train.views": 2, "episode.way": 2})
    sampler, reader = sampler_of(config), reader_of(config)
    method = build_method(config)
    frozen = FrozenFeatures(method, reader, sampler, CPU, config, SILENT, None)
    for index in range(5):
        episode = sampler(index)
        shown = [sampler.labels[videos].tolist() for videos in episode.support]
        for found in (TrainingEpisodes(reader, sampler, 0)[index].classes, frozen(index).classes):
            assert [[c] * 2 for c in found.tolist()] == shown


def test_methods_without_a_classifier_are_left_alone(project):
    config = config_of(project, "trx")
    assert with_classes(config, sampler_of(config)) is config


def test_it_evaluates_untrained_without_knowing_any_classes(project):
    config = config_of(project, "hyrsm")
    method = build_method(config).eval()
    assert method.classifier is None
    assert len(evaluate(method, config, CPU).shots) == 2


def test_another_number_of_classes_is_refused(project, tmp_path):
    config = config_of(project, "hyrsm", **{"model.classes": 5})
    with pytest.raises(DataError, match=r"has 3 training classes, but model\.classes is 5") as caught:
        Trainer(config, lambda: create_run(config, tmp_path / "run"), CPU)
    assert "the split file it was trained with" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_a_plan_counts_the_classifier(project):
    parameters = [plan(config_of(project, "hyrsm", **{"model.classes": c}))["parameters"] for c in (None, 3)]
    assert parameters[0] == parameters[1]
    config = config_of(project, "hyrsm")
    assert parameters[0] > sum(p.numel() for p in build_method(config).parameters())
