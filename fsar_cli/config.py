"""The configuration of a run: frozen pydantic models, one per concern, and their YAML form.

Defaults are those of the paper; where it is silent, see the README's "differences from the paper". How a value is found
among presets, files, environment and flags is the matter of `settings`.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from fsar_cli.errors import UsageError
from fsar_cli.yamltext import read_yaml

LARGEST_SIDE = 8192
"""Pixels; of the largest video."""
FilePath = Annotated[
    Path,
    BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value),  # a folder called 2024
    PlainSerializer(str),
]
# Every number has an end, and none may be NaN or infinite: what is beyond is a slip, and would stop some library.
Positive = Annotated[int, Field(ge=1, le=10**9)]
Way = Annotated[int, Field(ge=2, le=1000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e30, le=1e30)]
AboveZero = Annotated[Number, Field(gt=0)]
ZeroOrMore = Annotated[Number, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
SMALLEST_SIDE = 16
_HALF_SIGN = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""What no file can be called; the others of this kind are bytes that are no text."""
LONGEST = 60  # characters of a wrong value that are shown
# What pydantic calls by the names of Python's types.
REASONS = {
    "path_type": "must be a path",
    "tuple_type": "must be a list, as [1, 5]",
    "string_pattern_mismatch": "must hold no slash and no control character",
}


def _sides(value: int | tuple[int, ...]) -> int | tuple[int, ...]:
    sides = (value,) if isinstance(value, int) else value
    if not sides or len(set(sides)) < len(sides) or min(sides) < SMALLEST_SIDE:
        given = list(sides) if isinstance(value, tuple) else value
        raise ValueError(f"must be at least {SMALLEST_SIDE}, or a list of different such numbers, not {given}")
    return value


def _numbers(value: tuple[int, ...]) -> tuple[int, ...]:
    if not value:
        raise ValueError("must be one or more numbers")
    return tuple(dict.fromkeys(value))  # given twice counts once


def _stored_side(value: int) -> int:
    if value and not SMALLEST_SIDE <= value <= LARGEST_SIDE:
        raise ValueError(f"must be {SMALLEST_SIDE} to {LARGEST_SIDE}, or 0 for the size of the video")
    return value


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True, coerce_numbers_to_str=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what pydantic and the system would take amiss: true as the number 1, no path as the current folder."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and get_origin(kind) is not Literal and bool not in (kind, *get_args(kind)):
            raise ValueError("must not be true or false")
        if isinstance(value, str | Path) and not str(value):
            raise ValueError("must not be empty")
        if isinstance(value, str | Path) and "\0" in str(value):
            raise ValueError("must not hold a NUL character")
        if isinstance(value, str | Path) and _HALF_SIGN.search(str(value)):
            raise ValueError("must not hold half a sign")
        return value


class DataConfig(Section):
    """Where the data are."""

    name: Annotated[str, Field(max_length=60, pattern=r"^[^/\\\x00-\x1f\x7f]+$")] = "data"
    """Short name of the data set, used in the names of run folders."""
    videos: FilePath = Path("videos")
    """Class/video tree that `extract-frames` reads."""
    frames: FilePath = Path("frames")
    """Frame store that `train` and `eval` read."""
    annotations: FilePath | None = None
    """Temporal annotations (a file or a folder) by which `extract-frames` cuts clips from long videos."""
    splits: FilePath = Path("splits.csv")
    """Split file (`fsar splits make`)."""


