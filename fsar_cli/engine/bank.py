"""Encode every video of a split once; thousands of episodes are then matched against the result.

    clips -- describe (backbones; the costly half) --> frame features -- prepare, embed (heads) --> Encoded

What the backbones say is kept on disk under the digest of weights, preprocessing and videos: other shots, other seeds
and other heads on the same backbones read it back. What the heads make of it is larger and cheap: it is computed
again, and lies in memory where it fits, else in a memory-mapped file.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cache as remembered
from functools import partial
from itertools import chain
from pathlib import Path

import torch

import fsar_cli
from fsar_cli.config import Config
from fsar_cli.core.build import normalization
from fsar_cli.core.method import BOXES, SATURATED, Encoded, FewShotMethod
from fsar_cli.data.clips import AugmentedClips, ClipReader, EvaluationClips, clip_loader
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.device import encoding_autocast, encoding_type, folded, free_memory, loader_workers, place
from fsar_cli.engine.motion import RegionMeter, RegionStatistics
from fsar_cli.engine.tensorfile import add_to_digest, read_tensors, write_tensors
from fsar_cli.errors import DataError
from fsar_cli.files import Cache, cache_folder, naming, scratch
from fsar_cli.ranks import ALONE, Ranks
from fsar_cli.reporting import SILENT, Reporter

# Frames a batch: enough to fill a GPU; a CPU is at its best with maps that its caches hold.
FRAMES_PER_BATCH = {"cpu": 16, "cuda": 512}
# Share of the free memory that a bank may take; the rest is for matching and for others.
SHARE_OF_MEMORY = 0.5
VIDEOS_PER_EMBEDDING = 64
CHECK_WEIGHTS = "the weights do not suit these clips: take those of an earlier checkpoint, or train.amp=off"
# What the encoding and matching of videos can depend on, of the package; commands and tools change nothing of it.
CODE = ("config.py", "core/**/*.py", "data/**/*.py", "engine/**/*.py")
REGIONS = "regions.json"


@dataclass
class Bank:
    """The encoded videos of a split, in the order of `videos`."""

    videos: tuple[str, ...]
    encoded: Encoded
    """[V]; float32."""
    boxes: torch.Tensor | None
    """[V,T,4] key regions in [0,1] of the input crop, where the method selects any."""
    regions: RegionStatistics | None
    cached: bool = False
    """Whether the backbones' part was read back from disk."""
    described: Encoded | None = None
    """[V]: what the backbones say of them, where that was to be kept."""

    @property
    def device(self) -> torch.device:
        """Where the encoded videos lie."""
        return next(iter(self.encoded.tensors.values())).device


def feature_cache() -> Cache:
    """The cache of features in the user's cache folder."""
    return Cache(cache_folder("features"))


@torch.inference_mode()
def encode_videos(
    method: FewShotMethod,
    reader: ClipReader,
    videos: tuple[str, ...],
    device: torch.device,
    config: Config,
    reporter: Reporter = SILENT,
    cache: Cache | None = None,
    keep: bool = False,
    ranks: Ranks = ALONE,
) -> Bank:
    """Encode the deterministic clip of each video in evaluation mode.

    Args:
        videos: ids in the frame store.
        config: that of the method: normalisation, precision, memory layout and loader processes come from it.
        cache: where features are kept and looked for; None: nowhere.
        keep: keep in memory what the backbones say, too.
        ranks: the processes that divide the clips; each has the whole bank afterwards.

    Raises:
        DataError: a video that cannot be read.
    """
    training = method.training
    try:
        clips = EvaluationClips(reader, videos, config.eval.views)
        features = describe_clips(method, clips, device, config, reporter, cache, ranks)
        encoded = embedded(method, features.encoded, device, reporter)
    finally:
        method.train(training)
    boxes = features.encoded[BOXES].clone() if BOXES in features.encoded else None
    described = features.encoded if keep else None
    return Bank(videos, encoded, boxes, features.regions, features.cached, described)


@dataclass
class Described:
    """What the backbones say of clips: on the CPU, memory-mapped, read only."""

    encoded: Encoded
    """[clips] as `FewShotMethod.describe` gives it."""
    regions: RegionStatistics | None
    cached: bool


@torch.inference_mode()
def describe_clips(
    method: FewShotMethod,
    clips: EvaluationClips | AugmentedClips,
    device: torch.device,
    config: Config,
    reporter: Reporter = SILENT,
    cache: Cache | None = None,
    ranks: Ranks = ALONE,
) -> Described:
    """Run the backbones over clips in evaluation mode (in which the method is left), or read what they said before.

    Of several processes the first reads and keeps, and calls the others where there is something to be encoded.
    """
    place(method, device, config.train.channels_last).eval()

    def describe(meter: RegionMeter) -> Iterator[Encoded]:
        return _described(method, clips, device, config, reporter, meter, ranks)

    if not ranks.first:
        while ranks.called():
            for _ in describe(RegionMeter()):
                pass
        return _spread(None, ranks)

    def calling(meter: RegionMeter) -> Iterator[Encoded]:
        ranks.call()
        yield from describe(meter)

    with ranks.conducting():
        found = _found(method, clips, device, config, reporter, cache, calling)
    return found if ranks.alone else _spread(found, ranks)


