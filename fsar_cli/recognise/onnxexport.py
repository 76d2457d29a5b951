"""A method's encoder -> an ONNX file, checked number by number against PyTorch before it takes its name.

What is exported is a copy in float32 on the CPU, its batch norms folded as those of a scan are. Clips of the check look
like videos: smooth, moving, made of whole numbers from 0 to 255.
"""

import copy
import json
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import fsar_cli
from fsar_cli.config import Config
from fsar_cli.core.build import normalization
from fsar_cli.core.method import BOXES, FewShotMethod
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.device import fold
from fsar_cli.errors import DataError
from fsar_cli.extras import optional
from fsar_cli.files import write_whole
from fsar_cli.recognise.network import WindowNetwork
from fsar_cli.recognise.onnx import OnnxGraphs, run_session, whole_session
from fsar_cli.recognise.onnxfile import (
    CLIPS,
    FORMAT,
    KEY,
    LARGEST,
    OnnxCheck,
    OnnxDocument,
    OnnxPreprocessing,
    OnnxTensor,
)
from fsar_cli.recognise.onnxgraph import described_plainly, onnx_model
from fsar_cli.recognise.support import EncoderIdentity
from fsar_cli.reporting import SILENT, Reporter

BATCHES = (2, 1, 3)
# Of the largest number of an output. Rounding in another order moves none by more than 1e-5, and what an exporter gets
# wrong (a padding, a rounding mode) moves it by 1e-2 and more. Key regions move by thousandths of a pixel with the
# rounding, and what they show of an edge by more: there PyTorch itself, in float32, is off by up to 7e-4 of float64.
TOLERANCE, TOLERANCE_OF_REGIONS = 1e-3, 1e-2
SMALLEST = 1e-12  # of a largest number, so that it can be divided by
REST = 2**20  # bytes of a file beside its weights
MEANINGS = {
    "frames": "features [step,channel] of a clip's steps, or their mean where there is one step",
    "maps": "maps [step,channel,row,column] of a clip's steps",
    "patches": "features [step,channel,part] of parts of the picture",
    BOXES: "key region [step,4] of a clip's steps: x0, y0, x1, y1 in [0,1] of the square",
}


def export_onnx(
    method: FewShotMethod, config: Config, identity: EncoderIdentity, out: Path, reporter: Reporter = SILENT
) -> OnnxDocument:
    """Write the encoder of a method to a file, whole or not at all.

    Args:
        method: on any device; it is left as it is.
        identity: as a support file has it.

    Raises:
        UsageError: the exporter does not take the network, or a library is not there.
        DataError: the file would be larger than one can be, or gives other numbers than PyTorch.
        OSError: it cannot be written.
    """
    for library in ("onnx", "onnxscript", "onnxruntime"):
        optional(library, "an export to ONNX", "onnx")
    plain = _copied(method, config)
    size = sum(t.numel() * t.element_size() for t in chain(plain.parameters(), plain.buffers()))
    if size + REST > LARGEST:
        raise DataError(f"the network's weights take {size / 2**30:.1f} GiB, and an ONNX file holds less than 2 GiB")
    reporter.log("exporting: seconds for a small network, minutes for a large one")
    shown = [example_clips(config, batch, seed) for seed, batch in enumerate(BATCHES)]
    with torch.inference_mode():
        wanted = [described_plainly(plain, plain.of_clips(clips)) for clips in shown]
    model = onnx_model(_folded(plain), shown[0].clone(), wanted[0])
    check = _checked(model, plain, shown, wanted, out)
    document = _document(plain, config, identity, wanted[0], check)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(document.model_dump(mode="json"))
    model.producer_name, model.producer_version = "fsar", fsar_cli.__version__
    model.doc_string = f"An encoder of fsar. The metadata key '{KEY}' says what goes in and what comes out."
    write_whole(out, model.SerializeToString())
    return document


def _copied(method: FewShotMethod, config: Config) -> WindowNetwork:
    """The features of a method without what follows them, on the CPU, as they were trained."""
    own = copy.copy(method)
    # The heads stay out: the exporter is particular about names.
    own._modules, own._parameters, own._buffers = {}, {}, {}
    own.features = copy.deepcopy(method.features).cpu().float().eval()
    for backbone in own.features.backbones():
        backbone.folded = backbone.compiled = None
        backbone.to(memory_format=torch.contiguous_format)
    return WindowNetwork(own, config).eval()


def _folded(network: WindowNetwork) -> WindowNetwork:
    """A copy with batch norms in the convolutions before them, where no module reads the trunk part by part."""
    own = copy.deepcopy(network)
    if not own.method.features.wrapped:
        fold(own.method)
        for backbone in own.method.features.backbones():
            if backbone.folded is not None:
                backbone.trunk = backbone.folded.__self__  # type: ignore[attr-defined]  # it is a method of the folded one
            backbone.folded = None
    return own


