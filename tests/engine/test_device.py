"""Devices and workers: what is asked for is given or refused with the right exit code."""

import pytest
import torch

from fsar_cli.engine.device import constant_sizes, loader_workers, resolve_device
from fsar_cli.errors import DeviceError, UsageError


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1", ""])
def test_unknown_devices_are_a_usage_error(name):
    with pytest.raises(UsageError, match="unknown device"):
        resolve_device(name)


def test_cuda_without_cuda_is_a_device_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceError, match="no CUDA device") as caught:
        resolve_device("cuda")
    assert caught.value.exit_code == 4
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match="no device cuda:2"):
        resolve_device("cuda:2")


def test_auto_says_what_it_chose():
    said = []

    class Listener:
        def log(self, text):
            said.append(text)

    device = resolve_device("auto", Listener())
    assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert said[0].startswith(f"device: {device.type}")


def test_cudnn_may_choose_by_time_on_a_gpu_while_training_runs_and_not_after():
    before = torch.backends.cudnn.benchmark
    with constant_sizes(torch.device("cpu")):
        assert torch.backends.cudnn.benchmark is before
    with pytest.raises(KeyError), constant_sizes(torch.device("cuda")):
        assert torch.backends.cudnn.benchmark
        raise KeyError
    assert torch.backends.cudnn.benchmark is before


def test_workers_are_as_asked_or_leave_cores_to_the_network(monkeypatch):
    import os

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert loader_workers(5, torch.device("cpu")) == 5
    assert loader_workers(None, torch.device("cpu")) == 3
    assert loader_workers(None, torch.device("cuda")) == 6
