"""Clips -> features: how many frames a second do the backbones take, and how much of the machine do they use?"""

from collections.abc import Iterator

import torch
from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.core.features import Features
from fsar_cli.core.method import FewShotMethod
from fsar_cli.engine.bench.ceiling import flops_of
from fsar_cli.engine.bench.measurement import Measurement
from fsar_cli.engine.bench.plain_episodes import in_customary_layout
from fsar_cli.engine.bench.timing import in_turn
from fsar_cli.engine.bench.workbench import Workbench
from fsar_cli.engine.device import encoding_autocast, encoding_type, folded

NAMES = {"trx": "backbone (global features)", "keyregion": "global and key-region features"}
"""What is encoded, by a method that needs it."""


def encode(bench: Workbench) -> Iterator[Measurement]:
    """The bank's batches against single clips in float32."""
    for method, what in NAMES.items():
        config = bench.sizes.config(method)
        yield _compare(bench, bench.method(config).eval(), config, what)


def _compare(bench: Workbench, method: FewShotMethod, config: Config, what: str) -> Measurement:
    clip, sizes, features = config.clip, bench.sizes, method.features
    generator = torch.Generator().manual_seed(sizes.seed)
    batch = max(1, sizes.encoded_frames // clip.frames)
    shape = (batch, clip.frames, clip.size, clip.size, 3)
    ours = torch.rand(shape, generator=generator).to(bench.device).permute(0, 1, 4, 2, 3)  # as `to_float` leaves them
    single = ours[:1].contiguous()
    plain = in_customary_layout(features)
    with torch.inference_mode(), folded(method):
        found = in_turn(
            {"ours": lambda: _run(features, ours, bench, config), "plain": lambda: plain(single)},
            bench.device, sizes.repeats,
        )  # fmt: skip
    with torch.no_grad():
        flops = flops_of(lambda: features(ours[:1])) * batch
    seconds = found["ours"].median
    return Measurement(
        "encode", what, f"{sizes.backbone}, {clip.size} px, batches of {batch * clip.frames} frames", "frames/s",
        batch * clip.frames / seconds, clip.frames / found["plain"].median, "a clip at a time, float32",
        found["ours"].spread, bench.share(flops, seconds, encoding_type(bench.device, config.train.amp)),
        {"gflop_per_frame": flops / batch / clip.frames / 1e9, "flops_per_second": flops / seconds},
    )  # fmt: skip


def _run(features: Features, clips: Tensor, bench: Workbench, config: Config) -> None:
    with encoding_autocast(bench.device, config.train.amp):
        features(clips)