def _found(method, clips, device, config: Config, reporter: Reporter, cache: Cache | None, describe) -> Described:
    if cache is not None:
        try:
            return _kept(cache, features_key(method, clips, device, config), len(clips), describe)
        except OSError as error:
            reporter.warn(cache.without(error))
    meter = RegionMeter()
    encoded = _gathered(len(clips), describe(meter), torch.device("cpu"), reporter)
    return Described(encoded, meter.result(), cached=False)


def _spread(found: Described | None, ranks: Ranks) -> Described:
    """What the first process has, on all of them."""
    regions, cached = ranks.agreed(lambda: (found.regions, found.cached))
    tensors = ranks.spread(found and found.encoded.tensors)
    return found or Described(Encoded(tensors), regions, cached)


def _kept(cache: Cache, key: str, rows: int, describe: Callable[[RegionMeter], Iterator[Encoded]]) -> Described:
    """What is kept under a key, or is described and kept now.

    Raises:
        OSError: the cache cannot be used.
    """
    made = False

    def make(folder: Path) -> None:
        nonlocal made
        made, meter = True, RegionMeter()
        with closing(describe(meter)) as parts:  # with it its progress bar and its processes, whatever happens
            write_tensors(folder, rows, (part.tensors for part in parts))
        regions = meter.result()
        with naming(folder / REGIONS):
            (folder / REGIONS).write_text(json.dumps(regions and asdict(regions)), encoding="utf-8")

    return replace(cache.read(key, make, _read_described), cached=not made)


def _read_described(folder: Path) -> Described:
    regions = json.loads((folder / REGIONS).read_text(encoding="utf-8"))
    encoded = Encoded(read_tensors(folder))
    for rows in torch.arange(len(encoded)).split(VIDEOS_PER_EMBEDDING):
        if not encoded.take(rows).finite:
            raise DataError(f"{folder} holds numbers that are NaN or infinite")  # none was written: it is damaged
    return Described(encoded, regions and RegionStatistics(**regions), cached=True)


