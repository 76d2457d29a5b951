"""Is this machine ready? Python, libraries, GPU, memory and disk, each with a remedy.

Every check returns findings and raises nothing: a broken torch must not keep the rest from being looked at, so torch
and its companions are imported inside the checks.
"""

import importlib
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from fsar_cli import __version__
from fsar_cli.files import cores

GIB = 2**30
Status = Literal["ok", "warning", "problem"]
Importer = Callable[[str], ModuleType]


@dataclass(frozen=True)
class Finding:
    """One line of the report; `exit_code` is that of the process if it is a problem (4 machine, 3 data, 2 settings)."""

    name: str
    status: Status
    text: str
    remedy: str = ""
    exit_code: int = 4


def examine_machine() -> list[Finding]:
    """All findings about this machine and the folder the command runs in."""
    importer = importlib.import_module
    machine = [check_python(), check_cores(), check_memory(), *check_disk(Path.cwd())]
    return [*machine, *check_torch(importer), check_torchvision(importer), check_video(importer)]


def exit_code(findings: list[Finding]) -> int:
    """0 without problems, else the code of the first kind in the order machine, data, settings."""
    return max((finding.exit_code for finding in findings if finding.status == "problem"), default=0)


def check_python() -> Finding:
    """Python and fsar."""
    return Finding("python", "ok", f"Python {platform.python_version()}, fsar {__version__}, {platform.platform()}")


def check_cores() -> Finding:
    """Processor cores this process may use."""
    return Finding("cores", "ok", f"{cores()} processor cores")


def check_memory() -> Finding:
    """Memory of the machine, or of the container where that is less."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return Finding("memory", "ok", "memory size unknown on this system")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    total = min(total, int(text)) if text.isdecimal() else total
    if total < 6 * GIB:
        remedy = "use fewer loader processes (--workers 0) and a small backbone"
        return Finding("memory", "warning", f"{total / GIB:.1f} GiB of memory", remedy)
    return Finding("memory", "ok", f"{total / GIB:.0f} GiB of memory")


def check_disk(folder: Path) -> list[Finding]:
    """Free space and the permission to write in a folder."""
    free = shutil.disk_usage(folder).free
    text = f"{free / GIB:.1f} GiB free"
    remedy = "extracted frames take about 20 KiB each (HMDB51: 12 GiB); work on a larger disk"
    space = Finding("disk", "ok", text) if free > 20 * GIB else Finding("disk", "warning", text, remedy)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = f"cannot write here: {error.strerror}"
        return [space, Finding("write access", "problem", reason, "work in a folder of your own", exit_code=3)]
    return [space, Finding("write access", "ok", "this folder can be written to")]


def check_torch(importer: Importer) -> list[Finding]:
    """torch and its GPUs."""
    try:
        torch = importer("torch")
    except Exception as error:  # a broken binary raises OSError, RuntimeError or worse
        return [Finding("torch", "problem", f"torch cannot be imported: {_one_line(error)}", "pip install torch")]
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    return [Finding("torch", "ok", f"torch {torch.__version__} ({build})"), *_gpus(torch)]


def _gpus(torch: ModuleType) -> list[Finding]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if available:
        return [_gpu(torch, index) for index in range(torch.cuda.device_count())]
    if torch.version.cuda is None:
        remedy = "fine for small backbones; for a GPU install torch and torchvision without +cpu, from one source"
        return [Finding("gpu", "warning", "this torch is built for CPUs only", remedy)]
    reason = f": {_one_line(caught[0].message)}" if caught else ""
    remedy = "on a CPU choose a small backbone (mobilenet_v2); where there is a GPU, check the driver with nvidia-smi"
    return [Finding("gpu", "warning", f"no CUDA device found{reason}", remedy)]


def _gpu(torch: ModuleType, index: int) -> Finding:
    name = f"cuda:{index}"
    try:
        free, total = torch.cuda.mem_get_info(index)
        (torch.ones(8, 8, device=name) @ torch.ones(8, 8, device=name)).sum().item()
    except Exception as error:
        remedy = "is the GPU in use or reserved, or older or newer than this torch supports? see nvidia-smi"
        return Finding("gpu", "problem", f"{name} does not compute: {_one_line(error)}", remedy)
    text = f"{name} {torch.cuda.get_device_name(index)}, {free / GIB:.0f} of {total / GIB:.0f} GiB free"
    if free < 8 * GIB:
        return Finding("gpu", "warning", text, "`fsar train --dry-run` says how much memory an episode needs")
    return Finding("gpu", "ok", text)


def check_torchvision(importer: Importer) -> Finding:
    """torchvision, whose binary must come from the same build as torch's."""
    try:
        return Finding("torchvision", "ok", f"torchvision {importer('torchvision').__version__}")
    except Exception as error:
        text = f"torchvision cannot be imported: {_one_line(error)}"
        if "torchvision::nms" in str(error):
            return Finding("torchvision", "problem", text, MIXED_BUILDS)
        return Finding("torchvision", "problem", text, "pip install torchvision, in the version made for this torch")


MIXED_BUILDS = (
    "torch and torchvision are of different builds, usually a CPU-only torch with the CUDA torchvision: reinstall both"
    " in one command from one source, `pip install --force-reinstall torch torchvision` (runs on a CPU as well)"
)


def check_video(importer: Importer) -> Finding:
    """PyAV, and x264 for writing videos."""
    try:
        av = importer("av")
    except Exception as error:
        return Finding("video", "problem", f"PyAV cannot be imported: {_one_line(error)}", "pip install av")
    if "libx264" not in av.codecs_available:
        remedy = "decoding works; to write MP4 install the wheel: pip install --force-reinstall --only-binary av av"
        return Finding("video", "warning", f"PyAV {av.__version__} without x264", remedy)
    return Finding("video", "ok", f"PyAV {av.__version__} with x264")


def _one_line(error: object) -> str:
    text = " ".join(str(error).split())
    return text if len(text) < 200 else f"{text[:200]}..."
