"""Which device a run uses, and how networks run there: number type, memory layout, batch norms.

On CUDA training runs in bfloat16 autocast where the card has it, else in float16 with scaled losses, with channels-last
backbones, cuDNN's fastest algorithms for the sizes at hand and fused optimisers. What is evaluated is encoded in
float16, as fast and with three bits more: bfloat16 moved the demo's 1-shot accuracy by −0.35 ± 0.10 points, float16 by
0.00 ± 0.04 (10,000 episodes, both on a CPU).

What stays float32 there is either small (the relation, region centres, heads in evaluation) or differences of nearly
equal numbers (distances), so matrix products keep full float32: TF32 is left as torch sets it, on for convolutions
alone. Branches are not spread over streams: a convolution over an episode's frames fills a GPU by itself.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from fsar_cli.config import Config
from fsar_cli.core.method import FewShotMethod
from fsar_cli.errors import DeviceError, UsageError, counted
from fsar_cli.files import available_memory, cores
from fsar_cli.ranks import ALONE, Ranks
from fsar_cli.reporting import SILENT, Reporter

MAX_WORKERS = 8
WORKERS_PER_CORE = 4
TYPES = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str = "auto", reporter: Reporter = SILENT, ranks: Ranks = ALONE) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:I` -> device; says in one line what `auto` chose.

    A GPU becomes the process's current one: memory is pinned for that one, and what names none runs there. Of several
    processes on a machine each takes a GPU of its own, where they are to choose.

    Raises:
        UsageError: another name.
        DeviceError: CUDA asked for and not there.
    """
    check_device(name)
    count = torch.cuda.device_count() if not ranks.alone and name in ("auto", "cuda") else 0
    kind, _, index = (f"cuda:{ranks.local % count}" if count else name).partition(":")
    if kind == "cuda":
        _require_cuda(int(index or 0))
    chosen = f"{kind}:{index}" if index else kind
    device = torch.device(chosen if kind != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    if device.index is not None:
        torch.cuda.set_device(device)
    if name == "auto":
        reporter.log(f"device: {describe(device)}")
    return device


def check_device(name: str) -> str:
    """The name, if it can be one of a device, whether or not that is here. Raises UsageError."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", name):
        raise UsageError(f"unknown device '{name}'", "use auto, cpu, cuda or cuda:I")
    return name


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
        return memory_to_spare(device) - torch.cuda.memory_allocated(device)
    return available_memory()


def memory_to_spare(device: torch.device) -> int:
    """Bytes that a process in this one's place would have: what is free, and on a GPU all that torch holds there."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return available_memory()


def loader_workers(asked: int | None, device: torch.device, reporter: Reporter = SILENT, ranks: Ranks = ALONE) -> int:
    """Loader processes: as asked, else what the cores allow; on a CPU one core fewer, since the network needs them.
    The cores are those of the machine, which its processes share.

    More than four a core only take memory and files: so many are started, which is said.
    """
    most = max(MAX_WORKERS, WORKERS_PER_CORE * cores())
    if asked is not None and asked > most:
        reporter.log(f"train.workers is {asked}: {most} are started, as there are {counted(cores(), 'core')}")
    if asked is not None:
        return min(asked, most)
    own = max(1, cores() // ranks.here)
    return min(MAX_WORKERS, own if device.type == "cuda" else max(1, own // 2))


def training_type(device: torch.device, amp: str) -> torch.dtype:
    """What is trained in: as asked, or with `auto` what pays: float32 on a CPU, and on a GPU what the card computes.

    bfloat16 came with Ampere (elsewhere it is emulated, slowly), fast float16 with Volta.
    """
    if amp in TYPES:
        return TYPES[amp]
    if device.type != "cuda":
        return torch.float32
    capability = torch.cuda.get_device_capability(device)
    if capability >= (8, 0) or torch.version.hip:
        return torch.bfloat16
    return torch.float16 if capability >= (7, 0) else torch.float32


def loss_scaler(device: torch.device, amp: str, reporter: Reporter = SILENT) -> torch.amp.GradScaler:
    """Keeps small gradients from vanishing in float16; with the other types it does nothing.

    Says so in one line where a GPU is trained on in another type than bfloat16 without having been asked to.
    """
    dtype = training_type(device, amp)
    if device.type == "cuda" and amp == "auto" and dtype != torch.bfloat16:
        how = "float16 with scaled losses" if dtype == torch.float16 else "float32"
        reporter.log(f"training in {how}: this GPU has no bfloat16")
    return torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)


def autocast(device: torch.device, amp: str) -> AbstractContextManager:
    """Autocast to `training_type`."""
    return _cast(device, training_type(device, amp))


def encoding_type(device: torch.device, config: Config) -> torch.dtype:
    """What backbones compute in where nothing is trained, whatever they were trained in (`eval.precision`)."""
    if config.eval.precision != "auto":
        return getattr(torch, config.eval.precision)
    return torch.float16 if config.train.amp != "off" and device.type == "cuda" else torch.float32


def encoding_autocast(device: torch.device, config: Config) -> AbstractContextManager:
    """Autocast to `encoding_type`. float16 ends at 65504: who encodes looks whether the result is finite."""
    return _cast(device, encoding_type(device, config))


def _cast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


def place(method: FewShotMethod, device: torch.device, channels_last: bool) -> FewShotMethod:
    """Move a method; its backbones' convolutions get channels-last weights."""
    method.to(device)
    for backbone in method.features.backbones():
        backbone.to(memory_format=backbone.memory_format if channels_last else torch.contiguous_format)
    return method


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


@contextmanager
def folded(method: FewShotMethod) -> Iterator[None]:
    """Inside, backbones in evaluation mode run with their batch norms folded into the convolutions before them.

    In evaluation a batch norm multiplies and shifts each channel by constants, so the convolution's own weights and
    bias can do it: a pass less over each map, which differs by float32 rounding (1e-6 of its largest value). What is
    folded is a copy that lives as long as the block: names, weights and training stay what they are.
    """
    try:
        fold(method)
        yield
    finally:
        for backbone in method.features.backbones():
            backbone.folded = None


def fold(method: FewShotMethod) -> None:
    """As in a block of `folded`, for as long as the method lives: nothing of it is trained any more."""
    for backbone in method.features.backbones():
        backbone.folded = _folded(backbone.trunk)


def _folded(trunk: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """None where there is nothing to fold, or the trunk cannot be traced (it decides by what it computes)."""
    if trunk.training or not any(isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d) for module in trunk.modules()):
        return None
    try:
        return fuse(trunk).forward  # a method, not a module: a second module would be saved with the first
    except Exception:  # torch.fx raises of many kinds
        return None
