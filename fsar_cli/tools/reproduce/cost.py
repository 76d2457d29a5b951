"""What a backbone costs: multiply-adds of a clip, counted without computing it, and clips a second, measured here.

The rate is always a short measurement of its own, so it is there whether features were encoded now or found, and all
backbones are measured alike: clips in memory, in batches as `engine.bank` encodes them. It is kept (`work`), so a table
that is made again says the same.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from fsar_cli.config import Config
from fsar_cli.core.backbones.backbone import Backbone
from fsar_cli.core.build import normalization
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.bank import FRAMES_PER_BATCH
from fsar_cli.engine.device import encoding_autocast, encoding_type, folded, place

BATCHES, SECONDS = 3, 1.0
"""At least so many are timed, and for so long."""
FILE = "cost.json"


@dataclass(frozen=True)
class Cost:
    """Of a backbone on the clips of a configuration."""

    multiply_adds: int
    """Of one clip: half of what convolutions and products of matrices count as operations."""
    clips_per_second: float
    device: str
    """That was measured on, in words."""
    precision: str
    """What was computed in."""


def multiply_adds(backbone: Backbone, frames: int, side: int) -> int:
    """Of one clip of `frames` frames of `side` x `side` pixels. Raises UsageError: the network does not take them."""
    with FlopCounterMode(display=False) as counter:
        backbone.shape(frames, side)
    return counter.get_total_flops() // 2


@torch.inference_mode()
def clips_per_second(method: FewShotMethod, config: Config, device: torch.device) -> float:
    """What the backbones of a method encode, in the fastest of a few batches; the method is left in evaluation mode."""
    place(method, device, config.train.channels_last).eval()
    frames, side, normal = config.clip.frames, config.clip.size, normalization(config.model)
    batch, seconds = max(1, FRAMES_PER_BATCH[device.type] // frames), []
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (batch, frames, side, side, 3), dtype=torch.uint8, generator=generator).to(device)
    with folded(method):
        while len(seconds) <= BATCHES or sum(seconds[1:]) < SECONDS:  # the first warms up
            start = time.perf_counter()
            with encoding_autocast(device, config):
                method.describe(to_float(pixels, normal))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - start)
    return batch / min(seconds[1:])


def measure(method: FewShotMethod, config: Config, device: torch.device) -> Cost:
    """The cost of a method's backbone. Raises UsageError: it does not take the clips."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    counted = multiply_adds(next(iter(method.features.backbones())), config.clip.frames, config.clip.size)
    precision = str(encoding_type(device, config)).removeprefix("torch.")
    return Cost(counted, clips_per_second(method, config, device), where, precision)


def write_cost(folder: Path, cost: Cost) -> None:
    """Keep it in a folder."""
    (folder / FILE).write_text(json.dumps(asdict(cost)), encoding="utf-8")


def read_cost(folder: Path) -> Cost:
    """As it was kept."""
    return Cost(**json.loads((folder / FILE).read_text(encoding="utf-8")))
