"""Encode every video of a split once; thousands of episodes are then matched against the result.

    clips -- describe (backbones; the costly half) --> frame features -- embed (heads) --> Encoded

What the backbones say is kept on disk under the digest of weights, preprocessing and videos: other shots, other seeds
and other heads on the same backbones read it back. What the heads make of it is larger and cheap: it is computed
again, and lies in memory where it fits, else in a memory-mapped file.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import torch

from fsar_cli import __version__
from fsar_cli.config import Config
from fsar_cli.core.build import normalizes
from fsar_cli.core.encoded import Encoded
from fsar_cli.core.methods.base import FewShotMethod
from fsar_cli.data.clips import ClipReader, EvaluationClips, clip_loader
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.cache import Cache
from fsar_cli.engine.device import autocast, free_memory, loader_workers, place
from fsar_cli.engine.motion import RegionStatistics, region_statistics
from fsar_cli.engine.tensorfile import TensorWriter, read_tensors
from fsar_cli.places import cache_folder
from fsar_cli.reporting import SILENT, Reporter

# Frames a batch: enough to fill a GPU; a CPU is at its best with few.
FRAMES_PER_BATCH = {"cpu": 64, "cuda": 512}
# Share of the free memory that a bank may take; the rest is for matching and for others.
SHARE_OF_MEMORY = 0.5
VIDEOS_PER_EMBEDDING = 64
FEATURES, REGIONS = "features.safetensors", "regions.json"


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
) -> Bank:
    """Encode the deterministic clip of each video in evaluation mode.

    Args:
        videos: ids in the frame store.
        config: that of the method: normalisation, precision, memory layout and loader processes come from it.
        cache: where features are kept and looked for; None: nowhere.

    Raises:
        DataError: a video that cannot be read.
    """
    training = method.training
    place(method, device, config.train.channels_last).eval()
    work = _Work(method, reader, videos, device, config, reporter)
    try:
        if cache is None:
            with tempfile.TemporaryDirectory(prefix="fsar-features-") as folder:
                work.describe(Path(folder))
                return work.bank(Path(folder), cached=False)
        key = features_key(method, reader, videos, device, config)
        entry = cache.find(key)
        if entry is None:
            with cache.make(key) as staging:
                work.describe(staging)
        return work.bank(cache.find(key), cached=entry is not None)
    finally:
        method.train(training)


def features_key(
    method: FewShotMethod, reader: ClipReader, videos: tuple[str, ...], device: torch.device, config: Config
) -> str:
    """Digest of everything that what `describe` says depends on."""
    model, clip = config.model, config.clip
    plain = {
        "fsar": __version__, "torch": torch.__version__, "device": device.type, "amp": config.train.amp,
        "features": type(method.features).__name__, "describe": type(method).describe.__qualname__,
        "normalize": normalizes(model), "backbone": model.backbone, "relation": model.relation.model_dump(),
        "region": model.region.model_dump(), "clip": [clip.frames, clip.size, clip.short_side],
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name, tensor in method.features.state_dict().items():
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    for video in videos:
        digest.update(f"\0{video}\0{reader.store.fingerprint(video)}".encode())
    return digest.hexdigest()


class _Work:
    """One encoding: from clips to features on disk, from features to a bank."""

    def __init__(self, method, reader, videos, device, config, reporter) -> None:
        self.method, self.reader, self.videos = method, reader, videos
        self.device, self.config, self.reporter = device, config, reporter

    def describe(self, folder: Path) -> None:
        """Run the backbones over all clips and write what they say."""
        writer, statistics = TensorWriter(folder / FEATURES, len(self.videos)), []
        normalize = normalizes(self.config.model)
        with self.reporter.track("encoding", len(self.videos), "videos") as task:
            for clips in self._clips():
                clips = clips.to(self.device, non_blocking=True)
                with autocast(self.device, self.config.train.amp):
                    described = self.method.describe(to_float(clips, normalize)).to(dtype=torch.float32)
                if "boxes" in described:
                    statistics.append(region_statistics(clips, described["boxes"], described["saturated"]))
                writer.add(described.to("cpu").tensors)
                task.advance(len(clips))
        writer.close()
        if statistics:
            (folder / REGIONS).write_text(json.dumps(asdict(RegionStatistics.mean(statistics))), encoding="utf-8")

    def _clips(self) -> Iterator[torch.Tensor]:
        batch = max(1, FRAMES_PER_BATCH[self.device.type] // self.reader.clip.frames)
        workers = loader_workers(self.config.train.workers, self.device)
        return iter(clip_loader(EvaluationClips(self.reader, self.videos), batch, workers, self.device.type == "cuda"))

    def bank(self, folder: Path, cached: bool) -> Bank:
        """Embed the features of a folder."""
        features = Encoded(read_tensors(folder / FEATURES))
        boxes = features["boxes"].clone() if "boxes" in features else None
        regions = None
        if (folder / REGIONS).exists():
            regions = RegionStatistics(**json.loads((folder / REGIONS).read_text(encoding="utf-8")))
        return Bank(self.videos, self._embedded(features), boxes, regions, cached)

    def _embedded(self, features: Encoded) -> Encoded:
        """Embed in small groups; into the device's memory where all of it fits, else into a memory-mapped file."""
        rows = len(features)
        parts = (self._embed(features, start) for start in range(0, rows, VIDEOS_PER_EMBEDDING))
        first = next(parts)
        size = rows * sum(t[0].numel() * t.element_size() for t in first.tensors.values())
        if size <= SHARE_OF_MEMORY * free_memory(self.device):
            return _in_memory(rows, first, parts)
        self.reporter.log(f"the bank takes {size / 2**30:.1f} GiB: it is read from disk while matching")
        return _on_disk(rows, first, parts)

    def _embed(self, features: Encoded, start: int) -> Encoded:
        chosen = torch.arange(start, min(start + VIDEOS_PER_EMBEDDING, len(features)))
        with autocast(self.device, self.config.train.amp):
            return self.method.embed(features.take(chosen).to(self.device)).to(dtype=torch.float32)


def _in_memory(rows: int, first: Encoded, rest: Iterator[Encoded]) -> Encoded:
    """Join parts without holding them twice."""
    whole = {name: t.new_empty(rows, *t.shape[1:]) for name, t in first.tensors.items()}
    start = 0
    for part in chain((first,), rest):
        for name, tensor in part.tensors.items():
            whole[name][start : start + len(part)] = tensor
        start += len(part)
    return Encoded(whole)


def _on_disk(rows: int, first: Encoded, rest: Iterator[Encoded]) -> Encoded:
    """The same in a file that goes away with the tensors (its name is removed at once)."""
    handle, name = tempfile.mkstemp(suffix=".safetensors", prefix="fsar-bank-", dir=_spill_folder())
    os.close(handle)
    try:
        writer = TensorWriter(Path(name), rows)
        for part in chain((first,), rest):
            writer.add(part.to("cpu").tensors)
        writer.close()
        return Encoded(read_tensors(Path(name)))
    finally:
        os.unlink(name)


def _spill_folder() -> Path:
    # Not the system's temporary folder: that is often in memory.
    folder = cache_folder("spilled")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
