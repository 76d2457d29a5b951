"""A network -> an ONNX graph: PyTorch's exporter makes it, and the halves of a network of images are joined to one.

The batch may have any size. What the exporter does not take is refused; which networks those are changes with PyTorch,
so none is named here.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from fsar_cli.core.method import BOXES, SATURATED, Encoded
from fsar_cli.errors import UsageError
from fsar_cli.extras import first_line, optional
from fsar_cli.recognise.network import WindowNetwork
from fsar_cli.recognise.onnxfile import CLIPS, FRAME_MAPS, PIXELS, WINDOW_MAPS

OPSET = 18  # the first with all that is needed (antialiased resizing); runtimes know it since 2023


def described_plainly(network: WindowNetwork, described: Encoded) -> dict[str, Tensor]:
    """The outputs of a file: what a support file keeps of windows, and BOXES."""
    features = {name: t for name, t in described.tensors.items() if name not in (BOXES, SATURATED)}
    return {**network.method.pooled(Encoded(features)).tensors, BOXES: described[BOXES]}


class _Graph(nn.Module):
    """Base of what is exported: tensors in, tensors out."""

    def __init__(self, network: WindowNetwork) -> None:
        super().__init__()
        self.network = network

    def _plain(self, described: Encoded) -> tuple[Tensor, ...]:
        return tuple(described_plainly(self.network, described).values())


class _OfClips(_Graph):
    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        return self._plain(self.network.of_clips(clips))


class _OfFrames(_Graph):
    def forward(self, pixels: Tensor) -> Tensor:
        return self.network.maps(pixels)


class _OfMaps(_Graph):
    def forward(self, window_maps: Tensor, clips: Tensor | None = None) -> tuple[Tensor, ...]:
        return self._plain(self.network.of_maps(window_maps, clips))


def onnx_model(network: WindowNetwork, clips: Tensor, outputs: dict[str, Tensor]) -> Any:
    """The graph of a network on the CPU: onnx.ModelProto.

    Args:
        clips: float32 [B,F,3,S,S], B of two or more.
        outputs: what `described_plainly` gives of them.

    Raises:
        UsageError: the exporter does not take the network.
    """
    with torch.no_grad(), _quiet():
        try:
            if not network.shares_frames:
                model = _exported(_OfClips(network), {CLIPS: clips}, list(outputs))
            else:
                model = _joined(*_halves(network, clips, list(outputs)), clips)
        except Exception as error:  # the exporter's are of many kinds
            raise UsageError(
                f"PyTorch cannot export this network to ONNX: {_reason(error)}",
                "--runtime torch needs no export; another model.backbone or method can be exported perhaps",
            ) from error
    _describe_ends(model, {CLIPS: clips}, outputs)
    return model


def _reason(error: BaseException) -> str:
    """The first cause in one line: what the exporter says around it is advice to its makers."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def _halves(network: WindowNetwork, clips: Tensor, outputs: Sequence[str]) -> tuple[Any, Any]:
    pixels = clips.flatten(0, 1)
    maps = network.maps(pixels).unflatten(0, clips.shape[:2])
    windows = {WINDOW_MAPS: maps} | ({CLIPS: clips} if network.selects_regions else {})
    return (
        _exported(_OfFrames(network), {PIXELS: pixels}, [FRAME_MAPS]),
        _exported(_OfMaps(network), windows, outputs),
    )


def _exported(graph: nn.Module, inputs: dict[str, Tensor], outputs: Sequence[str]) -> Any:
    batch = Dim("batch", max=2**16)
    program = torch.export.export(graph, tuple(inputs.values()), dynamic_shapes=tuple({0: batch} for _ in inputs))
    program = program.run_decompositions({torch.ops.aten.adaptive_max_pool2d.default: _largest_of_parts})
    exported = torch.onnx.export(
        program, dynamo=True, verbose=False, external_data=False, opset_version=OPSET, input_names=list(inputs),
        output_names=list(outputs),
    )  # fmt: skip
    assert exported is not None  # as it is by `dynamo`
    model = exported.model_proto
    del model.graph.value_info[:]  # their names of sizes would not fit those of another half
    return model


def _largest_of_parts(maps: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """As `F.adaptive_max_pool2d`, which the exporter does not know; nobody reads the places."""
    rows, columns = (
        [(i * cells // parts, -(-(i + 1) * cells // parts)) for i in range(parts)]
        for cells, parts in zip(maps.shape[-2:], size, strict=True)
    )
    largest = [torch.stack([maps[..., a:b, c:d].amax((-2, -1)) for c, d in columns], -1) for a, b in rows]
    pooled = torch.stack(largest, -2)
    return pooled, torch.zeros_like(pooled, dtype=torch.int64)


def _joined(frames: Any, windows: Any, clips: Tensor) -> Any:
    """Two halves as one graph: clips -> pixels -> frame_maps -> window_maps -> outputs."""
    onnx = optional("onnx", "an ONNX file", "onnx")
    _name_apart(frames, "frame/", (PIXELS, FRAME_MAPS))
    _name_apart(windows, "window/", (WINDOW_MAPS, CLIPS, *(value.name for value in windows.graph.output)))
    maps = windows.graph.input[0].type.tensor_type.shape.dim
    shapes = {PIXELS: [-1, *clips.shape[2:]], WINDOW_MAPS: [-1, *(size.dim_value for size in maps[1:])]}
    constants = [
        onnx.helper.make_tensor(f"{name}/shape", onnx.TensorProto.INT64, [len(shape)], shape)
        for name, shape in shapes.items()
    ]
    first, second = (
        onnx.helper.make_node("Reshape", [given, f"{made}/shape"], [made], name=made)
        for given, made in ((CLIPS, PIXELS), (FRAME_MAPS, WINDOW_MAPS))
    )
    named = (*frames.graph.input, *frames.graph.output, windows.graph.input[0])
    graph = onnx.helper.make_graph(
        [first, *frames.graph.node, second, *windows.graph.node], "encoder", [], list(windows.graph.output),
        [*constants, *frames.graph.initializer, *windows.graph.initializer], value_info=list(named),
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=list(frames.opset_import), ir_version=frames.ir_version)
    if [*windows.opset_import] != [*frames.opset_import] or windows.functions or frames.functions:
        raise ValueError("the halves of the graph do not fit")
    return model


def _name_apart(model: Any, prefix: str, kept: Sequence[str]) -> None:
    """A prefix for all names of a graph but those kept."""

    def named(name: str) -> str:
        return name if not name or name in kept else prefix + name

    for node in model.graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise ValueError(f"the graph branches in {node.op_type}")
        node.name = prefix + node.name
        node.input[:], node.output[:] = map(named, node.input), map(named, node.output)
    for tensor in model.graph.initializer:
        tensor.name = named(tensor.name)


def _describe_ends(model: Any, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
    """Types and shapes of what goes in and comes out: the first axis is the batch, the others are fixed."""
    helper = optional("onnx.helper", "an ONNX file", "onnx")
    for field, tensors in ((model.graph.input, inputs), (model.graph.output, outputs)):
        del field[:]
        field.extend(helper.make_tensor_value_info(n, 1, ["batch", *t.shape[1:]]) for n, t in tensors.items())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's progress and warnings are of no use to who exports."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
