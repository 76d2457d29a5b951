"""The support file: what was enrolled, in one safetensors file that holds no code.

    examples.NAME  [n,...]      described examples             thumbnails, thumbnail_ends   a JPEG of each
    normal.NAME    [m,...]      normal windows that scores are taken less
    silent.NAME    [k,...]      normal windows that calibrate; silent_segments [k], silent_times [k,2]
    prepared.NAME               mean and matrix of the whitening
    left_out [n,C]              scores of each example by the others; silent_scores [k,C] of the windows that calibrate

The header's `fsar` is a `SupportDocument` as JSON: classes, where each example came from, the encoder with digests of
its weights and preprocessing, the grid of windows, notes. A file made with other weights is refused: its numbers would
mean nothing. `supportfile` reads it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from safetensors.torch import save
from torch import Tensor

from fsar_cli.core.method import Encoded
from fsar_cli.files import write_whole

FORMAT = 1
SUPPORT_FILE = Path("support.fsar")
UNKNOWN = "unknown"
"""What clips of none of the classes are called; no class may have this name."""

Name = Annotated[str, Field(min_length=1, max_length=1000)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Length = Annotated[float, Field(ge=1e-4, le=1e4, allow_inf_nan=False)]
Steps = Annotated[int, Field(ge=1, le=100_000)]
MOST_STEPS = 10**6
"""Of a grid from the first frame of a window to its last: memory holds a frame for each."""


class DocumentPart(BaseModel):
    """A frozen group of facts that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class EnrolledExample(DocumentPart):
    """Where an example came from."""

    cls: Name
    name: Name
    """CLASS/CLIP, as people are told of it."""
    source: str
    """Absolute path of the video, as `printable` has it."""
    start: Seconds = 0.0
    end: Seconds | None = None
    """None: to the end of the video."""
    group: str = ""
    """What is not independent of one another: scene, actors, source video. Empty: not known."""


class EncoderIdentity(DocumentPart):
    """What examples were encoded by, and how to have it again."""

    config: str
    """The resolved configuration as YAML."""
    run: str | None
    """Absolute path of the run folder; None: a frozen backbone with the weights that the configuration names."""
    weights: str
    """SHA-256 of all tensors but those of the whitening."""
    preprocessing: str
    """SHA-256 of what happens to frames before them, and to features behind."""
    code: str
    """SHA-256 of the source files that encode."""
    fsar: str
    """Version that made the file."""


class GridShape(DocumentPart):
    """The grid of windows (`WindowGrid`)."""

    frames: Steps
    step: Length
    apart: Steps
    every: Steps

    @model_validator(mode="after")
    def _fits(self) -> "GridShape":
        if self.frames * self.apart > MOST_STEPS:
            raise ValueError(f"{self.frames} frames, {self.apart} steps apart, are no window")
        return self


class NormalFootage(DocumentPart):
    """What whitens and calibrates."""

    sources: tuple[str, ...]
    whitened: Annotated[int, Field(ge=0)]
    """Windows that were whitened by, where the encoder was."""
    silent: Annotated[int, Field(ge=0)]
    """Windows that calibrate."""


class Gain(DocumentPart):
    """What scores of one kind say of the examples, each by the others."""

    kind: str
    """`plain`, `whitened`, or `less normal`: less the nearest normal window, too."""
    right: Annotated[int, Field(ge=0)]
    """Examples recognised as their class, ..."""
    of: Annotated[int, Field(ge=0)]
    """... of those whose class has others."""
    auroc: Annotated[float, Field(ge=0, le=1)] | None
    """Against the windows that calibrate; None: there are none."""


class SupportDocument(DocumentPart):
    """The header's JSON."""

    format: int
    created: str
    examples: Annotated[tuple[EnrolledExample, ...], Field(min_length=1)]
    encoder: EncoderIdentity
    grid: GridShape
    normal: NormalFootage | None = None
    gains: Annotated[tuple[Gain, ...], Field(max_length=3)] = ()
    """What normal footage brings, step by step; empty without any."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SilentWindows:
    """Normal windows that calibrate, in order."""

    described: Encoded
    """[k]"""
    segments: np.ndarray
    """int64 [k]: stretches of footage without a gap, 0, 0, 1, ..."""
    times: np.ndarray
    """float64 [k,2] start and end in seconds of their source."""


@dataclass(frozen=True)
class SupportSet:
    """What is enrolled."""

    document: SupportDocument
    described: Encoded
    """[n] examples, on the CPU."""
    thumbnails: tuple[bytes, ...]
    """[n] a JPEG each."""
    normal: Encoded | None = None
    """[m]"""
    silent: SilentWindows | None = None
    prepared: Mapping[str, Tensor] = field(default_factory=dict)
    """Buffers of the method's preparation; empty where there is no whitening, or a run brings its own."""
    left_out: Tensor | None = None
    """float32 [n,C] scores of each example by the others; NaN: it has none. None: not yet calibrated."""
    silent_scores: Tensor | None = None
    """float32 [k,C] of the windows that calibrate."""

    @property
    def examples(self) -> tuple[EnrolledExample, ...]:
        """[n]"""
        return self.document.examples

    @property
    def classes(self) -> tuple[str, ...]:
        """[C] in the order of their first example."""
        return tuple(dict.fromkeys(example.cls for example in self.examples))

    @property
    def labels(self) -> np.ndarray:
        """int64 [n]"""
        places = {name: i for i, name in enumerate(self.classes)}
        return np.array([places[example.cls] for example in self.examples])

    @property
    def own_scores(self) -> Tensor:
        """`left_out` of a set that is calibrated."""
        assert self.left_out is not None
        return self.left_out

    @property
    def groups(self) -> tuple[str, ...]:
        """[n]"""
        return tuple(example.group for example in self.examples)

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all; the set is calibrated.

        Raises:
            OSError: it cannot be written.
        """
        tensors = {
            **_named("examples", self.described),
            **(_named("normal", self.normal) if self.normal else {}),
            **{f"prepared.{name}": tensor for name, tensor in self.prepared.items()},
            "thumbnails": torch.frombuffer(bytearray(b"".join(self.thumbnails)), dtype=torch.uint8),
            "thumbnail_ends": torch.tensor([len(t) for t in self.thumbnails]).cumsum(0),
            "left_out": self.own_scores,
        }
        if self.silent is not None and self.silent_scores is not None:
            tensors |= _named("silent", self.silent.described)
            tensors |= {"silent_segments": torch.from_numpy(self.silent.segments),
                        "silent_times": torch.from_numpy(self.silent.times),
                        "silent_scores": self.silent_scores}  # fmt: skip
        header = {"fsar": json.dumps(self.document.model_dump(mode="json"), ensure_ascii=False)}
        write_whole(path, save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, header))


def _named(part: str, encoded: Encoded) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor for name, tensor in encoded.tensors.items()}


def joined(parts: Sequence[Encoded]) -> Encoded | None:
    """Encoded parts as one; None where there are none."""
    return Encoded.cat(list(parts)) if parts else None
