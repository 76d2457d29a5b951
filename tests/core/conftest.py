"""Fixtures of the core's tests."""

import os
from collections.abc import Iterator

import pytest
import torch
from core_parts import tiny_backbone

from fsar_cli.core import build


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tensors are slower on many threads, and the order of sums stays the same on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods are built on the tiny trunk instead of a torchvision network."""
    monkeypatch.setattr(build, "build_backbone", tiny_backbone)


@pytest.fixture
def cuda() -> Iterator[torch.device]:
    """The first GPU, computing in full float32; where FSAR_EXPECT_CUDA=1 its absence is a failure."""
    if not torch.cuda.is_available():
        if os.environ.get("FSAR_EXPECT_CUDA") == "1":
            pytest.fail("FSAR_EXPECT_CUDA=1, but torch sees no CUDA device")
        pytest.skip("no CUDA device")
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    yield torch.device("cuda", 0)
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.set_float32_matmul_precision(products)
