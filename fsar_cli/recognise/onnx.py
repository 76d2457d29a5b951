"""An encoder whose network onnxruntime runs, from a file of `fsar export`; what follows the network stays in PyTorch.

The examples of a support file were described by PyTorch, and windows by onnxruntime are compared with them: a file is
taken only with the digests of the support file's encoder, and was checked against PyTorch when it was exported.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.core.method import Encoded, FewShotMethod
from fsar_cli.errors import DataError, UsageError, did_you_mean
from fsar_cli.extras import first_line, optional
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.onnxfile import CLIPS, FRAME_MAPS, PIXELS, WINDOW_MAPS, check_identity, read_onnx
from fsar_cli.recognise.support import EncoderIdentity
from fsar_cli.reporting import SILENT, Reporter

ANEW = "`fsar export --onnx` makes it anew"
RUNTIMES = ("torch", "onnx")
ERRORS_ALONE = 3  # of onnxruntime's levels of messages


def check_runtime(runtime: str, onnx: Path | str | None = None) -> None:
    """Refuse a runtime that does not exist, or a file that it does not read. Raises UsageError."""
    if runtime not in RUNTIMES:
        near = did_you_mean(runtime, RUNTIMES) or f"one of {', '.join(RUNTIMES)}"
        raise UsageError(f"unknown runtime '{runtime}'", near)
    if onnx is not None and runtime != "onnx":
        raise UsageError(f"--onnx {onnx} is read with --runtime onnx only", "add --runtime onnx, or leave --onnx out")


class OnnxEncoder(Encoder):
    """As `Encoder`; its networks are those of an ONNX file."""

    def __init__(
        self, method: FewShotMethod, config: Config, device: torch.device, path: Path, identity: EncoderIdentity,
        owner: str, reporter: Reporter = SILENT,
    ) -> None:  # fmt: skip
        """
        Args:
            path: of the file.
            identity, owner: what it must have been exported of, and who says so, for messages.

        Raises:
            DataError: the file cannot be read or run, or is of another encoder.
            UsageError: onnx or onnxruntime is not there.
        """
        model, document = read_onnx(path)
        check_identity(path, document, identity, config.model.label, owner)
        super().__init__(method, config, device)
        self._graphs = OnnxGraphs(model, list(document.outputs), document.halves, device, path)
        reporter.detail(f"network: {path}, by onnxruntime on {', '.join(self._graphs.providers)}")
        if device.type == "cuda" and self._graphs.providers == ["CPU"]:
            reporter.warn("this onnxruntime cannot use the GPU: the network runs on the CPU")

    def _make_ready(self) -> None:
        self.method.to(self.device)  # what follows the network

    def _maps(self, frames: Tensor) -> Tensor:
        return self._graphs.maps(frames)

    def _of_clips(self, clips: Tensor) -> Encoded:
        return Encoded(self._graphs.of_clips(clips))

    def _of_maps(self, maps: Tensor, clips: Tensor | None) -> Encoded:
        return Encoded(self._graphs.of_maps(maps, clips))


class OnnxGraphs:
    """The graph of a file, or its halves, ready to run. Tensors in and out are float32 on a device."""

    def __init__(self, model: Any, outputs: Sequence[str], halves: bool, device: torch.device, path: Path) -> None:
        """
        Args:
            model: onnx.ModelProto.
            halves: run its halves, each for itself.
            path: for messages.

        Raises:
            DataError: onnxruntime does not take it.
        """
        self.outputs, self.device, self._path = list(outputs), device, path
        parts = halves_of(model, outputs) if halves else [model]
        self._sessions = [_session(part, device, path) for part in parts]

    @property
    def providers(self) -> list[str]:
        """What onnxruntime computes by: CPU, CUDA; in order of preference."""
        return [name.removesuffix("ExecutionProvider") for name in self._sessions[0].get_providers()]

    def maps(self, frames: Tensor) -> Tensor:
        """[N,3,S,S] -> [N,C,H,W], where the graph has halves."""
        return self._run(self._sessions[0], [FRAME_MAPS], {PIXELS: frames})[0]

    def of_clips(self, clips: Tensor) -> dict[str, Tensor]:
        """[B,F,3,S,S] -> outputs, where it has none."""
        return self._named({CLIPS: clips})

    def of_maps(self, maps: Tensor, clips: Tensor | None) -> dict[str, Tensor]:
        """[B,T,C,H,W], with [B,F,3,S,S] where regions are selected -> outputs."""
        return self._named({WINDOW_MAPS: maps} | ({} if clips is None else {CLIPS: clips}))

    def _named(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return dict(zip(self.outputs, self._run(self._sessions[-1], self.outputs, inputs), strict=True))

    def _run(self, session: Any, outputs: Sequence[str], inputs: dict[str, Tensor]) -> list[Tensor]:
        return [tensor.to(self.device) for tensor in run_session(session, outputs, inputs, self._path)]


def run_session(session: Any, outputs: Sequence[str], inputs: dict[str, Tensor], path: Path) -> list[Tensor]:
    """Named tensors through an onnxruntime.InferenceSession -> tensors on the CPU. Raises DataError: it fails."""
    arrays = {name: np.ascontiguousarray(tensor.cpu().numpy()) for name, tensor in inputs.items()}
    try:
        return [torch.from_numpy(array) for array in session.run(list(outputs), arrays)]
    except Exception as error:  # onnxruntime's are of many kinds
        raise DataError(f"{path} cannot be run: {first_line(error)}", ANEW) from error


def halves_of(model: Any, outputs: Sequence[str]) -> list[Any]:
    """The two halves of a graph: pixels -> frame_maps, and window_maps with clips -> outputs."""
    extractor = optional("onnx.utils", "an ONNX file", "onnx").Extractor(model)
    reads_clips = {CLIPS} & {name for node in model.graph.node if node.output[0] != PIXELS for name in node.input}
    return [
        extractor.extract_model([PIXELS], [FRAME_MAPS]),
        extractor.extract_model([WINDOW_MAPS, *reads_clips], list(outputs)),
    ]


def whole_session(model: Any, path: Path) -> Any:
    """The whole graph on the CPU, as others run it: onnxruntime.InferenceSession. Raises DataError: it cannot be."""
    return _session(model, torch.device("cpu"), path)


def _session(model: Any, device: torch.device, path: Path) -> Any:
    """onnxruntime.InferenceSession, with as many threads as torch has; on a GPU where onnxruntime can use it."""
    runtime = optional("onnxruntime", "the runtime onnx", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = ERRORS_ALONE
    # Threads that wait for work must sleep, not spin: decoding needs the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    try:
        return runtime.InferenceSession(model.SerializeToString(), options, providers=providers)
    except Exception as error:  # onnxruntime's are of many kinds
        raise DataError(f"onnxruntime does not take {path}: {first_line(error)}", ANEW) from error
