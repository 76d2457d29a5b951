"""The sections of `fsar bench`, one question a file; SECTIONS is the dict of all of them, in the order they run."""

from collections.abc import Callable, Iterator

from fsar_cli.engine.bench.measurement import Measurement
from fsar_cli.engine.bench.sections.encode import encode
from fsar_cli.engine.bench.sections.evaluate import evaluate
from fsar_cli.engine.bench.sections.extract import extract
from fsar_cli.engine.bench.sections.head import head
from fsar_cli.engine.bench.sections.read import read
from fsar_cli.engine.bench.sections.scaling import scaling
from fsar_cli.engine.bench.sections.train import train
from fsar_cli.engine.bench.workbench import Workbench

SECTIONS: dict[str, Callable[[Workbench], Iterator[Measurement]]] = {
    "extract": extract,
    "read": read,
    "encode": encode,
    "head": head,
    "train": train,
    "evaluate": evaluate,
    "scaling": scaling,
}
