"""Training that cannot go on for want of frames: what was trained is saved, and resuming is as if nothing had been."""

import multiprocessing
import os
import re
import signal

import pandas as pd
import pytest
import torch
from small_project import small

from fsar_cli.data.clips import TrainingEpisodes
from fsar_cli.engine import train as train_module
from fsar_cli.engine.runs import Run, create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.errors import DataError, DeviceError

CPU = torch.device("cpu")
FRAME = DataError("the frame 1.jpg is missing", "extract it again")


def damaged(*_) -> None:
    raise FRAME


def killed(*_) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def config(project):
    changes = {"model.method": "trx", "train.workers": 1, "train.checkpoint_every": 100, "train.iterations": 7}
    return small(project, **changes | {"train.val_every": 4, "optim.accumulate": 3})


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory) -> Trainer:
    """The run that nothing befell."""
    return _run(config, lambda: create_run(config, tmp_path_factory.mktemp("whole") / "run"))


def _run(config, run) -> Trainer:
    trainer = Trainer(config, run, CPU)
    trainer.run()
    return trainer


def _resumed_as_whole(config, folder, whole: Trainer) -> None:
    again = Trainer(config, Run(folder), CPU, pretrained=False)
    again.resume()
    again.run()
    expected, state = whole.method.state_dict(), again.method.state_dict()
    assert all(torch.equal(expected[name], state[name]) for name in expected)
    assert again.best == whole.best
    columns = ["step", "loss", "accuracy", "val_accuracy"]
    rows = [pd.read_csv(run / "metrics.csv")[columns] for run in (whole.folder.path, folder)]
    pd.testing.assert_frame_equal(*rows)


@pytest.mark.parametrize(
    ("befalls", "error", "message"),
    [(damaged, DataError, FRAME.message), (killed, DeviceError, r"killed over episode 5 \(SIGKILL\)")],
)
def test_episodes_since_the_last_checkpoint_are_saved(config, whole, tmp_path, monkeypatch, befalls, error, message):
    """Between two optimiser steps, and without a checkpoint before."""
    plain = TrainingEpisodes.__getitem__
    with monkeypatch.context() as patch:
        patch.setattr(TrainingEpisodes, "__getitem__", lambda s, i: befalls() if i == 5 else plain(s, i))
        with pytest.raises(error, match=message) as raised:
            _run(config, create_run(config, tmp_path / "run"))
    # Batches of a dead process that nobody has taken yet are lost with it.
    assert re.search(f"; episodes up to [345] are saved, .*: fsar train --resume '{tmp_path}/run'$", raised.value.hint)
    assert multiprocessing.active_children() == []
    _resumed_as_whole(config, tmp_path / "run", whole)


@pytest.mark.parametrize("at", [4, 7])
def test_a_validation_that_could_not_be_made_is_made_when_the_run_is_resumed(config, whole, tmp_path, monkeypatch, at):
    plain = train_module.encode_videos
    run = create_run(config, tmp_path / "run")
    trainer = Trainer(config, run, CPU)
    with monkeypatch.context() as patch:
        patch.setattr(
            train_module, "encode_videos", lambda *a, **k: damaged() if trainer.step == at else plain(*a, **k)
        )
        with pytest.raises(DataError, match=FRAME.message) as raised:
            trainer.run()
    assert raised.value.hint.startswith(f"{FRAME.hint}; episodes up to {at} are saved, go on with: fsar train --resume")
    _resumed_as_whole(config, tmp_path / "run", whole)


def test_where_nothing_was_trained_nothing_is_promised(config, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingEpisodes, "__getitem__", damaged)
    with pytest.raises(DataError) as raised:
        _run(config, create_run(config, tmp_path / "run"))
    assert (raised.value.message, raised.value.hint) == (FRAME.message, FRAME.hint)
    assert not Run(tmp_path / "run").state_file.exists()