class ExtractConfig(Section):
    """How `extract-frames` stores frames; one set of values for a whole store, whose extract.json keeps them."""

    short_side: Annotated[int, AfterValidator(_stored_side)] | None = None
    """Pixels of the shorter side; 0: as in the video; null: `clip.short_side`."""
    quality: Annotated[int, Field(ge=1, le=100)] = 90
    """JPEG quality."""
    fps: AboveZero | None = None
    """Store at most so many frames a second; null: all."""
    every: Positive = 1
    """Store every N-th frame."""
    max_frames: Annotated[int, Field(ge=2, le=10**9)] | None = None
    """Store at most so many frames of a clip, evenly spread over it; null: all."""
    clips: Literal["segment", "longest", "whole"] = "segment"
    """What of an annotated video is a clip: each segment, its longest segment, or all of it."""
    store: Literal["files", "packed", "videos"] = "files"
    """How pictures are kept: a JPEG file each, packed in a few tar files, or left in the videos and read by index."""
    picture_fps: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 25.0
    """Frames a second of folders of pictures, which do not say it themselves."""

    @model_validator(mode="after")
    def _one_rate(self) -> "ExtractConfig":
        if self.fps is not None and self.every != 1:
            raise ValueError("extract.fps and extract.every exclude each other: set every to 1 or fps to null")
        return self


class ClipConfig(Section):
    """From a video's frames to the clip a network sees (METHOD 6)."""

    frames: Annotated[int, Field(ge=2, le=64)] = 8
    """F: frames sampled per video; what a network makes of them are T steps, F for one of images."""
    size: Annotated[int, Field(ge=32, le=LARGEST_SIDE)] = 224
    """S: side of the square input crop in pixels."""
    short_side: Annotated[int, Field(ge=32, le=LARGEST_SIDE)] = 256
    """Frames are brought to this short side before the crop."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How, where they are stored at another side."""
    rate: AboveZero | None = None
    """Frames a second that a clip is read at, as its network was trained; null: frames spread over the whole video."""
    jitter: Annotated[int, Field(ge=0, le=10**6)] = 5
    """Training: up to this many frames of random jitter at both ends."""
    flip: bool = True
    """Training: random horizontal flip of the whole clip."""

    @model_validator(mode="after")
    def _fits(self) -> "ClipConfig":
        if self.size > self.short_side:
            raise ValueError(f"clip.size {self.size} is larger than clip.short_side {self.short_side}")
        return self


class EpisodeConfig(Section):
    """Shape of a training episode: N way, K shot, Q queries per class."""

    way: Way = 5
    shot: Positive = 5
    queries: Positive = 3
    group_disjoint: bool = False
    """Draw support and queries from different groups (source film, actors) of the split file."""


class RelationConfig(Section):
    """Spatio-temporal relation of feature maps, section 3.2 (eq. 1-3)."""

    temporal: bool = True
    motion: bool = True
    bias: bool = False
    residual: bool = False
    """Add the un-gated map, so that the gates only emphasise."""


class RegionConfig(Section):
    """Key-region selection, section 3.3 (eq. 4-8)."""

    enabled: bool | None = None
    """Off: global features only (the baseline row of Table 2); on: for any method; null: for keyregion alone."""
    side: Annotated[int | tuple[int, ...], AfterValidator(_sides)] = 128
    """P: side of the key region in pixels of the input crop; a list: regions of several sides around each centre, whose
    features are averaged, and the first of which is the one that is drawn and measured."""
    selector: Literal["paper", "adafocus"] = "paper"
    """Eq. 4-7 on cell weights, which has no parameters, or AdaFocus V2's policy network on the map; it takes `side`,
    `stop_gradient` and `random_probability` alone."""
    source: Literal["relation", "difference"] = "relation"
    """Cell weights from the relation module (paper) or from differences between neighbouring frames' maps."""
    weights: Literal["raw", "softmax", "l1"] = "raw"
    """How cell weights enter eq. 6: as they are (paper), softmax over cells, or divided by their sum."""
    gain: AboveZero | Literal["learnt"] = 1.0
    """Factor on the sum of eq. 6; `learnt` starts at 1."""
    clamp: Literal["hard", "straight_through", "tanh"] = "hard"
    """Eq. 7: hard clamp (paper), hard with an identity gradient, or a smooth saturation."""
    stop_gradient: bool = True
    """Trick 1: detach the map where it enters the relation module."""
    random_probability: Share = 0.5
    """Trick 2: share of training forwards whose region comes from a random mask."""
    random_kind: Literal["mask", "uniform_centre"] = "mask"
    """Random cell weights U(0,1) (paper), or a centre drawn uniformly from the valid area."""

    @property
    def sides(self) -> tuple[int, ...]:
        """P of all regions of a frame."""
        return (self.side,) if isinstance(self.side, int) else self.side


