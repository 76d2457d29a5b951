"""`train.frame_cache`: on where the frames fit, never in the way, and training is the same."""

import pytest
import torch
from small_project import small

from fsar_cli.data.clips import ClipReader
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.shared import AVAILABLE, bytes_of, lay_out
from fsar_cli.engine import sharing
from fsar_cli.engine.runs import create_run
from fsar_cli.engine.sharing import SHARE, share_frames
from fsar_cli.engine.steps import training_sampler
from fsar_cli.engine.train import Trainer
from fsar_cli.reporting import Silent

CPU = torch.device("cpu")


class Listener(Silent):
    def __init__(self):
        self.details, self.warnings = [], []

    def detail(self, text):
        self.details.append(text)

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture(scope="module")
def case(project):
    config = small(project)
    videos = training_sampler(config, Splits.read(config.data.splits)).videos
    return ClipReader(FrameStore(config.data.frames), config.clip), videos


def share(case, setting, free, monkeypatch, device=CPU):
    monkeypatch.setattr(sharing, "available_memory", lambda: int(free))
    listener = Listener()
    return share_frames(*case, setting, device, listener), listener


@pytest.mark.skipif(not AVAILABLE, reason="no memory without a file on this system")
def test_auto_keeps_all_frames_or_none_and_a_number_as_many_as_fit(case, monkeypatch):
    reader, videos = case
    whole = bytes_of(lay_out(reader.store, videos, reader.clip))
    for device in (CPU, torch.device("cuda")):
        need = whole / SHARE[device.type]
        shared, _ = share(case, "auto", need + 8, monkeypatch, device)
        assert set(shared.rooms) == set(videos)
        shared, listener = share(case, "auto", need - 8, monkeypatch, device)
        assert shared is None and "are not kept" in listener.details[0] and not listener.warnings
    shared, listener = share(case, 0.5 * whole / 2**30, 1e12, monkeypatch)
    assert 0 < len(shared.rooms) < len(videos) and not listener.warnings
    assert bytes_of(shared.rooms) <= 0.5 * whole
    shared, listener = share(case, 64.0, whole / 2, monkeypatch)
    assert bytes_of(shared.rooms) <= whole / 2 and "64 GiB asked for" in listener.warnings[0]
    assert share(case, "off", 1e12, monkeypatch)[0] is None


def test_without_such_memory_training_goes_on(case, monkeypatch):
    monkeypatch.setattr(sharing, "AVAILABLE", False)
    shared, listener = share(case, "auto", 1e12, monkeypatch)
    assert shared is None and not listener.warnings
    shared, listener = share(case, 1.0, 1e12, monkeypatch)
    assert shared is None and "train.frame_cache" in listener.warnings[0]


def test_memory_that_the_system_refuses_is_one_warning(case, monkeypatch):
    def refuse(*_):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(sharing, "SharedFrames", refuse)
    monkeypatch.setattr(sharing, "AVAILABLE", True)
    shared, listener = share(case, "auto", 1e12, monkeypatch)
    assert shared is None and "Cannot allocate memory" in listener.warnings[0]


def test_training_is_the_same_with_and_without(project, tmp_path):
    weights = []
    for setting in ("off", "auto"):
        changes = {"train.val_every": 0, "train.workers": 2, "train.frame_cache": setting, "model.method": "trx"}
        config = small(project, **changes)
        trainer = Trainer(config, create_run(config, tmp_path / setting), CPU)
        trainer.run()
        weights.append(trainer.method.state_dict())
        assert (trainer.reader.shared is not None) is (setting == "auto" and AVAILABLE)
    assert all(torch.equal(a, b) for a, b in zip(weights[0].values(), weights[1].values(), strict=True))
