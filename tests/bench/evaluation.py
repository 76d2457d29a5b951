"""10,000 test episodes: how long do they take, and how does that grow with episodes and with test videos?"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from oracles.episodes import EpisodeClips, encode_plainly, in_customary_layout, plain_loader
from oracles.matching import plain_scores
from torch import Tensor

from bench.report import Measurement
from bench.timing import once, peak_memory
from bench.workbench import Workbench
from fsar_cli.config import Config
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.engine.bank import Bank, encode_videos
from fsar_cli.engine.device import loader_workers
from fsar_cli.engine.evaluate import evaluate_bank
from fsar_cli.files import Cache

MIB = 2**20
SMALL = {"clip.size": 64, "model.backbone": "resnet18"}
"""What the growth is measured on."""
WARMUP = 20
"""Episodes matched before the clock starts."""
ROUNDS = 2
"""Of all sizes, so that a moment in which the machine was busy does not bend the line."""


@dataclass
class EncodingTimes:
    """What methods with the same features share, measured once, with one of them."""

    method: str
    seconds: float
    """Encoding all test videos once."""
    episodes: list[tuple[Tensor, Tensor]]
    """Frame features of the reference's episodes: support [N,K,T,D], query [N,T,D]."""
    plain: float
    """Reading and encoding the videos of an episode anew; the mean, as all episodes together are compared."""


def evaluate(bench: Workbench) -> Iterator[Measurement]:
    """Encode once and match in batches, against reading and encoding the videos of every episode anew."""
    sampler, times = bench.sampler(bench.test_set.splits), {}
    for name in bench.sizes.methods:
        config = bench.sizes.config(name)
        method = bench.method(config).eval()
        kind = type(method.features).__name__
        if kind not in times:
            times[kind] = _encoding_times(bench, method, config, sampler)
        yield from _compare(bench, method, config, sampler, times[kind])


def _encoding_times(bench: Workbench, method: FewShotMethod, config: Config, sampler: EpisodeSampler) -> EncodingTimes:
    seconds = once(lambda: _encode(bench, method, config, sampler), bench.device)
    count, pin = bench.sizes.reference_episodes, bench.device.type == "cuda"
    clips = EpisodeClips(ClipReader(bench.test_set.store, config.clip), sampler, normalize=True)
    loader = plain_loader(clips, count, loader_workers(None, bench.device), pin)
    stream = encode_plainly(in_customary_layout(method.features), loader, bench.device)
    episodes = []
    bench.reporter.log(f"  {config.model.method}: {count} episodes encoded anew")
    plain = once(lambda: episodes.extend(stream), bench.device) / count
    return EncodingTimes(config.model.method, seconds, episodes, plain)


def _encode(bench: Workbench, method: FewShotMethod, config: Config, sampler: EpisodeSampler) -> Bank:
    reader = ClipReader(bench.test_set.store, config.clip)
    return encode_videos(
        method, reader, sampler.videos, bench.device, config, bench.reporter, Cache(bench.folder / "features")
    )


def _compare(
    bench: Workbench, method: FewShotMethod, config: Config, sampler: EpisodeSampler, encoding: EncodingTimes
) -> Iterator[Measurement]:
    sizes, device, banks, count = bench.sizes, bench.device, [], len(encoding.episodes)
    reading = once(lambda: banks.append(_encode(bench, method, config, sampler)), device)
    match = partial(evaluate_bank, method, banks[0], sampler, sizes.episodes, device=device, reporter=bench.reporter)
    matching = once(match, device)
    with torch.inference_mode():
        plain_match = once(lambda: [plain_scores(method, *e) for e in encoding.episodes], device) / count
    details = {
        "encode_seconds": encoding.seconds, "features_encoded_with": encoding.method, "read_seconds": reading,
        "match_seconds": matching, "plain_encode_seconds_per_episode": encoding.plain,
        "plain_match_seconds_per_episode": plain_match, "plain_episodes_measured": count,
        "largest_relative_difference": largest_difference(method, banks[0], sampler, encoding.episodes),
    }  # fmt: skip
    text = f"{sizes.backbone}, {sizes.side} px, {sizes.videos} videos, {sizes.way}-way {sizes.shot}-shot"
    against = f"every episode encoded anew, float32 (extrapolated from {count})"
    for how, seconds in {"cold": encoding.seconds + matching, "warm": reading + matching}.items():
        yield Measurement(
            "evaluate", f"{config.model.method}, {sizes.episodes:,} episodes, {how}", text, "s", seconds,
            sizes.episodes * (encoding.plain + plain_match), against, details=details,
        )  # fmt: skip


