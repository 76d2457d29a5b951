"""A run on a GPU: trains in bfloat16, resumes, and evaluates to the accuracies of the CPU."""

import numpy as np
import pytest
import torch
from small_project import lively, small

from fsar_cli.engine.checkpoint import load_method
from fsar_cli.engine.evaluate import evaluate
from fsar_cli.engine.runs import Run, create_run
from fsar_cli.engine.train import Trainer

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("method", ["keyregion", "trx", "prototype"])
def test_evaluation_gives_the_accuracies_of_the_cpu(project, cuda, method):
    config = small(project, **{"model.method": method, "train.amp": "off", "eval.episodes": 300})
    network = lively(config)
    expected = evaluate(network, config, torch.device("cpu"))[0].shots
    found = evaluate(network, config, cuda)[0].shots
    for a, b in zip(expected, found, strict=True):
        assert a.digest == b.digest
        # Rounding may turn a tie; it may not move the mean.
        assert np.mean(a.accuracies != b.accuracies) < 0.02
        assert a.accuracy[0] == pytest.approx(b.accuracy[0], abs=0.01)


def test_training_runs_in_bfloat16_and_resumes_exactly(project, cuda, tmp_path):
    config = small(project, **{"train.val_every": 0, "train.workers": 2, "train.amp": "auto"})
    trainer = Trainer(config, create_run(config, tmp_path / "run"), cuda)
    result = trainer.run()
    assert np.isfinite(result.loss)
    again = Trainer(config, Run(tmp_path / "run"), cuda, pretrained=False)
    again.resume()
    assert again.step == 6
    for name, tensor in trainer.method.state_dict().items():
        assert torch.equal(tensor, again.method.state_dict()[name])
    assert load_method(Run(tmp_path / "run")).training is False