class MatchConfig(Section):
    """Matching and loss, section 3.4 (eq. 9-12)."""

    cardinalities: tuple[Annotated[int, Field(ge=1, le=8)], ...] = (2, 3)
    """Sizes of the ordered frame tuples of the temporal cross-transformer."""
    key_dim: Annotated[int, Field(ge=1, le=2**16)] = 1152
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    position_scale: Number = 0.1
    heads: Literal["split", "joint"] = "split"
    """Eq. 9: one head for the global and one for the local half, or one head over the whole feature (Table 2)."""
    temporal_weight: ZeroOrMore = 1.0
    """w: weight of the temporal refinement loss (eq. 11); 0 turns it off."""
    temporal_test_weight: ZeroOrMore | None = None
    """Weight of the temporal distance in the prediction; null: the same as temporal_weight."""
    hausdorff: Literal["sum", "mean", "dim"] = "sum"
    """Eq. 11 over frames: sum, mean, or the paper's 1/d with d the feature dimension."""
    auxiliary: bool = True
    """Trick 3: the two auxiliary cross-transformers of eq. 12."""
    metric: Literal["euclidean", "cosine"] = "euclidean"
    """Of prototype: squared distance, or cosine."""
    root: bool = False
    """Square root of the features before the head (of negative ones: with their sign)."""
    whiten: Literal["none", "train"] = "none"
    """Whiten the features by the clips of the train split before the head; backbones must then stand still."""
    whiten_shrinkage: AboveZero = 1.0
    """lambda: mean variances added to every variance of the covariance."""
    whiten_groups: Literal["all", "disjoint"] = "all"
    """Train clips that an evaluation whitens by: all, or those of other groups (scenes, actors) than the query's."""

    @model_validator(mode="after")
    def _cardinalities(self) -> "MatchConfig":
        if not self.cardinalities or len(set(self.cardinalities)) < len(self.cardinalities):
            raise ValueError(f"match.cardinalities must be one or more different sizes, not {list(self.cardinalities)}")
        return self


class AtaConfig(Section):
    """ATA: adaptation of the prototypes at test time, and its classifier in training."""

    steps: Annotated[int, Field(ge=0, le=10**6)] = 50
    """Adam steps on the support of each test episode; 0: prototypes are the means over shots."""
    lr: AboveZero = 1e-3
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Of frame features before the classifier, in training."""


class ArnConfig(Section):
    """ARN: descriptors and self-supervision."""

    channels: Annotated[int, Field(ge=16, le=512)] = 64
    """R: channels that are pooled to R x R numbers for each video."""
    alignment: ZeroOrMore = 1.0
    """Weight of the alignment of temporal attention in the loss."""


class ModelConfig(Section):
    """The method and its parts."""

    method: str = "keyregion"
    backbone: str = "resnet50"
    """A network of torchvision, of images (`resnet50`) or of video (`r3d_18`, `mvit_v2_s`, `swin3d_t`), `i3d`, or one
    of timm (`timm:NAME`) or of transformers (`hf:NAME`, on the hub or a folder: VideoMAE, V-JEPA 2)."""
    weights: str = "imagenet"
    """`imagenet` (images), `kinetics400` (video), `pretrained` (timm, transformers), `none`, `demo` (the small
    checkpoint shipped with fsar), or a path to a state dict."""
    local_weights: str | None = None
    """Weights of the local backbone; null: the same as `weights`."""
    normalize: bool | None = None
    """Mean and deviation of the weights' recipe, ImageNet's where they have none; null: where they have one."""
    freeze_backbone: bool = False
    """Train only what follows the backbones (which then stay in evaluation mode)."""
    freeze_batchnorm: bool = False
    """Keep batch statistics of the pretrained weights."""
    classes: Annotated[int, Field(ge=1, le=10**6)] | None = None
    """Training classes, for methods with a classifier of them; `fsar train` counts them in the split file."""
    class_weight: ZeroOrMore | None = None
    """Weight of the classifier's loss (hyrsm, molo); null: the authors' on Kinetics, 0.4 and 0.1."""
    relation: RelationConfig = RelationConfig()
    region: RegionConfig = RegionConfig()
    match: MatchConfig = MatchConfig()
    ata: AtaConfig = AtaConfig()
    arn: ArnConfig = ArnConfig()

    @property
    def selects_regions(self) -> bool:
        """Whether the features of a frame are global and local: `region.enabled`, or what the method's default is."""
        return self.method == "keyregion" if self.region.enabled is None else self.region.enabled

    @property
    def label(self) -> str:
        """The method in a word, with key regions where they are not its default: `trx`, `trx+region`."""
        if self.region.enabled in (None, self.method == "keyregion"):
            return self.method
        return self.method + ("+region" if self.region.enabled else "-noregion")


