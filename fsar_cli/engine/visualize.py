"""Key regions of one video: overlay MP4, contact sheet, heat maps before and after the relation, regions.json.

The video is cut into windows of equal length; each window is one clip of T frames for the network, as in training.
Between the sampled frames the box of the overlay moves in a straight line.

However many windows there are, `visualize` opens the file three times: for its header and first frame; to decode it in
order, taking the sampled frames as they come; and to decode it once more, drawing. (Boxes are needed before they can be
drawn, and memory, which does not grow with the video, does not hold its frames.) Windows are laid out by the header;
where its count or rate is wrong, the second reading is repeated with the windows that it showed to be right.
"""

import itertools
import json
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fsar_cli.config import Config
from fsar_cli.core.build import normalization
from fsar_cli.core.features import KeyRegionFeatures
from fsar_cli.core.layers.basics import middle_frames
from fsar_cli.core.method import BOXES, MAPS, Encoded, FewShotMethod
from fsar_cli.data.sampling import even_indices
from fsar_cli.data.transforms import centre_crop, to_float
from fsar_cli.data.video import VideoInfo, VideoWriter, iter_frames, probe
from fsar_cli.engine.bank import CHECK_WEIGHTS
from fsar_cli.engine.outputs import remove_others
from fsar_cli.errors import DataError, UsageError
from fsar_cli.files import write_whole
from fsar_cli.render.figures import contact_sheet, heat_figure, save_png
from fsar_cli.render.overlay import draw_box, to_source
from fsar_cli.reporting import SILENT, Reporter

PAGES = "contact-sheet", "heat-maps"
HEAT_NAMES = {"relation": ("before relation", "after relation"), "difference": ("global map", "map difference")}
LONGEST_HEADER = 1_000_000
"""Frames that a header may promise and be believed: nine hours at 30 a second."""


@dataclass
class RegionWindow:
    """One clip of the video and the key regions in it."""

    indices: np.ndarray
    """int64 [T] frames of the video."""
    seconds: np.ndarray
    """float64 [T] since the first frame."""
    crop: tuple[float, float, float, float]
    """The network's input, xyxy in source pixels; the same for all windows."""
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
    """Write the pictures of `video` into `out`, in place of those of an earlier call.

    Args:
        window: longest window in seconds; with `clip.rate` it is as long as a clip.
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
    if config.clip.rate is not None:
        window = config.clip.frames / config.clip.rate
    info, look = probe(video), partial(find_regions, method.to(device).eval(), config, device)
    windows, count = _read(video, info, config, window, look)
    out.mkdir(parents=True, exist_ok=True)
    # regions.json is the last to be written: where it is, all is.
    remove_others(out, set(), "regions.json", "overlay.mp4", *(f"{n}{e}.png" for n in PAGES for e in ("", "-*[0-9]")))
    pages = _pages(out, windows, sheets)
    names = HEAT_NAMES["difference" if config.model.region.selector == "adafocus" else config.model.region.source]
    overlay, regions = out / "overlay.mp4", out / "regions.json"
    with (
        reporter.track("overlay", count, "frames") as task,
        VideoWriter(overlay, info.width, info.height, info.fps) as writer,
    ):
        for seconds, frame in _drawn(video, windows, pages, title, names):
            writer.write(frame, seconds)
            task.advance()
    write_whole(regions, json.dumps(_document(video, info, config, windows), indent=1, allow_nan=False))
    return Visualization(out, overlay, [p.sheet for p in pages], [p.heat for p in pages], regions, len(windows))


@torch.inference_mode()
def find_regions(
    method: FewShotMethod,
    config: Config,
    device: torch.device,
    info: VideoInfo,
    frames: np.ndarray,
    indices: np.ndarray,
    seconds: np.ndarray,
) -> RegionWindow:
    """Run the feature branch on one clip: uint8 RGB [T,h,w,3], brought to the clip's short side."""
    size = frames.shape[2], frames.shape[1]
    crop = centre_crop(*size, config.clip.size)
    rectangle = crop.in_source(size, (info.width, info.height))
    batch = torch.from_numpy(crop.apply(frames)).unsqueeze(0).to(device)
    features = method.features(to_float(batch, normalization(config.model)))
    if not Encoded({MAPS: features.maps, BOXES: features.regions.boxes}).finite:
        raise DataError("the backbone's maps are NaN or infinite: there are no regions to draw", CHECK_WEIGHTS)
    middle = middle_frames(len(indices), features.maps.shape[1])  # that show the steps
    return RegionWindow(
        indices[middle], seconds[middle], rectangle,
        to_source(features.regions.boxes[0].double().cpu().numpy(), rectangle),
        None if features.cells is None else features.cells[0].float().cpu().numpy(),
        features.mean_maps[0].float().cpu().numpy(),
        features.regions.saturated[0].cpu().numpy(),
    )  # fmt: skip


