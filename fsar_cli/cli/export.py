"""`fsar export`: the encoder of a support file or a run as an ONNX file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli.options import Json, Quiet, Verbose
from fsar_cli.cli.support import RunNow, WeightsNow
from fsar_cli.errors import UsageError

if TYPE_CHECKING:
    from fsar_cli.config import Config
    from fsar_cli.core.method import FewShotMethod
    from fsar_cli.recognise.onnxfile import OnnxDocument, OnnxTensor
    from fsar_cli.recognise.support import EncoderIdentity


def export(
    source: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="Run folder, instead of --support.")] = None,
    support: Annotated[
        Path | None, typer.Option("--support", metavar="FILE", help="Support file (default: support.fsar).")
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write an ONNX file; there is no other format yet.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write (default: SUPPORT.onnx, or RUN/encoder.onnx).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file.")] = False,
    run: RunNow = None,
    weights: WeightsNow = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write what turns clips into features and key regions, for onnxruntime: `fsar scan --runtime onnx`.

    The file says in its metadata what goes in and comes out, so it can be run without fsar. It is checked against
    PyTorch on clips that look like videos; where numbers differ by more than 1e-3 of the largest (1e-2 with key
    regions), nothing is written and the exit code is 3.

    Needs the extra onnx: `pip install 'fsar[onnx]'`.

    --json: file, bytes, method, backbone, weights, preprocessing, clip, steps, inputs and outputs {name: {type, shape,
    meaning}}, halves, checked {clips, batches, absolute, relative, tolerance}.
    """
    from fsar_cli.cli.output import ConsoleReporter, print_json
    from fsar_cli.recognise.onnxexport import export_onnx
    from fsar_cli.recognise.onnxfile import onnx_beside

    if not onnx:
        raise UsageError("nothing to export to was named", "fsar export --onnx")
    if source is not None and (support or run or weights):
        raise UsageError("a run folder takes no --support, --run or --weights", "leave out one or the other")
    file = support or Path("support.fsar")
    target = out or (onnx_beside(file) if source is None else source / "encoder.onnx")
    if target.exists() and not force:
        raise UsageError(f"{target} is there already", "--force replaces it, --out names another")
    reporter = ConsoleReporter(quiet or as_json, verbose)
    parts = _of_support(file, run, weights, reporter) if source is None else _of_run(source)
    document = export_onnx(*parts, target, reporter)
    if as_json:
        plain = document.model_dump(mode="json", exclude={"format"})
        print_json({"command": "export", "file": str(target), "bytes": target.stat().st_size, **plain})
    else:
        _show(document, target)


def _of_support(
    file: Path, run: Path | None, weights: Path | None, reporter
) -> "tuple[FewShotMethod, Config, EncoderIdentity]":
    import torch

    from fsar_cli.recognise.identity import open_encoder
    from fsar_cli.recognise.supportfile import read_support

    held = read_support(file)
    encoder = open_encoder(held, file, torch.device("cpu"), run=run, weights=weights, reporter=reporter)
    return encoder.method, encoder.config, held.document.encoder


def _of_run(folder: Path) -> "tuple[FewShotMethod, Config, EncoderIdentity]":
    from fsar_cli.engine.model import Model
    from fsar_cli.engine.runs import find_run
    from fsar_cli.recognise.identity import identity_of
    from fsar_cli.settings import resolve

    found = find_run(folder)
    model = Model(resolve(base=found.values()).config, found)
    method = model.load()
    return method, model.config, identity_of(model, method)


def _show(document: "OnnxDocument", file: Path) -> None:
    from fsar_cli.cli.output import stdout

    def form(tensors: "dict[str, OnnxTensor]") -> str:
        return ", ".join(f"{name} [{','.join(map(str, tensor.shape))}]" for name, tensor in tensors.items())

    check = document.checked
    stdout.print(f"{file}: {document.method} on {document.backbone}, {file.stat().st_size / 2**20:.1f} MiB")
    stdout.print(f"{form(document.inputs)} -> {form(document.outputs)}, all float32")
    stdout.print(
        f"checked against PyTorch on {check.clips} clips in batches of {', '.join(map(str, check.batches))}: largest"
        f" difference {check.absolute:.1e}, {check.relative:.1e} of the largest number ({check.tolerance:g} allowed)"
    )
