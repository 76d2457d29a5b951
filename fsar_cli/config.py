"""The configuration of a run: frozen pydantic models, one per concern, and their YAML form.

Defaults are those of the paper; where it is silent, see the README's "differences from the paper". How a value is found
among presets, files, environment and flags is the matter of `settings`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from fsar_cli.errors import UsageError

FilePath = Annotated[Path, PlainSerializer(str)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
SMALLEST_SIDE = 16
# YAML reads a bare `off` as false, and `on` as true, which would pass for the number 1.
Off = BeforeValidator(lambda value: {False: "off", True: "on"}[value] if isinstance(value, bool) else value)


def _sides(value: int | tuple[int, ...]) -> int | tuple[int, ...]:
    sides = (value,) if isinstance(value, int) else value
    if not sides or len(set(sides)) < len(sides) or min(sides) < SMALLEST_SIDE:
        given = list(sides) if isinstance(value, tuple) else value
        raise ValueError(f"must be at least {SMALLEST_SIDE}, or a list of different such numbers, not {given}")
    return value


def _stored_side(value: int) -> int:
    if value and value < SMALLEST_SIDE:
        raise ValueError(f"must be at least {SMALLEST_SIDE}, or 0 for the size of the video")
    return value


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)


class DataConfig(Section):
    """Where the data are."""

    name: Annotated[str, Field(coerce_numbers_to_str=True, min_length=1, pattern=r"^[^/\\]+$")] = "data"
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
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Store at most so many frames a second; null: all."""
    every: Positive = 1
    """Store every N-th frame."""
    max_frames: Annotated[int, Field(ge=2)] | None = None
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
    """T: frames sampled per video."""
    size: Annotated[int, Field(ge=32)] = 224
    """S: side of the square input crop in pixels."""
    short_side: Annotated[int, Field(ge=32)] = 256
    """Frames are brought to this short side before the crop."""
    jitter: Annotated[int, Field(ge=0)] = 5
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

    way: Annotated[int, Field(ge=2)] = 5
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
    gain: Annotated[float, Field(gt=0)] | Literal["learnt"] = 1.0
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
    key_dim: Positive = 1152
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    position_scale: float = 0.1
    heads: Literal["split", "joint"] = "split"
    """Eq. 9: one head for the global and one for the local half, or one head over the whole feature (Table 2)."""
    temporal_weight: Annotated[float, Field(ge=0)] = 1.0
    """w: weight of the temporal refinement loss (eq. 11); 0 turns it off."""
    temporal_test_weight: Annotated[float, Field(ge=0)] | None = None
    """Weight of the temporal distance in the prediction; null: the same as temporal_weight."""
    hausdorff: Literal["sum", "mean", "dim"] = "sum"
    """Eq. 11 over frames: sum, mean, or the paper's 1/d with d the feature dimension."""
    auxiliary: bool = True
    """Trick 3: the two auxiliary cross-transformers of eq. 12."""

    @model_validator(mode="after")
    def _cardinalities(self) -> "MatchConfig":
        if not self.cardinalities or len(set(self.cardinalities)) < len(self.cardinalities):
            raise ValueError(f"match.cardinalities must be one or more different sizes, not {list(self.cardinalities)}")
        return self


class AtaConfig(Section):
    """ATA: adaptation of the prototypes at test time, and its classifier in training."""

    steps: Annotated[int, Field(ge=0)] = 50
    """Adam steps on the support of each test episode; 0: prototypes are the means over shots."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Of frame features before the classifier, in training."""


