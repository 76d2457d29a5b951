"""Key regions of one video: overlay MP4, contact sheet, heat maps before and after the relation, regions.json.

The video is cut into windows of equal length; each window is one clip of T frames for the network, as in training.
Between the sampled frames the box of the overlay moves in a straight line. Memory does not grow with the video.
"""

import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fsar_cli.config import Config
from fsar_cli.core.build import normalizes
from fsar_cli.core.features import KeyRegionFeatures
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.sampling import even_indices
from fsar_cli.data.transforms import centre_crop, to_float
from fsar_cli.data.video import VideoInfo, VideoWriter, frame_times, iter_frames, probe, read_frames
from fsar_cli.errors import DataError, UsageError
from fsar_cli.files import write_whole
from fsar_cli.render.figures import contact_sheet, heat_figure, save_png
from fsar_cli.render.overlay import draw_box, to_source
from fsar_cli.reporting import SILENT, Reporter

HEAT_NAMES = {"relation": ("before relation", "after relation"), "difference": ("global map", "map difference")}


@dataclass
class Window:
    """One clip of the video and what the method made of it."""

    indices: np.ndarray
    """int64 [T] frames of the video."""
    seconds: np.ndarray
    """float64 [T] since the first frame."""
    boxes: np.ndarray
    """float64 [T,4] key regions, xyxy in source pixels."""
    weights: np.ndarray | None
    """float32 [T,H,W] cell weights that chose the regions (after the relation module); None: a policy network did."""
    before: np.ndarray
    """float32 [T,H,W] channel mean of the global map (before it)."""
    saturated: np.ndarray
    """bool [T]: the centre was clamped."""


@dataclass
class Visualization:
    """Where the pictures are."""

    folder: Path
    overlay: Path
    sheets: list[Path]
    heats: list[Path]
    regions: Path
    windows: int


@torch.inference_mode()
def find_regions(
    method: FewShotMethod,
    config: Config,
    video: Path,
    info: VideoInfo,
    times: list[float],
    indices: np.ndarray,
    device: torch.device,
) -> tuple[Window, tuple[float, float, float, float]]:
    """Run the feature branch on the given frames.

    Returns:
        the window, and the network's input crop as xyxy in source pixels.
    """
    clip = config.clip
    frames = read_frames(video, indices, clip.short_side)  # [T,h,w,3]
    size = frames.shape[2], frames.shape[1]
    crop = centre_crop(*size, clip.size)
    batch = torch.from_numpy(crop.apply(frames)).unsqueeze(0).to(device)
    found = method.features(to_float(batch, normalizes(config.model)))
    rectangle = crop.in_source(size, (info.width, info.height))
    window = Window(
        indices, np.array([times[i] for i in indices]),
        to_source(found.regions.boxes[0].double().cpu().numpy(), rectangle),
        None if found.cells is None else found.cells[0].float().cpu().numpy(),
        found.mean_maps[0].float().cpu().numpy(),
        found.regions.saturated[0].cpu().numpy(),
    )  # fmt: skip
    return window, rectangle


def visualize(
    method: FewShotMethod,
    config: Config,
    video: Path,
    out: Path,
    device: torch.device,
    *,
    window: float = 10.0,
    sheets: int = 4,
    title: str = "",
    reporter: Reporter = SILENT,
) -> Visualization:
    """Write the pictures of `video` into `out`.

    Args:
        window: longest window in seconds.
        sheets: windows that get a contact sheet and heat maps, spread evenly over the video.

    Raises:
        UsageError: the method selects no regions.
        DataError: the video cannot be read.
    """
    if not isinstance(method.features, KeyRegionFeatures):
        raise UsageError(
            f"method '{config.model.method}' of this run selects no key regions",
            "train with --region",
        )
    if not window > 0:
        raise UsageError(f"--window must be longer than 0 seconds, not {window}")
    method.to(device).eval()
    info, times = probe(video), frame_times(video)
    if not times:
        raise DataError(f"{video}: no frame can be decoded")
    out.mkdir(parents=True, exist_ok=True)
    windows = []
    for start, count in _windows(times, window):
        indices = start + even_indices(count, config.clip.frames)
        found, rectangle = find_regions(method, config, video, info, times, indices, device)
        windows.append(found)
    names = HEAT_NAMES["difference" if config.model.region.selector == "adafocus" else config.model.region.source]
    files = _write_pictures(video, out, windows, rectangle, sheets, title, names)
    overlay = out / "overlay.mp4"
    _write_overlay(video, info, times, windows, overlay, reporter)
    regions = out / "regions.json"
    write_whole(regions, json.dumps(_document(video, info, config, windows, rectangle), indent=1))
    return Visualization(out, overlay, files["sheet"], files["heat"], regions, len(windows))


def _windows(times: list[float], longest: float) -> list[tuple[int, int]]:
    """(first frame, number of frames) of windows of about equal numbers of frames."""
    parts = min(len(times), max(1, math.ceil((times[-1] - times[0]) / longest)))
    edges = np.linspace(0, len(times), parts + 1).astype(int)
    return [(int(a), int(b - a)) for a, b in itertools.pairwise(edges)]


def _write_pictures(
    video: Path,
    out: Path,
    windows: list[Window],
    rectangle: tuple[float, ...],
    sheets: int,
    title: str,
    names: tuple[str, str],
) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {"sheet": [], "heat": []}
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(sheets, len(windows))).astype(int)) if sheets else []
    for number, position in enumerate(chosen, 1):
        found = windows[position]
        frames = list(read_frames(video, found.indices))
        suffix = "" if len(chosen) == 1 else f"-{number:02d}"
        sheet, heat = out / f"contact-sheet{suffix}.png", out / f"heat-maps{suffix}.png"
        save_png(contact_sheet(frames, found.boxes, found.seconds, title), sheet)
        save_png(
            heat_figure(frames, found.before, found.weights, rectangle, found.boxes, found.seconds, title, names), heat
        )
        files["sheet"].append(sheet)
        files["heat"].append(heat)
    return files


def _write_overlay(
    video: Path, info: VideoInfo, times: list[float], windows: list[Window], path: Path, reporter: Reporter
) -> None:
    known = np.concatenate([w.seconds for w in windows])
    boxes = np.concatenate([w.boxes for w in windows])
    order = np.unique(known, return_index=True)[1]  # short windows sample a frame more than once
    known, boxes = known[order], boxes[order]
    with (
        reporter.track("overlay", len(times), "frames") as task,
        VideoWriter(path, info.width, info.height, info.fps) as writer,
    ):
        for seconds, frame in iter_frames(video):
            box = np.array([np.interp(seconds, known, boxes[:, i]) for i in range(4)])
            writer.write(draw_box(frame, box), seconds)
            task.advance()


def _document(
    video: Path, info: VideoInfo, config: Config, windows: list[Window], rectangle: tuple[float, ...]
) -> dict[str, object]:
    return {
        "schema": 1,
        "video": str(video),
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
        "method": config.model.label,
        "input_crop": [round(v, 3) for v in rectangle],
        "units": {"seconds": "since the first frame", "box": "xyxy, source pixels", "weights": "map cells, row by row"},
        "windows": [[_frame(w, i) for i in range(len(w.indices))] for w in windows],
    }


def _frame(window: Window, i: int) -> dict[str, object]:
    weights = None if window.weights is None else np.round(window.weights[i].astype(float), 6).tolist()
    return {
        "frame": int(window.indices[i]),
        "seconds": round(float(window.seconds[i]), 6),
        "box": [round(float(v), 3) for v in window.boxes[i]],
        "saturated": bool(window.saturated[i]),
        "weights": weights,
    }
