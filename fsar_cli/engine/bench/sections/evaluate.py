"""10,000 test episodes: how long do they take, with the videos still to be encoded, and from the cache of features?"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.engine.bank import Bank, encode_videos
from fsar_cli.engine.bench.measurement import Measurement
from fsar_cli.engine.bench.plain import plain_scores
from fsar_cli.engine.bench.plain_episodes import EpisodeClips, encode_plainly, in_customary_layout, plain_loader
from fsar_cli.engine.bench.timing import Timing, once
from fsar_cli.engine.bench.workbench import Workbench
from fsar_cli.engine.device import loader_workers
from fsar_cli.engine.evaluate import evaluate_bank


@dataclass
class Shared:
    """What methods with the same features share, measured once: encoding all test videos, and encoding an episode."""

    measured_with: str
    """The method."""
    share: float
    """Of the test videos that were encoded; the others show the same, and `seconds` is scaled."""
    seconds: float
    """Encoding the test videos once."""
    episodes: list[tuple[Tensor, Tensor]]
    """Frame features of the reference's episodes: support [N,K,T,D], query [N,T,D]."""
    plain_seconds: Timing
    """Reading and encoding an episode's videos, by episode."""


def evaluate(bench: Workbench) -> Iterator[Measurement]:
    """Encode once and match in batches, against reading and encoding the videos of every episode anew."""
    sampler, known = bench.sampler(bench.test_set.splits), {}
    # The method with features of its own comes last: where time is short, it encodes a share of the videos.
    for name in sorted(bench.sizes.methods, key="keyregion".__eq__):
        config = bench.sizes.config(name)
        method = bench.method(config).eval()
        kind = type(method.features).__name__
        if kind not in known:
            known[kind] = _share(bench, method, config, sampler, first=not known)
        yield from _compare(bench, method, config, sampler, known[kind])


def _share(bench: Workbench, method: FewShotMethod, config: Config, sampler: EpisodeSampler, first: bool) -> Shared:
    sizes, held = bench.sizes, []
    count = sizes.videos if first else sizes.distinct
    seconds = once(lambda: held.append(_encode(bench, method, config, sampler.videos[:count])), bench.device)
    held.clear()
    episodes = sizes.reference_episodes if first else sizes.reference_others
    clips = EpisodeClips(ClipReader(bench.test_set.store, config.clip), sampler, normalize=True)
    loader = plain_loader(clips, episodes, loader_workers(None, bench.device), bench.device.type == "cuda")
    found, times = [], []
    stream = encode_plainly(in_customary_layout(method.features), loader, bench.device)
    with bench.reporter.track(f"{config.model.method}: encoding episode by episode", episodes, "episodes") as task:
        for _ in range(episodes):
            times.append(once(lambda: found.append(next(stream)), bench.device))
            task.advance()
    share = count / sizes.videos
    return Shared(config.model.method, share, seconds / share, found, Timing(tuple(times)))


def _encode(bench: Workbench, method: FewShotMethod, config: Config, videos: tuple[str, ...]) -> Bank:
    reader = ClipReader(bench.test_set.store, config.clip)
    return encode_videos(method, reader, videos, bench.device, config, bench.reporter, bench.cache)


def _compare(
    bench: Workbench, method: FewShotMethod, config: Config, sampler: EpisodeSampler, shared: Shared
) -> Iterator[Measurement]:
    sizes, name = bench.sizes, config.model.method
    count, held = round(shared.share * sizes.videos), []
    reading = once(lambda: held.append(_encode(bench, method, config, sampler.videos[:count])), bench.device)
    bank = whole_bank(held.pop(), sampler.videos)
    matching = once(
        lambda: evaluate_bank(method, bank, sampler, sizes.episodes, device=bench.device, reporter=bench.reporter),
        bench.device,
    )
    difference = largest_difference(method, bank, sampler, shared.episodes)
    plain_match = _plain_matching(bench, method, shared)
    # The mean, not the median: all episodes together are what it is to be compared with.
    encoding = sum(shared.plain_seconds.seconds) / len(shared.episodes)
    plain = sizes.episodes * (encoding + plain_match)
    warm = reading / shared.share + matching
    details = {
        "encode_seconds": shared.seconds, "features_encoded_with": shared.measured_with,
        "share_of_videos_encoded": shared.share, "read_seconds": reading / shared.share, "match_seconds": matching,
        "plain_encode_seconds_per_episode": encoding, "plain_match_seconds_per_episode": plain_match,
        "plain_episodes_measured": len(shared.episodes), "plain_spread": shared.plain_seconds.spread,
        "largest_relative_difference": difference,
    }  # fmt: skip
    videos = f"{sizes.videos} videos" + (f" ({count} encoded, the others show the same)" if shared.share < 1 else "")
    text = f"{sizes.backbone}, {sizes.side} px, {videos}, {sizes.way}-way {sizes.shot}-shot"
    against = f"every episode encoded anew, float32 (extrapolated from {len(shared.episodes)})"
    for how, seconds in {"cold": shared.seconds + matching, "warm": warm}.items():
        what = f"{name}, {sizes.episodes:,} episodes, {how}"
        yield Measurement("evaluate", what, text, "s", seconds, plain, against, details=details)


def whole_bank(bank: Bank, videos: tuple[str, ...]) -> Bank:
    """A bank of all videos from one of the first of them, whose pictures the others repeat in turn."""
    if len(bank.videos) == len(videos):
        return bank
    index = torch.arange(len(videos), device=bank.device) % len(bank.videos)
    return Bank(videos, bank.encoded.take(index), None, None)


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


@torch.inference_mode()
def _plain_matching(bench: Workbench, method: FewShotMethod, shared: Shared) -> float:
    """Seconds an episode, mean over those of the reference."""
    total = once(lambda: [plain_scores(method, *frames) for frames in shared.episodes], bench.device)
    return total / len(shared.episodes)