def _read(
    video: Path, info: VideoInfo, config: Config, longest: float, look: Callable[..., RegionWindow]
) -> tuple[list[RegionWindow], int]:
    """The windows of a video and the number of its frames."""
    promised = info.frames or round((info.duration or 0) * info.fps)
    layout = _layout([i / info.fps for i in range(promised)], longest) if promised <= LONGEST_HEADER else []
    windows, times = _watch(video, info, config, layout, look)
    if (right := _layout(times, longest)) != layout:
        windows, _ = _watch(video, info, config, right, look)
    return windows, len(times)


def _layout(times: list[float], longest: float) -> list[tuple[int, int]]:
    """(first frame, number of frames) of windows of about equal numbers of frames."""
    if not times:
        return []
    parts = min(len(times), max(1, math.ceil((times[-1] - times[0]) / longest)))
    edges = np.linspace(0, len(times), parts + 1).astype(int)
    return [(int(a), int(b - a)) for a, b in itertools.pairwise(edges)]


def _watch(
    video: Path, info: VideoInfo, config: Config, layout: list[tuple[int, int]], look: Callable[..., RegionWindow]
) -> tuple[list[RegionWindow], list[float]]:
    """Decode the video once: the windows of a layout, as far as there are frames for them, and all frames' times."""
    clips = [start + even_indices(count, config.clip.frames) for start, count in layout]
    wanted = set(itertools.chain.from_iterable(indices.tolist() for indices in clips))
    times: list[float] = []

    def keep(index: int, seconds: float) -> bool:
        times.append(seconds)
        return index in wanted

    pictures, windows = iter_frames(video, config.clip.short_side, keep), []
    for indices in clips:
        distinct, place = np.unique(indices, return_inverse=True)  # short windows sample a frame more than once
        frames = [picture for _, picture in itertools.islice(pictures, len(distinct))]
        if len(frames) == len(distinct):
            windows.append(look(info, np.stack(frames)[place], indices, np.array([times[i] for i in indices])))
    deque(pictures, maxlen=0)  # the times of the frames behind the last of a window
    return windows, times


@dataclass(frozen=True)
class _Page:
    """A window that is drawn frame by frame, and the files for that."""

    window: RegionWindow
    sheet: Path
    heat: Path


def _pages(out: Path, windows: list[RegionWindow], sheets: int) -> list[_Page]:
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(sheets, len(windows))).astype(int)) if sheets else []
    endings = [""] if len(chosen) == 1 else [f"-{number:02d}" for number in range(1, len(chosen) + 1)]
    return [
        _Page(windows[position], *(out / f"{name}{ending}.png" for name in PAGES))
        for position, ending in zip(chosen, endings, strict=True)
    ]


def _drawn(
    video: Path, windows: list[RegionWindow], pages: list[_Page], title: str, names: tuple[str, str]
) -> Iterator[tuple[float, np.ndarray]]:
    """Decode the video once more: (seconds, frame with its box); each page is written when its last frame has come."""
    seconds, first = np.unique(np.concatenate([w.seconds for w in windows]), return_index=True)
    boxes = np.concatenate([w.boxes for w in windows])[first]
    waiting, pictures = deque(pages), {}
    for index, (now, frame) in enumerate(iter_frames(video)):
        if waiting and index in waiting[0].window.indices:
            pictures[index] = frame
            if index == waiting[0].window.indices[-1]:
                _write_page(waiting.popleft(), pictures, title, names)
                pictures.clear()
        yield now, draw_box(frame, np.array([np.interp(now, seconds, boxes[:, i]) for i in range(4)]))


def _write_page(page: _Page, pictures: dict[int, np.ndarray], title: str, names: tuple[str, str]) -> None:
    w = page.window
    frames = [pictures[index] for index in w.indices.tolist()]
    save_png(contact_sheet(frames, w.boxes, w.seconds, title), page.sheet)
    save_png(heat_figure(frames, w.before, w.weights, w.crop, w.boxes, w.seconds, title, names), page.heat)


def source_of(video: Path) -> dict[str, object]:
    """What pictures are made from, as regions.json has it."""
    return {"video": str(video.resolve())}


def _document(video: Path, info: VideoInfo, config: Config, windows: list[RegionWindow]) -> dict[str, object]:
    return {
        "schema": 1,
        **source_of(video),
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
        "method": config.model.label,
        "input_crop": [round(v, 3) for v in windows[0].crop],
        "units": {"seconds": "since the first frame", "box": "xyxy, source pixels", "weights": "map cells, row by row"},
        "windows": [[_frame(w, i) for i in range(len(w.indices))] for w in windows],
    }


def _frame(window: RegionWindow, i: int) -> dict[str, object]:
    weights = None if window.weights is None else np.round(window.weights[i].astype(float), 6).tolist()
    return {
        "frame": int(window.indices[i]),
        "seconds": round(float(window.seconds[i]), 6),
        "box": [round(float(v), 3) for v in window.boxes[i]],
        "saturated": bool(window.saturated[i]),
        "weights": weights,
    }
