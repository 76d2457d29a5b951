"""`make bench`, or `python -m bench` with tests/ on the path: all sections, or those named, into one report."""

import argparse
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torchvision

from bench.backbones import backbones
from bench.evaluation import evaluate, scaling
from bench.frames import extract, read
from bench.networks import encode, head
from bench.report import BenchReport, Measurement, figure, markdown, ratio, write_report
from bench.scanning import scan
from bench.training import train
from bench.workbench import Workbench, choose_sizes
from fsar_cli import __version__
from fsar_cli.cli.output import ConsoleReporter
from fsar_cli.engine.device import resolve_device
from fsar_cli.errors import Interrupted
from fsar_cli.files import cores

SECTIONS: dict[str, Callable[[Workbench], Iterator[Measurement]]] = {
    s.__name__: s for s in (extract, read, encode, backbones, scan, head, train, evaluate, scaling)
}
"""In the order in which they run."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="bench",
        description="Measure extraction, reading, encoding, matching, training and evaluation, each beside a plain form"
        " that computes the same numbers as is customary: tuples concatenated, loops over classes and queries, every"
        " episode encoded anew, float32. Pictures are synthetic and weights random, which cost what real ones do. On"
        " two idle cores a full run takes about 40 minutes, --quick a bit over one. Ctrl-C keeps what was measured.",
    )
    made.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; none: all of them")
    made.add_argument("--quick", action="store_true", help="small sizes: minutes become seconds")
    made.add_argument("--device", default="auto")
    made.add_argument("--out", type=Path, default=Path("bench"), help="folder of bench.json and bench.md")
    return made


def main(arguments: list[str]) -> int:
    """Run what was asked for, print and write it; the exit code."""
    command = parser()
    given = command.parse_args(arguments)
    if unknown := set(given.sections) - set(SECTIONS):
        command.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    reporter = ConsoleReporter()
    device = resolve_device(given.device, reporter)
    given.out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written to stops here, not after the work
    report = BenchReport(machine(device), shlex.join(["bench", *arguments]), given.quick)
    try:
        with tempfile.TemporaryDirectory(prefix="fsar-bench-") as folder:
            run(report, Workbench(device, choose_sizes(device, given.quick), Path(folder), reporter), given.sections)
    finally:  # also what was measured before an error
        write_report(report, given.out)
        print(markdown(report))
    return 130 if report.interrupted else 0


def run(report: BenchReport, bench: Workbench, sections: list[str]) -> None:
    """Fill a report section by section; on Ctrl-C it holds what was measured so far, and says so."""
    started = time.monotonic()
    try:
        for name in [name for name in SECTIONS if name in sections or not sections]:
            bench.reporter.log(f"{name}: {SECTIONS[name].__doc__}")
            try:
                for m in SECTIONS[name](bench):
                    report.measurements.append(m)
                    bench.reporter.log(f"  {m.what}: {figure(m.ours)} {m.unit}, {ratio(m.ratio)}")
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                bench.reporter.warn(f"{name}: the GPU has too little memory for this section; smaller: --quick")
    except (KeyboardInterrupt, Interrupted):
        report.interrupted = True
    report.seconds = time.monotonic() - started


def machine(device: torch.device) -> dict[str, object]:
    """What a reader needs to know to compare figures with those of another machine."""
    facts: dict[str, object] = {
        "device": device.type, "name": processor_name(), "cores": cores(), "threads": torch.get_num_threads(),
        "system": platform.platform(terse=True), "python": platform.python_version(), "torch": torch.__version__,
        "torchvision": torchvision.__version__, "fsar": __version__,
    }  # fmt: skip
    if device.type == "cuda":
        total = torch.cuda.mem_get_info(device)[1]
        facts |= {"gpu": torch.cuda.get_device_name(device), "gpu_gib": round(total / 2**30, 1)}
        facts |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return facts


def processor_name(info: Path = Path("/proc/cpuinfo")) -> str:
    """As the processor calls itself."""
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return " ".join(names[0].split()) if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
