"""Encode every video of a split once; thousands of episodes are then matched against the result."""

from dataclasses import dataclass

import torch

from fsar_cli.config import Config
from fsar_cli.core.build import normalizes
from fsar_cli.core.encoded import Encoded
from fsar_cli.core.methods.base import FewShotMethod
from fsar_cli.data.clips import ClipReader, EvaluationClips, clip_loader
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.device import autocast, loader_workers, place
from fsar_cli.engine.motion import RegionStatistics, region_statistics
from fsar_cli.reporting import SILENT, Reporter

# Frames a batch: enough to fill a GPU; a CPU is at its best with few.
FRAMES_PER_BATCH = {"cpu": 64, "cuda": 512}


@dataclass
class Bank:
    """The encoded videos of a split, in the order of `videos`."""

    videos: tuple[str, ...]
    encoded: Encoded
    """[V]; float32."""
    boxes: torch.Tensor | None
    """[V,T,4] key regions in [0,1] of the input crop, where the method selects any."""
    regions: RegionStatistics | None


@torch.inference_mode()
def encode_videos(
    method: FewShotMethod,
    reader: ClipReader,
    videos: tuple[str, ...],
    device: torch.device,
    config: Config,
    reporter: Reporter = SILENT,
) -> Bank:
    """Run `method.encode` in evaluation mode on the deterministic clip of each video.

    Args:
        videos: ids in the frame store.
        config: that of the method: normalisation, precision, memory layout and loader processes come from it.

    Raises:
        DataError: a video that cannot be read.
    """
    training = method.training
    settings, normalize = config.train, normalizes(config.model)
    place(method, device, settings.channels_last).eval()
    batch = max(1, FRAMES_PER_BATCH[device.type] // reader.clip.frames)
    workers = loader_workers(settings.workers, device)
    loader = clip_loader(EvaluationClips(reader, videos), batch, workers, device.type == "cuda")
    parts, boxes, statistics = [], [], []
    with reporter.track("encoding", len(videos), "videos") as task:
        for clips in loader:
            clips = clips.to(device, non_blocking=True)
            with autocast(device, settings.amp):
                encoded = method.encode(to_float(clips, normalize))
            if "boxes" in encoded:
                boxes.append(encoded["boxes"].float().cpu())
                statistics.append(region_statistics(clips, encoded["boxes"], encoded["saturated"]))
            kept = [name for name in encoded.tensors if name not in ("boxes", "saturated")]
            parts.append(encoded.only(kept).to(dtype=torch.float32))
            task.advance(len(clips))
    method.train(training)
    pooled = RegionStatistics.mean(statistics) if statistics else None
    return Bank(videos, Encoded.cat(parts), torch.cat(boxes) if boxes else None, pooled)
