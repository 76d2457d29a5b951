"""An encoder in an ONNX file: one graph from normalised clips to what is described, and what there is to know of it.

    clips -----------------------------------------> described, boxes                            network of video
    clips -> pixels ~> frame_maps -> window_maps, clips ~> described, boxes                      network of images

Whoever runs the whole graph needs nothing else. The graph of a network of images is made of two halves that meet at
`pixels`, `frame_maps` and `window_maps`: a scan runs the first once a frame and the second once a window.

The metadata key `fsar` is an `OnnxDocument` as JSON. Files come from anywhere: all of one is checked before it is run.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from fsar_cli.errors import DataError, unreadable
from fsar_cli.extras import first_line, optional
from fsar_cli.recognise.support import DocumentPart, EncoderIdentity, Name

FORMAT = 1
KEY = "fsar"
CLIPS, PIXELS, FRAME_MAPS, WINDOW_MAPS = "clips", "pixels", "frame_maps", "window_maps"
LARGEST = 2**31 - 1
"""Bytes of a message of Protocol Buffers, which an ONNX file is."""

NotBelowZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=1, le=100_000)]


class OnnxTensor(DocumentPart):
    """An input or an output."""

    type: str
    shape: tuple[int | str, ...]
    """A name stands for any size."""
    meaning: str


class OnnxPreprocessing(DocumentPart):
    """From the frames of a video to `clips`."""

    frames: Whole
    """Of a clip."""
    rate: float | None
    """At so many frames a second; null: spread evenly over the clip."""
    short_side: Whole
    """Pixels to which frames are brought first."""
    interpolation: str
    size: Whole
    """Side in pixels of the square that is then cut from their middle."""
    colours: str = "RGB, divided by 255"
    mean: tuple[float, float, float] | None
    """That is then subtracted; null: nothing is."""
    deviation: tuple[float, float, float] | None
    """By which it is then divided."""


class OnnxCheck(DocumentPart):
    """Of the file against PyTorch, when it was exported."""

    clips: Whole
    batches: tuple[Whole, ...]
    absolute: NotBelowZero
    """Largest difference of a number."""
    relative: NotBelowZero
    """Largest difference, of the largest number of the same output."""
    tolerance: NotBelowZero
    """That `relative` was to keep to."""
    torch: str
    onnxruntime: str


class OnnxDocument(DocumentPart):
    """What there is to know of an encoder's file."""

    format: int
    fsar: str
    """Version that exported it."""
    method: Name
    """In a word, as `ModelConfig.label`: what is kept of the features depends on it."""
    backbone: Name
    weights: str
    """SHA-256, as a support file has it."""
    preprocessing: str
    """SHA-256, as a support file has it."""
    code: str
    """SHA-256 of the source files that encode."""
    clip: OnnxPreprocessing
    steps: Whole
    """T, what the network makes of the frames of a clip."""
    inputs: dict[str, OnnxTensor]
    outputs: dict[str, OnnxTensor]
    halves: bool
    """Whether the graph is made of two."""
    checked: OnnxCheck


def onnx_beside(support: Path) -> Path:
    """Where the encoder of a support file is looked for: support.fsar.onnx."""
    return support.with_name(f"{support.name}.onnx")


def read_onnx(path: Path) -> tuple[Any, OnnxDocument]:
    """The model (onnx.ModelProto) of a file, and what there is to know of it.

    Raises:
        DataError: there is none, or it is damaged, of a newer version, or not one of `fsar export`.
        UsageError: the library onnx is not there.
    """
    onnx = optional("onnx", "an ONNX file", "onnx")
    anew = "`fsar export --onnx` makes it"
    if not path.is_file():
        raise DataError(f"no ONNX file at {path}", f"{anew}; --onnx names another")
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path} is larger than an ONNX file can be", anew)
        model = onnx.load(path, load_external_data=False)
    except DataError:
        raise
    except Exception as error:  # protobuf's are of many kinds
        raise unreadable(path, f"{path} is no ONNX file, or is damaged", f"{anew} anew", error) from error
    document = _document(path, {entry.key: entry.value for entry in model.metadata_props})
    named = {value.name for value in (*model.graph.input, *model.graph.output)}
    if named != {*document.inputs, *document.outputs}:
        raise DataError(f"{path}: its graph has other inputs and outputs than it says", f"{anew} anew")
    if any(tensor.external_data for tensor in model.graph.initializer):
        raise DataError(f"{path} keeps weights in other files, as no file of `fsar export` does", f"{anew} anew")
    return model, document


def _document(path: Path, metadata: dict[str, str]) -> OnnxDocument:
    anew = "`fsar export --onnx` makes it anew"
    if KEY not in metadata:
        raise DataError(f"{path} is an ONNX model, but does not say which encoder it is of", anew)
    try:
        plain = json.loads(metadata[KEY])
        number = plain["format"]
        if isinstance(number, int) and number > FORMAT:
            text = f"{path} is of format {number}, which a newer fsar wrote; this one reads up to {FORMAT}"
            raise DataError(text, f"update fsar, or {anew}")
        return OnnxDocument.model_validate(plain)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise DataError(f"{path}: its metadata's {place}: {error.errors()[0]['msg']}", anew) from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{path} has no readable metadata ({first_line(error)})", anew) from error


def check_identity(path: Path, document: OnnxDocument, identity: EncoderIdentity, label: str, owner: str) -> None:
    """Refuse the file of another encoder.

    Args:
        identity, label: of the encoder that is wanted, and its method in a word.
        owner: whose encoder that is, for messages.

    Raises:
        DataError: it is another.
    """
    differ = {
        "other weights": document.weights != identity.weights,
        "another preprocessing": document.preprocessing != identity.preprocessing,
        f"another method ({document.method})": document.method != label,
    }
    if found := [what for what, differs in differ.items() if differs]:
        text = f"{path} was exported with {found[0]} than {owner} was made with"
        raise DataError(text, "`fsar export --onnx` exports its encoder; --onnx names another file")
