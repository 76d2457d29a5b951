"""A whole benchmark: the sections asked for, one after the other, into a report that is kept whatever happens."""

import platform
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision

from fsar_cli import __version__
from fsar_cli.engine.bench.measurement import Report
from fsar_cli.engine.bench.report import one_line
from fsar_cli.engine.bench.sections import SECTIONS
from fsar_cli.engine.bench.sizes import Sizes
from fsar_cli.engine.bench.workbench import Workbench, workbench
from fsar_cli.errors import Interrupted, UsageError, did_you_mean
from fsar_cli.files import cores
from fsar_cli.reporting import SILENT, Reporter


def chosen_sections(names: Sequence[str]) -> tuple[str, ...]:
    """Sections in the order they run; all of them where none is named.

    Raises:
        UsageError: an unknown one.
    """
    for name in names:
        if name not in SECTIONS:
            raise UsageError(
                f"unknown section '{name}'", did_you_mean(name, SECTIONS) or f"sections: {', '.join(SECTIONS)}"
            )
    return tuple(name for name in SECTIONS if name in names or not names)


def describe_machine(device: torch.device) -> dict[str, object]:
    """What a reader needs to know to compare figures with those of another machine."""
    found: dict[str, object] = {
        "device": device.type, "name": processor_name(), "cores": cores(), "threads": torch.get_num_threads(),
        "system": platform.platform(terse=True), "python": platform.python_version(), "torch": torch.__version__,
        "torchvision": torchvision.__version__, "fsar": __version__,
    }  # fmt: skip
    if device.type == "cuda":
        total = torch.cuda.mem_get_info(device)[1]
        gpu = {"gpu": torch.cuda.get_device_name(device), "gpu_gib": round(total / 2**30, 1)}
        found |= gpu | {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return found


def processor_name(info: Path = Path("/proc/cpuinfo")) -> str:
    """As the processor calls itself."""
    try:
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return " ".join(names[0].split()) if names else platform.machine()


def run_bench(report: Report, sizes: Sizes, device: torch.device, reporter: Reporter = SILENT) -> None:
    """Fill a report section by section; on Ctrl-C it holds what was measured so far, and says so.

    A section that needs more memory than there is is left out with a warning.

    Raises:
        DataError: too little disk.
    """
    started = time.monotonic()
    try:
        with workbench(device, sizes, reporter) as bench:
            report.ceilings = bench.ceilings
            for name in report.sections:
                reporter.log(f"{name}: {SECTIONS[name].__doc__.splitlines()[0]}")
                _run_section(name, bench, report)
    except (KeyboardInterrupt, Interrupted):
        report.interrupted = True
    finally:
        report.seconds = time.monotonic() - started


def _run_section(name: str, bench: Workbench, report: Report) -> None:
    try:
        for measurement in SECTIONS[name](bench):
            report.measurements.append(measurement)
            bench.reporter.log(f"  {one_line(measurement)}")
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        bench.reporter.warn(f"{name}: the GPU has too little memory for this section; smaller: --quick or --size")
