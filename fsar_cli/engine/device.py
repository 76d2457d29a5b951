"""Which device a run uses, and what that implies.

On CUDA training runs in bfloat16 autocast, with channels-last backbones, cuDNN's fastest algorithms for the sizes at
hand and fused optimisers. What is evaluated is encoded in float16, as fast and with three bits more: bfloat16 moved the
demo's 1-shot accuracy by −0.35 ± 0.10 points, float16 by 0.00 ± 0.04 (10,000 episodes, both on a CPU).

What stays float32 there is either small (the relation, region centres, heads in evaluation) or differences of nearly
equal numbers (distances), so matrix products keep full float32: TF32 is left as torch sets it, on for convolutions
alone. Branches are not spread over streams: a convolution over an episode's frames fills a GPU by itself.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from fsar_cli.core.method import FewShotMethod
from fsar_cli.errors import DeviceError, UsageError
from fsar_cli.files import available_memory, cores
from fsar_cli.reporting import SILENT, Reporter

MAX_WORKERS = 8


def resolve_device(name: str = "auto", reporter: Reporter = SILENT) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:I` -> device; says in one line what `auto` chose.

    Raises:
        UsageError: another name.
        DeviceError: CUDA asked for and not there.
    """
    if name == "auto":
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        reporter.log(f"device: {describe(device)}")
        return device
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise UsageError(f"unknown device '{name}'", "use auto, cpu, cuda or cuda:I")
    if kind == "cuda":
        _require_cuda(int(index or 0))
    return torch.device(name)


def _require_cuda(index: int) -> None:
    count = torch.cuda.device_count()
    if count == 0:
        raise DeviceError("no CUDA device found", "--device cpu, or `fsar doctor` to see what is missing")
    if index >= count:
        raise DeviceError(f"no device cuda:{index}, there are {count}", f"cuda:0 to cuda:{count - 1}")


def describe(device: torch.device) -> str:
    """One line about a device."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return f"{device} ({torch.cuda.get_device_name(device)}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free)"
    return f"cpu ({torch.get_num_threads()} threads)"


def free_memory(device: torch.device) -> int:
    """Bytes a tensor could take now: free on the GPU (with what torch holds unused), or available on the machine."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return available_memory()


def loader_workers(asked: int | None, device: torch.device) -> int:
    """Loader processes: as asked, else what the cores allow; on a CPU one core fewer, since the network needs them."""
    if asked is not None:
        return asked
    return min(MAX_WORKERS, cores() if device.type == "cuda" else max(1, cores() // 2))


def autocast(device: torch.device, amp: str) -> AbstractContextManager:
    """bfloat16 autocast where it was asked for (`bf16`) or pays (`auto` on CUDA)."""
    if amp == "bf16" or (amp == "auto" and device.type == "cuda"):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def place(method: FewShotMethod, device: torch.device, channels_last: bool) -> FewShotMethod:
    """Move a method; its backbones' convolutions get channels-last weights (3-D convolutions have no such layout)."""
    method.to(device)
    for backbone in method.features.backbones():
        backbone.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    return method


def encoding_type(device: torch.device, amp: str) -> torch.dtype:
    """What backbones compute in where nothing is trained, whatever they were trained in."""
    return torch.float16 if amp != "off" and device.type == "cuda" else torch.float32


def encoding_autocast(device: torch.device, amp: str) -> AbstractContextManager:
    """Autocast to `encoding_type`. float16 ends at 65504: who encodes looks whether the result is finite."""
    dtype = encoding_type(device, amp)
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


@contextmanager
def constant_sizes(device: torch.device) -> Iterator[None]:
    """On CUDA cuDNN times its algorithms once for each size of input and keeps the fastest: pays where sizes recur."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device, without waiting for what the device does."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
