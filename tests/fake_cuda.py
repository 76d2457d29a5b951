"""A GPU that is not there: fake tensors, which have shapes, types and devices but no numbers, and run no kernel.

What goes wrong on a GPU alone goes wrong here: tensors of two devices in one operation, products of two number types,
a generator of the wrong device, and whatever makes the host wait (`Gpu`). What depends on numbers does not: kernels,
their speed, and gradients, as autograd asks the driver for a device before it runs backward.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from fsar_cli.data import transforms

CUDA = torch.device("cuda", 0)
GIB = 2**30

Module = TypeVar("Module", bound=nn.Module)

# Operations whose tensors must be of one floating type on a GPU. A meta kernel, which gives the shapes, lets any pass.
PRODUCTS = {
    "mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot", "vdot", "linear", "convolution", "native_layer_norm",
    "native_group_norm", "grid_sampler_2d", "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_attention_math",
}  # fmt: skip
# Begin the names of operations that no GPU computes in half precision.
WIDE = ("linalg_", "_linalg_", "_cdist_", "cholesky", "lu_", "_fft_")
READS = ("_local_scalar_dense", "item", "is_nonzero")


class GpuGenerator(torch.Generator):
    """A generator that says it is on the GPU; its state lies on the host, as a GPU's does."""

    @property
    def device(self) -> torch.device:
        return CUDA


class Gpu(FakeTensorMode):
    """Inside, what is made on `cuda` is a fake tensor there, and what a GPU would refuse fails.

    `copies` and `reads` count what the host waits for: transfers that block, and numbers that are asked for.
    """

    def __init__(self, waits: bool, answers: bool = True) -> None:
        """
        Args:
            waits: whether the host may wait. It may where videos are encoded and matched, not in a training step.
            answers: what a question such as `isfinite().all()` is answered; other numbers cannot be read.
        """
        super().__init__(allow_non_fake_inputs=True)
        self.waits, self.answers, self.copies, self.reads = waits, answers, 0, 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, the host may wait: what is done once, before the steps."""
        before, self.waits = self.waits, True
        try:
            yield
        finally:
            self.waits = before

    def put(self, module: Module) -> Module:
        """Move a module of real tensors to the GPU."""
        with self.waiting():
            return module.to(CUDA)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, kwargs = func._schema.name.removeprefix("aten::"), kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if name in READS and tensors[0].device.type == "cuda":
            return self._read(tensors[0])
        if name == "to" and torch.is_inference_mode_enabled():  # a copy of one number would be made in earnest
            with torch.inference_mode(False), self:
                return func(*args, **kwargs)
        if any(x.device.type == "cuda" for x in tensors):
            _require_types(name, tensors)
        made = super().__torch_dispatch__(func, types, args, kwargs)
        if name in ("_to_copy", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            self._copied(source.device, made.device, kwargs.get("non_blocking") or args[2:3] == (True,))
        if name in ("index", "index_put_", "index_put") and len({x.device.type for x in tensors}) > 1:
            self._copied(torch.device("cpu"), CUDA, False)  # positions on the host are fetched
        return made

    def _copied(self, source: torch.device, target: torch.device, unawaited: bool) -> None:
        between = {source.type, target.type} == {"cpu", "cuda"}
        if between and not (unawaited and target.type == "cuda"):
            assert self.waits, f"a copy from {source.type} to {target.type} makes the host wait"
            self.copies += 1

    def _read(self, tensor: Tensor) -> bool:
        assert self.waits, "a number is read on the host, which waits for the GPU"
        assert tensor.dtype == torch.bool, f"a number of {tensor.dtype} is read: fake tensors have none"
        self.reads += 1
        return self.answers


def _require_types(name: str, tensors: list[Tensor]) -> None:
    kinds = {x.dtype for x in tensors}
    if name in PRODUCTS:
        assert len(kinds) == 1, f"{name} of {kinds}: a GPU takes one type"
        assert kinds.pop().is_floating_point, f"{name} of whole numbers: no GPU has it"
    elif name.startswith(WIDE):
        assert not kinds & {torch.float16, torch.bfloat16}, f"{name} of {kinds}: no GPU has it in half precision"


class _Generators(TorchFunctionMode):
    """Refuses a generator of another device than the numbers that are drawn."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        drawn = func(*args, **(kwargs or {}))
        if (generator := (kwargs or {}).get("generator")) is not None:
            assert generator.device.type == drawn.device.type, f"{drawn.device} draws by {generator.device}"
        return drawn


def _put_in_place(old: Tensor, new: Tensor) -> None:
    """Instead of `torch.utils.swap_tensors`, which fake tensors refuse: another layout on the same device."""
    assert old.device == new.device
    old.data = new


@contextmanager
def gpu(waits: bool = False, answers: bool = True) -> Iterator[Gpu]:
    """A block in which `cuda` is there, with 64 GiB free and bfloat16. Arguments as of `Gpu`."""
    instead = {
        "torch.cuda.amp.common.amp_definitely_not_available": lambda: False,  # else autocast is silently off
        "torch.cuda.is_bf16_supported": lambda *_, **__: True,
        "torch.cuda.get_device_capability": lambda *_: (8, 0),
        "torch.cuda.mem_get_info": lambda *_: (64 * GIB, 80 * GIB),
        "torch.cuda.memory_reserved": lambda *_: 0,
        "torch.cuda.memory_allocated": lambda *_: 0,
        "torch.utils.swap_tensors": _put_in_place,
        "torch.Tensor.pin_memory": Tensor.clone,  # also in threads, where tensors are real
    }
    with ExitStack() as stack:
        for name, stand_in in instead.items():
            stack.enter_context(patch(name, stand_in))
        stack.callback(transforms._statistics.cache_clear)  # it keeps tensors, here fake ones
        stack.enter_context(_Generators())
        yield stack.enter_context(Gpu(waits, answers))
