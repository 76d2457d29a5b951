"""Video files -> frame store: how many frames a second?"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fsar_cli.config import ExtractConfig
from fsar_cli.data.store.extraction import extract as extract_frames
from fsar_cli.data.store.sources import find_videos
from fsar_cli.engine.bench.measurement import Measurement
from fsar_cli.engine.bench.plain_frames import extract_plainly
from fsar_cli.engine.bench.timing import in_turn
from fsar_cli.engine.bench.workbench import Workbench
from fsar_cli.files import cores
from fsar_cli.tools.demo.scenes.actions import CLASSES
from fsar_cli.tools.demo.scenes.dataset import render_set

DISTINCT, SHORT_SIDE, MAX_WORKERS = 8, 256, 8


def extract(bench: Workbench) -> Iterator[Measurement]:
    """Decode, scale and store video files with all cores, against one process that uses Pillow."""
    root = bench.scratch("rendered")
    videos = copied_videos(root, bench.sizes.extracted, bench.sizes.seed)
    settings, workers = ExtractConfig(short_side=SHORT_SIDE), cores(MAX_WORKERS)
    counts = {}

    def ours() -> None:
        out = bench.folder / "extracted"
        shutil.rmtree(out, ignore_errors=True)
        counts["ours"] = extract_frames(find_videos([root / "videos"]).sources, out, settings, workers).frames

    def plain() -> None:
        counts["plain"] = extract_plainly(videos, bench.scratch("extracted-plainly"), SHORT_SIDE, settings.quality)

    found = in_turn(
        {"ours": ours, "plain": plain}, bench.device, replace(bench.sizes.repeats, least=2, most=3, warmup=0)
    )
    yield Measurement(
        "extract", "video files to JPEG frames", f"{len(videos)} videos of 320 x 240, short side {SHORT_SIDE}",
        "frames/s", counts["ours"] / found["ours"].median, counts["plain"] / found["plain"].median,
        "one process, full RGB frames, scaled and saved by Pillow", found["ours"].spread,
        details={"workers": workers, "frames": counts["ours"]},
    )  # fmt: skip


def copied_videos(root: Path, count: int, seed: int) -> list[Path]:
    """`count` files ROOT/videos/class/video, copies of a few rendered ones: to a decoder each is another file."""
    names = sorted(CLASSES)[:DISTINCT]
    originals = render_set(root, {name: 1 for name in names}, seed=seed)
    found = list(originals[:count])
    for number in range(len(originals), count):
        source = originals[number % len(originals)]
        found.append(source.with_stem(f"{source.stem}_{number}"))
        shutil.copyfile(source, found[-1])
    for unused in originals[count:]:
        unused.unlink()
    return found
