"""The configuration of a run: frozen pydantic models, one per concern, and how a value is found.

Precedence: defaults < preset or --config or ./fsar.yaml < FSAR_SECTION__FIELD environment < flags and --set.
`resolve` returns the config with the origin of every value; unknown keys are refused with a suggestion.
Defaults are those of the paper (METHOD in the README's "differences from the paper" where it is silent).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError, model_validator

from fsar_cli.errors import UsageError, did_you_mean

PRESETS = Path(__file__).parent / "presets"
PROJECT_FILE = "fsar.yaml"

FilePath = Annotated[Path, PlainSerializer(str)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


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
    splits: FilePath = Path("splits.csv")
    """Split file (`fsar splits make`)."""


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

    enabled: bool = True
    """Off: global features only (the baseline row of Table 2)."""
    side: Annotated[int, Field(ge=16)] = 128
    """P: side of the key region in pixels of the input crop."""
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
    relation: RelationConfig = RelationConfig()
    region: RegionConfig = RegionConfig()
    match: MatchConfig = MatchConfig()


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
    seed: int = 0
    amp: Literal["auto", "off", "bf16"] = "auto"
    """`auto`: bf16 on CUDA, float32 on a CPU."""
    channels_last: bool = True
    workers: Annotated[int, Field(ge=0)] | None = None
    """Loader processes; null: as many as there are cores, at most 8."""
    log_every: Positive = 20
    checkpoint_every: Positive = 500
    val_every: Annotated[int, Field(ge=0)] = 1000
    """Validate on the val split every so many episodes; 0: never."""
    val_episodes: Positive = 500


class EvalConfig(Section):
    """Evaluation (METHOD 6): 10,000 random episodes with one query per class."""

    split: str = "test"
    way: Annotated[int, Field(ge=2)] = 5
    shots: tuple[Positive, ...] = (1, 5)
    queries: Positive = 1
    episodes: Annotated[int, Field(ge=2)] = 10_000
    seed: int = 0
    group_disjoint: bool = False


class Config(Section):
    """Everything a run depends on."""

    data: DataConfig = DataConfig()
    clip: ClipConfig = ClipConfig()
    episode: EpisodeConfig = EpisodeConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()

    @model_validator(mode="after")
    def _region_fits(self) -> "Config":
        if self.model.region.enabled and self.model.region.side >= self.clip.size:
            raise ValueError(
                f"model.region.side {self.model.region.side} must be smaller than clip.size {self.clip.size}"
            )
        if max(self.model.match.cardinalities) > self.clip.frames:
            raise ValueError(
                f"model.match.cardinalities {self.model.match.cardinalities} exceed clip.frames {self.clip.frames}"
            )
        return self


@dataclass(frozen=True)
class Resolved:
    """A config and, for each dotted key, where its value came from."""

    config: Config
    origins: dict[str, str]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping -> {"a.b.c": value}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return flat


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for dotted, value in flat.items():
        *path, last = dotted.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


KEYS = tuple(flatten(Config().model_dump()))


def presets() -> list[str]:
    """Names of the shipped presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _check_keys(flat: Mapping[str, Any], origin: str) -> None:
    for key in flat:
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or did_you_mean(key.split(".")[-1], [k.split(".")[-1] for k in KEYS])
            raise UsageError(
                f"unknown configuration key '{key}' ({origin})", hint or "`fsar config show` lists all keys"
            )


def read_file(path: Path) -> dict[str, Any]:
    """Read a YAML configuration into dotted keys.

    A top-level `preset: NAME` starts from that preset.

    Raises:
        UsageError: no such file, not YAML, not a mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}", "`fsar init` writes one") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UsageError(f"{path} must hold a mapping of sections, not {type(tree).__name__}")
    filled = {key: value for key, value in tree.items() if not (key in Config.model_fields and value is None)}
    return {str(key): value for key, value in flatten(filled).items()}


def read_preset(name: str) -> dict[str, Any]:
    """The dotted keys of a shipped preset."""
    if name not in presets():
        hint = did_you_mean(name, presets()) or f"presets: {', '.join(presets())}"
        raise UsageError(f"unknown preset '{name}'", hint)
    return read_file(PRESETS / f"{name}.yaml")


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    found = {}
    for name, text in environ.items():
        if name.startswith("FSAR_") and "__" in name:
            try:
                found[name[5:].lower().replace("__", ".")] = (yaml.safe_load(text), name)
            except yaml.YAMLError as error:
                raise UsageError(f"environment {name}: '{text}' is not a YAML value") from error
    return found


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["optim.lr=1e-3"]` -> `{"optim.lr": "1e-3"}`; values are YAML."""
    values = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set takes KEY=VALUE, not '{text}'", "for example --set optim.lr=1e-3")
        try:
            values[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {key}: '{value}' is not a YAML value") from error
    return values


def _layers(preset: str | None, path: Path | None) -> list[tuple[dict[str, Any], str]]:
    if preset and path:
        raise UsageError(
            "--preset and --config exclude each other", f"name the preset inside {path} as `preset: {preset}`"
        )
    if preset:
        return [(read_preset(preset), f"preset {preset}")]
    path = path or (Path(PROJECT_FILE) if Path(PROJECT_FILE).is_file() else None)
    if path is None:
        return []
    values = read_file(path)
    base = values.pop("preset", None)
    layers = [(read_preset(str(base)), f"preset {base}")] if base else []
    return [*layers, (values, str(path))]


def resolve(
    preset: str | None = None,
    path: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    assignments: list[str] | None = None,
    environ: Mapping[str, str] | None = None,
    base: Mapping[str, Any] | None = None,
) -> Resolved:
    """Find every value by the precedence of the module docstring.

    Args:
        flags: dotted keys set by command-line flags; `None` values are ignored.
        base: dotted keys of a run's own config; it then takes the place of preset and file.

    Raises:
        UsageError: unknown key, wrong value, unreadable file.
    """
    layers = [(dict(base), "run")] if base is not None else _layers(preset, path)
    for key, (value, name) in _from_environment(os.environ if environ is None else environ).items():
        layers.append(({key: value}, f"environment {name}"))
    layers.append(({k: v for k, v in (flags or {}).items() if v is not None}, "flag"))
    layers.append((parse_assignments(assignments or []), "--set"))
    values: dict[str, Any] = {}
    origins = dict.fromkeys(KEYS, "default")
    for layer, origin in layers:
        _check_keys(layer, origin)
        values.update(layer)
        origins.update(dict.fromkeys(layer, origin))
    return Resolved(validate(_nest(values), origins), origins)


def validate(tree: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> Config:
    """Build the config, turning pydantic's report into one sentence per wrong value."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"] if not isinstance(part, int))
            known = next((k for k in KEYS if key == k or key.startswith(k)), key)
            origin = f" ({origins[known]})" if origins and known in origins else ""
            value = "" if isinstance(item["input"], dict) else f", not {item['input']!r}"
            text = item["msg"].removeprefix("Value error, ")
            lines.append(f"{known}{origin}: {text}{value}" if known else text)
        raise UsageError(
            "; ".join(dict.fromkeys(lines)), "`fsar config show` prints every value with its origin"
        ) from error


def dump(config: Config) -> str:
    """The config as YAML; `load(dump(c)) == c`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load(text: str) -> Config:
    """The config a run folder holds."""
    return validate(yaml.safe_load(text) or {})