class OptimConfig(Section):
    """Optimiser (METHOD 6)."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: AboveZero = 1e-3
    momentum: Share = 0.0
    weight_decay: ZeroOrMore = 0.0
    accumulate: Positive = 16
    """Episodes per optimiser step."""
    clip_norm: AboveZero | None = None


class TrainConfig(Section):
    """The training run."""

    iterations: Positive = 20_000
    """Episodes to train on."""
    loss_reduction: Literal["sum", "mean"] = "sum"
    """Cross-entropy over the queries of an episode (TRX sums)."""
    seed: Seed = 0
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    """What is trained in: `bf16` (pays on a CPU with AMX, too), `fp16` with scaled losses, or float32 (`off`); `auto`:
    on CUDA bf16 where the card has it, else fp16, and float32 on a CPU. Clips to evaluate are encoded in float16 on
    CUDA unless this is `off`, and in float32 on a CPU (`eval.precision`)."""
    channels_last: bool = True
    compile: bool = False
    """Compile the backbones' forward and backward (torch.compile); without a working compiler they run as they are."""
    frame_cache: Literal["auto", "off"] | AboveZero = "auto"
    """Keep decoded training frames in memory shared by all loader processes: a number of GiB, or `auto`: all of them
    where they fit into a part of the free memory, else none."""
    workers: Annotated[int, Field(ge=0, le=256)] | None = None
    """Loader processes, at most 256; null: as many as there are cores, at most 8."""
    log_every: Positive = 20
    checkpoint_every: Positive = 500
    val_every: Annotated[int, Field(ge=0, le=10**9)] = 1000
    """Validate on the val split every so many episodes; 0: never."""
    val_episodes: Annotated[int, Field(ge=2, le=10**7)] = 500
    sync_batchnorm: bool = False
    """With several processes on GPUs: batch norms normalise by the clips of all processes' episodes together. What is
    learnt then depends on how many there are; else it does not."""
    memory_budget: AboveZero | None = None
    """GiB an episode may take: kept by checkpointing, then by micro-batches (which batch statistics notice)."""
    views: Annotated[int, Field(ge=0, le=1000)] = 0
    """Train the heads alone, on features of so many augmented views of each video, encoded once; 0: encode anew."""


class EvalConfig(Section):
    """Evaluation (METHOD 6): 10,000 random episodes with one query per class."""

    split: str = "test"
    way: Way = 5
    shots: Annotated[tuple[Positive, ...], AfterValidator(_numbers)] = (1, 5)
    queries: Positive = 1
    episodes: Annotated[int, Field(ge=2, le=10**7)] = 10_000
    seed: Seed = 0
    group_disjoint: bool = False
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """What backbones compute in where they are not trained; `auto`: float32 on a CPU, float16 on CUDA. A CPU with AMX
    is several times as fast in bfloat16."""
    views: Annotated[int, Field(ge=1, le=100)] = 1
    """Clips that are read of each video, and whose features are averaged: one after another where `clip.rate` is set,
    else each of frames between those of the others."""

    @property
    def middle_view(self) -> tuple[int, int]:
        """(which, of how many): the view whose key regions stand for the video."""
        return self.views // 2, self.views


