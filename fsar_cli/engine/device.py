"""Which device a run uses, and what that implies."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from fsar_cli.core.methods.base import FewShotMethod
from fsar_cli.errors import DeviceError, UsageError
from fsar_cli.machine import cores
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
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return 4 * 2**30


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