@remembered
def code_digest(root: Path = Path(fsar_cli.__file__).parent) -> str:
    """SHA-256 (hex) of the source files that results depend on: a version stands still while the code is worked on."""
    digest = hashlib.sha256()
    for path in sorted(file for pattern in CODE for file in root.glob(pattern)):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def features_key(
    method: FewShotMethod, clips: EvaluationClips | AugmentedClips, device: torch.device, config: Config
) -> str:
    """Digest of everything that what `describe` says depends on."""
    model, clip = config.model, clips.reader.clip
    plain = {
        "code": code_digest(), "torch": torch.__version__, "device": device.type,
        "precision": str(encoding_type(device, config)),
        "features": type(method.features).__name__,
        "keep": [type(method).describe.__qualname__, type(method).keep.__qualname__],
        "normalization": repr(normalization(model)), "backbone": model.backbone,
        "libraries": [backbone.library for backbone in method.features.backbones()],
        "relation": model.relation.model_dump(),
        "region": model.region.model_dump(exclude={"enabled"}),
        "clip": [clip.frames, clip.size, clip.short_side, clip.interpolation, clip.rate],
        "views": [clips.views, *([clips.seed, clip.jitter, clip.flip] if isinstance(clips, AugmentedClips) else [])],
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    add_to_digest(digest, method.features.state_dict())
    for video in clips.videos:
        digest.update(f"\0{video}\0{clips.reader.store.fingerprint(video)}".encode())
    return digest.hexdigest()


def _described(
    method, clips, device: torch.device, config: Config, reporter: Reporter, meter: RegionMeter, ranks: Ranks
) -> Iterator[Encoded]:
    """What the backbones say of all clips, group by group, on the CPU; their regions go to `meter`.

    Groups are what one call of the backbones takes, as rounding depends on it; every `world`-th one is a process's own,
    and the first gets them all, in order.

    Raises:
        DataError: it is NaN or infinite.
    """
    if method.features.remark:
        reporter.log(method.features.remark)
    views = clips.views if isinstance(clips, EvaluationClips) else 1
    batch = max(1, FRAMES_PER_BATCH[device.type] // (clips.reader.clip.frames * views))
    groups = [range(start, min(start + batch, len(clips))) for start in range(0, len(clips), batch)]
    workers = loader_workers(config.train.workers, device, reporter, ranks)
    with (
        folded(method),
        reporter.track("encoding", len(clips), "clips") as task,
        closing(clip_loader(clips, ranks.share(groups), workers, device.type == "cuda", reporter)) as batches,
    ):
        for start in range(0, len(groups), ranks.world):
            own = None
            for rank, group in enumerate(groups[start : start + ranks.world]):
                if rank == ranks.rank:
                    pixels = next(batches).to(device, non_blocking=True)
                    own = _described_group(method, pixels, clips, group, config, meter)
                else:
                    meter.pass_over(len(group))
            for described, measured in filter(None, ranks.gathered(own)):
                meter.take(measured)
                yield described
                task.advance(len(described))


def _described_group(
    method: FewShotMethod, pixels: torch.Tensor, clips: EvaluationClips | AugmentedClips, group: range, config: Config,
    meter: RegionMeter,
) -> tuple[Encoded, dict[str, torch.Tensor]]:  # fmt: skip
    """What the backbones say of uint8 clips [B,(V,)T,S,S,3], and what `meter` measures of their regions; on the CPU."""
    device, normal = pixels.device, normalization(config.model)
    shown = pixels.unbind(1) if pixels.ndim == 6 else [pixels]
    described = _averaged(
        [in_encoding_type(partial(method.describe, to_float(view, normal)), device, config) for view in shown]
    )
    if (bad := without_numbers(described)) is not None:
        raise encoded_badly(clips.in_words(group[bad : bad + 1]))
    if BOXES not in described:
        return described.to("cpu"), {}
    return described.to("cpu"), meter.measure(shown[len(shown) // 2], described[BOXES], described[SATURATED])


def _averaged(views: list[Encoded]) -> Encoded:
    """Means over the views of videos; regions are those of the middle view."""
    middle = views[len(views) // 2]
    if len(views) == 1:
        return middle
    features = [name for name in middle.tensors if name not in (BOXES, SATURATED)]
    means = {name: torch.stack([view[name] for view in views]).mean(0) for name in features}
    return Encoded(middle.tensors | means, middle.lead)


def without_numbers(encoded: Encoded) -> int | None:
    """The first row that is encoded in numbers that are none."""
    rows = torch.arange(len(encoded), device=next(iter(encoded.tensors.values())).device)
    return None if encoded.finite else next(i for i, row in enumerate(rows.split(1)) if not encoded.take(row).finite)


def encoded_badly(who: str) -> DataError:
    """The error of a video, as `in_words` of clips has it, that is encoded in numbers that are none."""
    return DataError(f"{who} is encoded in numbers that are NaN or infinite", CHECK_WEIGHTS)


def in_encoding_type(describe: Callable[[], Encoded], device: torch.device, config: Config) -> Encoded:
    """What backbones say of clips, in float32; computed in it, too, where less does not hold it."""
    with encoding_autocast(device, config):
        described = describe().to(dtype=torch.float32)
    if encoding_type(device, config) != torch.float32 and not described.finite:
        described = describe().to(dtype=torch.float32)
    return described


def embedded(method: FewShotMethod, features: Encoded, device: torch.device, reporter: Reporter) -> Encoded:
    """What the heads make of features, in small groups and in float32: it is little work, done once."""

    def embed(start: int) -> Encoded:
        chosen = torch.arange(start, min(start + VIDEOS_PER_EMBEDDING, len(features)))
        return method.embed(method.prepare(features.take(chosen).to(device))).to(dtype=torch.float32)

    rows = len(features)
    return _gathered(rows, map(embed, range(0, rows, VIDEOS_PER_EMBEDDING)), device, reporter)


def _gathered(rows: int, parts: Iterator[Encoded], device: torch.device, reporter: Reporter) -> Encoded:
    """Parts as one: in the device's memory where they fit, else in a memory-mapped file.

    Raises:
        DataError: no disk has the room either.
    """
    first = next(parts)
    size = rows * 4 * first.numel_per_video()
    if size <= SHARE_OF_MEMORY * free_memory(device):
        return _in_memory(rows, first, parts)
    reporter.log(f"what was encoded takes {size / 2**30:.1f} GiB: it is read from disk")
    try:
        with scratch("spilled", size, reporter.warn) as folder:  # whose names go at once, the files with the tensors
            write_tensors(folder, rows, (part.to("cpu").tensors for part in chain((first,), parts)))
            return Encoded(read_tensors(folder))
    except OSError as error:
        message = f"what was encoded takes {size / 2**30:.1f} GiB, more than the memory and {error.filename} have"
        raise DataError(f"{message} ({error.strerror})", "let FSAR_CACHE name a folder on a larger disk") from error


def _in_memory(rows: int, first: Encoded, rest: Iterator[Encoded]) -> Encoded:
    """Join parts without holding them twice."""
    whole = {name: t.new_empty(rows, *t.shape[1:]) for name, t in first.tensors.items()}
    start = 0
    for part in chain((first,), rest):
        for name, tensor in part.tensors.items():
            whole[name][start : start + len(part)] = tensor
        start += len(part)
    return Encoded(whole)
