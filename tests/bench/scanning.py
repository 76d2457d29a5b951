"""Scanning a video: seconds of video a second, beside a scan that decodes and encodes every window anew."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.report import Measurement
from bench.timing import in_turn
from bench.workbench import Workbench
from fsar_cli.data.video import VideoWriter, iter_frames
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.windows import Window, WindowFrame, WindowGrid, windows_of_file
from fsar_cli.settings import resolve

NETWORKS = {"mobilenet_v2": 0.2, "s3d": 1.0, "i3d": 1.0}
"""Networks, and seconds from window to window."""
WIDTH, HEIGHT, FPS, WINDOW = 640, 360, 25.0, 3.0


def scan(bench: Workbench) -> Iterator[Measurement]:
    """Windows of a video of 640 x 360 at 25 frames/s to features, against every window decoded and encoded anew."""
    quick = bench.sizes.side < 224
    video = bench.folder / "scan.mp4"
    write_noise(video, 5.0 if quick else 20.0)
    for name, stride in list(NETWORKS.items())[: 1 if quick else None]:
        encoder, grid = _encoder(bench, name, stride)
        clip = encoder.config.clip
        seconds = _seconds(video)

        def ours(encoder=encoder, grid=grid, clip=clip) -> None:
            for window in windows_of_file(video, grid, clip):
                encoder.describe([window])

        def theirs(encoder=encoder, grid=grid, clip=clip) -> None:
            for window in windows_of_file(video, grid, clip):
                again = _anew(video, window, clip)
                encoder.describe([again])

        timing = in_turn({"ours": ours, "theirs": theirs}, bench.device, bench.sizes.repeats)
        share = _decoding(video, grid, clip) / timing["ours"].median
        yield Measurement(
            "scan", f"{name}, {1 / grid.stride:g} windows/s",
            f"{clip.frames} frames of {clip.size} px in {grid.window:.1f} s; decoding takes {100 * share:.0f} %",
            "seconds of video/s", seconds / timing["ours"].median, seconds / timing["theirs"].median,
            "every window decoded and encoded anew", timing["ours"].spread, {"decoding": share},
        )  # fmt: skip


def write_noise(path: Path, seconds: float) -> None:
    """A video of moving noise, which costs a decoder what a busy scene does."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with VideoWriter(path, WIDTH, HEIGHT, FPS) as writer:
        for number in range(round(seconds * FPS)):
            writer.write(np.roll(picture, (number, 2 * number), (0, 1)))


def _encoder(bench: Workbench, name: str, stride: float) -> tuple[Encoder, WindowGrid]:
    values = {"model.method": "prototype", "model.backbone": name, "model.weights": "none"}
    config = resolve(flags=values, environ={}).config
    return Encoder(bench.method(config), config, bench.device), WindowGrid.laid(WINDOW, stride, config.clip.frames)


def _seconds(video: Path) -> float:
    return [seconds for seconds, _ in iter_frames(video, 32)][-1] + 1 / FPS


def _anew(video: Path, window: Window, clip) -> Window:
    """The window with frames of its own, decoded for it alone."""
    wanted = {frame.seconds for frame in window.frames}
    stretch = {"start": max(0.0, min(wanted) - 1e-6), "end": max(wanted) + 1e-6}
    pictures = dict(iter_frames(video, clip.short_side, lambda _, seconds: seconds in wanted, **stretch))
    assert pictures.keys() == wanted
    frames = {seconds: WindowFrame(seconds, window.frames[0].picture) for seconds in pictures}
    return Window(tuple(frames[frame.seconds] for frame in window.frames), window.start, window.end, window.input_crop)


def _decoding(video: Path, grid: WindowGrid, clip) -> float:
    """Seconds that decoding, converting and laying windows takes."""
    started = time.perf_counter()
    for _ in windows_of_file(video, grid, clip):
        pass
    return time.perf_counter() - started
