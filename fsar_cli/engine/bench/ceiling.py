"""What the machine can do at best, and how much a piece of work asks of it.

The ceiling is not a data sheet's: it is the fastest matrix product of torch on this machine, now, with these threads.
"""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from fsar_cli.engine.bench.timing import Repeats, in_turn

# Sides of the products: square ones, and those of a cross-transformer (tuples of an episode x key_dim, x 3 frames).
SHAPES = {
    "cpu": ((1024, 1024, 1024), (2048, 2048, 2048), (3360, 1152, 6144)),
    "cuda": ((4096, 4096, 4096), (8192, 8192, 8192), (3360, 1152, 6144)),
}
COPIED = {"cpu": 2**28, "cuda": 2**30}
"""Bytes of a copy: more than the caches hold."""
TYPES = {"cpu": (torch.float32, torch.bfloat16), "cuda": (torch.float32, torch.bfloat16, torch.float16)}
"""What is computed in on each kind of device."""


def type_name(dtype: torch.dtype) -> str:
    """`float32` of torch.float32."""
    return str(dtype).removeprefix("torch.")


def product_ceiling(device: torch.device, dtype: torch.dtype, repeats: Repeats) -> float:
    """FLOP/s of the fastest of some matrix products."""
    return max(_product(shape, device, dtype, repeats) for shape in SHAPES[device.type])


def _product(shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype, repeats: Repeats) -> float:
    rows, columns, inner = shape
    a = torch.rand(rows, inner, device=device).to(dtype)
    b = torch.rand(inner, columns, device=device).to(dtype)
    seconds = in_turn({"product": lambda: a @ b}, device, repeats)["product"]
    return 2 * rows * columns * inner / min(seconds.seconds)  # a ceiling is the best that was seen


def copy_bandwidth(device: torch.device, repeats: Repeats) -> float:
    """Bytes/s of copying a large tensor, reading and writing counted."""
    source = torch.ones(COPIED[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = in_turn({"copy": lambda: target.copy_(source)}, device, repeats)["copy"]
    return 2 * source.numel() / min(seconds.seconds)


def flops_of(work: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products and convolutions of a run of `work` (which must not be in
    inference mode, where torch does not take layers apart)."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()