def example_clips(config: Config, batch: int, seed: int) -> Tensor:
    """Clips that look like videos, float32 [B,F,3,S,S], normalised as those of a scan.

    A coarse random picture drifts behind a bright square that moves, with noise of a camera.
    """
    frames, side = config.clip.frames, config.clip.size
    rng, clips = np.random.default_rng(seed), np.empty((batch, frames, side, side, 3), np.uint8)
    for clip in clips:
        coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 6, 6)).astype(np.float32))
        scene = F.interpolate(coarse, size=(side + frames, side + frames), mode="bilinear")[0].permute(1, 2, 0).numpy()
        x, y, speed = *rng.integers(0, side, 2), int(rng.integers(1, 4))
        for at in range(frames):
            picture = scene[:side, at : at + side] + rng.normal(0, 4, (side, side, 3))
            left = (x + speed * at) % side
            picture[y : y + side // 4, left : left + side // 4] += 120
            clip[at] = picture.clip(0, 255)
    return to_float(torch.from_numpy(clips), normalization(config.model)).contiguous()


def _checked(
    model: Any, network: WindowNetwork, shown: Sequence[Tensor], wanted: Sequence[dict[str, Tensor]], out: Path
) -> OnnxCheck:
    """The graph, whole and by its halves, against PyTorch. Raises DataError: they differ too much."""
    outputs, absolute, relative = list(wanted[0]), 0.0, 0.0
    session = whole_session(model, out)
    ways: list[Callable[[Tensor], list[Tensor]]] = [lambda clips: run_session(session, outputs, {CLIPS: clips}, out)]
    if network.shares_frames:
        graphs = OnnxGraphs(model, outputs, True, torch.device("cpu"), out)
        ways.append(lambda clips: _by_halves(graphs, clips, network.selects_regions))
    for clips, own in zip(shown, wanted, strict=True):
        for array, true in zip(chain(*(way(clips) for way in ways)), [*own.values()] * len(ways), strict=True):
            same = array.shape == true.shape
            difference = float((array - true).abs().nan_to_num(torch.inf).max()) if same else float("inf")
            absolute = max(absolute, difference)
            relative = max(relative, difference / max(float(true.abs().max()), SMALLEST))
    tolerance = TOLERANCE_OF_REGIONS if network.selects_regions else TOLERANCE
    if not relative <= tolerance:
        text = f"the ONNX file would give other numbers than PyTorch: by {relative:.2g} of the largest"
        raise DataError(f"{text}, and {tolerance:g} is allowed", "--runtime torch is as it was; no file was written")
    runtime = optional("onnxruntime", "an export to ONNX", "onnx")
    return OnnxCheck(clips=sum(BATCHES), batches=BATCHES, absolute=absolute, relative=relative, tolerance=tolerance,
                     torch=torch.__version__, onnxruntime=runtime.__version__)  # fmt: skip


def _by_halves(graphs: OnnxGraphs, clips: Tensor, reads_clips: bool) -> list[Tensor]:
    """Outputs of clips as a scan computes them."""
    maps = graphs.maps(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
    return list(graphs.of_maps(maps, clips if reads_clips else None).values())


def _document(
    network: WindowNetwork, config: Config, identity: EncoderIdentity, outputs: dict[str, Tensor], check: OnnxCheck
) -> OnnxDocument:
    clip, recipe = config.clip, normalization(config.model)
    taken = OnnxTensor(type="float32", shape=("batch", clip.frames, 3, clip.size, clip.size),
                       meaning="clips [frame,colour,row,column], prepared as `clip` says")  # fmt: skip
    return OnnxDocument(
        format=FORMAT, fsar=identity.fsar, method=config.model.label, backbone=config.model.backbone,
        weights=identity.weights, preprocessing=identity.preprocessing, code=identity.code,
        clip=OnnxPreprocessing(
            frames=clip.frames, rate=clip.rate, short_side=clip.short_side, interpolation=clip.interpolation,
            size=clip.size, mean=recipe.mean if recipe else None,
            deviation=recipe.deviation if recipe else None,
        ),
        steps=outputs[BOXES].shape[1], inputs={CLIPS: taken},
        outputs={
            name: OnnxTensor(type="float32", shape=("batch", *tensor.shape[1:]), meaning=MEANINGS.get(name, name))
            for name, tensor in outputs.items()
        },
        halves=network.shares_frames, checked=check,
    )  # fmt: skip