@torch.inference_mode()
def largest_difference(
    method: FewShotMethod, bank: Bank, sampler: EpisodeSampler, episodes: list[tuple[Tensor, Tensor]]
) -> float:
    """Of our scores and the plain ones on the first episodes, relative to the largest score."""
    drawn = sampler.batch(0, len(episodes))
    ours = method.match(
        bank.encoded.take(torch.from_numpy(drawn.support).to(bank.device)),
        bank.encoded.take(torch.from_numpy(drawn.query).flatten(1).to(bank.device)),
    ).logits
    plain = torch.cat([plain_scores(method, *frames).logits for frames in episodes]).to(ours.device)
    return float((ours - plain).abs().max() / plain.abs().max())


def scaling(bench: Workbench) -> Iterator[Measurement]:
    """Three numbers of episodes and three of videos, on a small network: what grows is what follows it, too."""
    sizes = bench.sizes
    config = sizes.config("trx", **SMALL)
    method = bench.method(config).eval()
    most = max(sizes.scaling_videos)
    made = bench.make_set("scaling", {"test": (sizes.classes, most)}, config.clip.short_side)
    reader, sampler = ClipReader(made.store, config.clip), bench.sampler(made.splits)
    text = f"trx, {SMALL['model.backbone']}, {SMALL['clip.size']} px"

    def encode(videos: int) -> Bank:
        return encode_videos(method, reader, sampler.videos[:videos], bench.device, config)

    encode(min(sizes.scaling_videos) // 4 or 1)
    yield growth("test videos encoded", text, measured(bench, encode, sizes.scaling_videos))
    match = partial(evaluate_bank, method, encode(most), sampler)
    match(WARMUP)
    text = f"{text}, {most} videos, {sizes.way}-way {sizes.shot}-shot"
    yield growth("episodes matched", text, measured(bench, match, sizes.scaling_episodes))
    first, *_, last = sizes.scaling_episodes
    few, many = (peak_memory(partial(match, episodes), bench.device) for episodes in (first, last))
    if few and many:
        yield Measurement(
            "scaling", "peak memory, most episodes", text, "MiB", many / MIB, few / MIB,
            f"{first:,} episodes instead of {last:,}",
        )  # fmt: skip


def measured(bench: Workbench, work: Callable[[int], object], sizes: tuple[int, ...]) -> dict[int, float]:
    """By size the seconds of work, the least of some rounds."""
    rounds = [{size: once(partial(work, size), bench.device) for size in sizes} for _ in range(ROUNDS)]
    return {size: min(seconds[size] for seconds in rounds) for size in sizes}


def slope(seconds: Mapping[int, float]) -> float:
    """Exponent p of seconds ~ size^p, by least squares on the logarithms; 1 is linear."""
    return float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])


def growth(what: str, text: str, seconds: Mapping[int, float]) -> Measurement:
    """The largest size against the smallest, multiplied as the size is."""
    exponent, (first, *_, last) = slope(seconds), seconds
    return Measurement(
        "scaling", f"{last:,} {what} (growth ~ n^{exponent:.2f})", text, "s", seconds[last],
        seconds[first] * last / first, f"{first:,}, times {last / first:.0f}",
        details={"sizes": list(seconds), "seconds": list(seconds.values()), "exponent": exponent},
    )  # fmt: skip