class ArnConfig(Section):
    """ARN: descriptors and self-supervision."""

    channels: Annotated[int, Field(ge=16, le=512)] = 64
    """R: channels that are pooled to R x R numbers for each video."""
    alignment: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the alignment of temporal attention in the loss."""


class ModelConfig(Section):
    """The method and its parts."""

    method: str = "keyregion"
    backbone: str = "resnet50"
    weights: str = "imagenet"
    """`imagenet`, `none`, `demo` (the small checkpoint shipped with fsar) or a path to a state dict."""
    local_weights: str | None = None
    """Weights of the local backbone; null: the same as `weights`."""
    normalize: bool | None = None
    """ImageNet mean and standard deviation; null: on with `imagenet` weights, off otherwise."""
    freeze_backbone: bool = False
    """Train only what follows the backbones (which then stay in evaluation mode)."""
    freeze_batchnorm: bool = False
    """Keep batch statistics of the pretrained weights."""
    classes: Positive | None = None
    """Training classes, for methods with a classifier of them; `fsar train` counts them in the split file."""
    class_weight: Annotated[float, Field(ge=0)] | None = None
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
    lr: Annotated[float, Field(gt=0)] = 1e-3
    momentum: Share = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    accumulate: Positive = 16
    """Episodes per optimiser step."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None


class TrainConfig(Section):
    """The training run."""

    iterations: Positive = 20_000
    """Episodes to train on."""
    loss_reduction: Literal["sum", "mean"] = "sum"
    """Cross-entropy over the queries of an episode (TRX sums)."""
    seed: Annotated[int, Field(ge=0)] = 0
    amp: Annotated[Literal["auto", "off", "bf16", "fp16"], Off] = "auto"
    """What is trained in: `bf16` (pays on a CPU with AMX, too), `fp16` with scaled losses, or float32 (`off`); `auto`:
    on CUDA bf16 where the card has it, else fp16, and float32 on a CPU. Clips to evaluate are encoded in float16 on
    CUDA unless this is `off`, and in float32 on a CPU."""
    channels_last: bool = True
    compile: bool = False
    """Compile the backbones' forward and backward (torch.compile); without a working compiler they run as they are."""
    frame_cache: Annotated[Literal["auto", "off"] | Annotated[float, Field(gt=0)], Off] = "auto"
    """Keep decoded training frames in memory shared by all loader processes: a number of GiB, or `auto`: all of them
    where they fit into a part of the free memory, else none."""
    workers: Annotated[int, Field(ge=0)] | None = None
    """Loader processes; null: as many as there are cores, at most 8."""
    log_every: Positive = 20
    checkpoint_every: Positive = 500
    val_every: Annotated[int, Field(ge=0)] = 1000
    """Validate on the val split every so many episodes; 0: never."""
    val_episodes: Positive = 500
    memory_budget: Annotated[float, Field(gt=0)] | None = None
    """GiB an episode may take: kept by checkpointing, then by micro-batches (which batch statistics notice)."""
    views: Annotated[int, Field(ge=0)] = 0
    """Train the heads alone, on features of so many augmented views of each video, encoded once; 0: encode anew."""


class EvalConfig(Section):
    """Evaluation (METHOD 6): 10,000 random episodes with one query per class."""

    split: str = "test"
    way: Annotated[int, Field(ge=2)] = 5
    shots: tuple[Positive, ...] = (1, 5)
    queries: Positive = 1
    episodes: Annotated[int, Field(ge=2)] = 10_000
    seed: Annotated[int, Field(ge=0)] = 0
    group_disjoint: bool = False


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
        flat.update(flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return flat


KEYS = tuple(flatten(Config().model_dump()))


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
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"] if not isinstance(part, int))
        known = next((k for k in KEYS if key == k or key.startswith(k)), key)
        origin = f" ({origins[known]})" if origins and known in origins else ""
        value = "" if isinstance(item["input"], dict) else f", not {item['input']!r}"
        text = item["msg"].removeprefix("Value error, ")
        yield known, f"{known}{origin}: {text}{value}" if known else text


def _refusal(lines: list[str]) -> UsageError:
    return UsageError("; ".join(dict.fromkeys(lines)), "`fsar config show` prints every value with its origin")


def dump(config: Config) -> str:
    """The config as YAML; `load(dump(c)) == c`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load(text: str) -> Config:
    """The config a run folder holds."""
    tree = yaml.safe_load(text) or {}
    for name in {"store", "clips"} & set(tree.get("data", ())):  # where runs of version 0.1.0 have them
        tree.setdefault("extract", {})[name] = tree["data"].pop(name)
    return validate(tree)