class Config(Section):
    """Everything a run depends on."""

    data: DataConfig = DataConfig()
    extract: ExtractConfig = ExtractConfig()
    clip: ClipConfig = ClipConfig()
    episode: EpisodeConfig = EpisodeConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()

    @property
    def stored(self) -> ExtractConfig:
        """`extract` as a store keeps it: with a short side, and of videos without annotations all is a clip."""
        side = self.clip.short_side if self.extract.short_side is None else self.extract.short_side
        clips = self.extract.clips if self.data.annotations else "whole"
        return self.extract.model_copy(update={"short_side": side, "clips": clips})

    @model_validator(mode="after")
    def _region_fits(self) -> "Config":
        side = max(self.model.region.sides)
        if self.model.selects_regions and side >= self.clip.size:
            raise ValueError(f"model.region.side {side} must be smaller than clip.size {self.clip.size}")
        if max(self.model.match.cardinalities) > self.clip.frames:
            raise ValueError(
                f"model.match.cardinalities {self.model.match.cardinalities} exceed clip.frames {self.clip.frames}"
            )
        return self


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping -> {"a.b.c": value}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value})
    return flat


KEYS = tuple(flatten(Config().model_dump()))
PATHS = ("data.videos", "data.frames", "data.annotations", "data.splits", "model.weights", "model.local_weights")
"""Keys that take a path."""
TEXTS = (*PATHS, "data.name", "model.method", "model.backbone", "eval.split")
"""Keys that take any text."""


def validate(tree: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> Config:
    """Build the config, turning pydantic's report into one sentence per wrong value."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise _refusal([text for _, text in _sentences(error, origins)]) from error


def check_values(tree: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> None:
    """Judge each value of a tree by itself, as the others that it must fit are not known yet. Raises UsageError."""
    try:
        Config.model_validate(tree)
    except ValidationError as error:
        lines = [text for key, text in _sentences(error, origins) if key in KEYS]
        if lines:
            raise _refusal(lines) from error


def _sentences(error: ValidationError, origins: Mapping[str, str] | None) -> Iterator[tuple[str, str]]:
    """(key, what is wrong); where several values do not fit one another, the key is a section or empty."""
    for known, items in groupby(error.errors(), _key):
        reasons, values = zip(*((_reason(item), item["input"]) for item in items), strict=True)
        origin = f" ({origins[known]})" if origins and known in origins else ""
        first, *others = dict.fromkeys(reasons)
        text = " or ".join([first, *(reason.removeprefix("Input should be ") for reason in others)])
        shown = f", not {_shown(values[0])}" if known in KEYS else ""
        yield known, f"{known}{origin}: {text}{shown}" if known else text


def _key(item: ErrorDetails) -> str:
    """The dotted key a complaint is about, of a list or one of several forms of a value, too."""
    key = ".".join(str(part) for part in item["loc"] if not isinstance(part, int))
    return next((known for known in KEYS if key == known or key.startswith(f"{known}.")), key)


def _reason(item: ErrorDetails) -> str:
    return REASONS.get(item["type"]) or item["msg"].removeprefix("Value error, ")


def _shown(value: Any) -> str:
    """A wrong value as in YAML, of which the beginning will do."""
    text = {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _refusal(lines: list[str]) -> UsageError:
    return UsageError("; ".join(dict.fromkeys(lines)), "`fsar config show` prints every value with its origin")


def dump(config: Config) -> str:
    """The config as YAML; `load(dump(c)) == c`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load(content: str | bytes, name: str = "the configuration") -> Config:
    """The config a run folder holds.

    Args:
        name: of the file, for messages.

    Raises:
        UsageError: it is no configuration.
    """
    tree = read_yaml(content, name) or {}
    if not isinstance(tree, dict):
        raise UsageError(f"{name} must hold a mapping of sections")
    data, extract = tree.get("data"), tree.setdefault("extract", {})
    if isinstance(data, dict) and isinstance(extract, dict):
        for key in {"store", "clips"} & set(data):  # where runs of version 0.1.0 have them
            extract[key] = data.pop(key)
    return validate(tree, dict.fromkeys(KEYS, name))
