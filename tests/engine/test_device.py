"""Devices and workers: what is asked for is given or refused with the right exit code."""

import pytest
import torch
from small_project import Listener

from fsar_cli.engine.device import (
    autocast,
    constant_sizes,
    free_memory,
    loader_workers,
    loss_scaler,
    memory_to_spare,
    resolve_device,
    training_type,
)
from fsar_cli.errors import DeviceError, UsageError


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:x", "cpu:1", "", "cuda:", "cuda:-1", "cuda:²", "cuda:1000", "CUDA", "cuda:0\n"]
)
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


def test_the_gpu_of_a_run_is_the_current_one_of_its_process(monkeypatch):
    """Else memory is pinned for the first one."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    resolve_device("cpu")
    assert chosen == [torch.device("cuda:1")]


@pytest.mark.filterwarnings("ignore:.*GradScaler is enabled, but CUDA is not available")
@pytest.mark.parametrize(
    ("card", "dtype", "said"),
    [
        ((9, 0), torch.bfloat16, []),  # H100
        ((8, 0), torch.bfloat16, []),  # A100
        ((7, 5), torch.float16, ["training in float16 with scaled losses: this GPU has no bfloat16"]),  # T4, 2080
        ((7, 0), torch.float16, ["training in float16 with scaled losses: this GPU has no bfloat16"]),  # V100
        ((6, 1), torch.float32, ["training in float32: this GPU has no bfloat16"]),  # 1080
    ],
)
def test_auto_trains_in_what_the_card_computes_and_says_what_is_less(monkeypatch, card, dtype, said):
    asked, listener = [], Listener()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: asked.append(device) or card)
    device = torch.device("cuda:1")
    assert training_type(device, "auto") == dtype
    assert set(asked) == {device}, "that card, not the first"
    assert loss_scaler(device, "auto", listener).is_enabled() is (dtype == torch.float16 and torch.cuda.is_available())
    assert listener.said == said
    assert training_type(device, "off") == torch.float32 and training_type(device, "bf16") == torch.bfloat16


def test_a_cpu_trains_in_float32_unless_asked_otherwise():
    cpu = torch.device("cpu")
    types = {"auto": torch.float32, "off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    for amp, dtype in types.items():
        assert training_type(cpu, amp) == dtype
        assert loss_scaler(cpu, amp).is_enabled() is (amp == "fp16")
        with autocast(cpu, amp):
            assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == dtype


def test_memory_to_spare_is_what_is_free_and_what_torch_holds(monkeypatch):
    device = torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 70)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 50)
    assert (memory_to_spare(device), free_memory(device)) == (170, 120)


def test_auto_says_what_it_chose():
    listener = Listener()
    device = resolve_device("auto", listener)
    assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert listener.said[0].startswith(f"device: {device.type}")


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


def test_more_loader_processes_than_pay_are_not_started_and_that_is_said(monkeypatch):
    listener = Listener()
    monkeypatch.setattr("fsar_cli.engine.device.cores", lambda: 3)
    assert [loader_workers(asked, torch.device("cpu"), listener) for asked in (0, 12, 200)] == [0, 12, 12]
    assert listener.said == ["train.workers is 200: 12 are started, as there are 3 cores"]
