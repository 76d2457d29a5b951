"""Clips one after the other as one long video, with the times at which each is shown: something to scan."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fsar_cli.data.video import VideoWriter, iter_frames, probe
from fsar_cli.files import write_rows

COLUMNS = ("video", "start", "end", "class")
FPS = 30.0


def join(clips: Sequence[tuple[Path, str]], out: Path, fps: float = FPS) -> list[tuple[float, float, str]]:
    """Write the frames of clips, one file after the other, as one video; the truth goes to a CSV of its name.

    Pictures get the size of the first clip's: scaled until they cover it, and cut in the middle. Frames keep the
    distances in time that they have in their own file.

    Args:
        clips: (file, class) each.

    Returns:
        (start, end, class) in seconds, in order.
    """
    info, times, at = probe(clips[0][0]), [], 0.0
    size = (info.width, info.height)
    with VideoWriter(out, *size, fps) as writer:
        for path, cls in clips:
            begun, seconds = at, 0.0
            for seconds, frame in iter_frames(path):
                writer.write(_covering(frame, size), begun + seconds)
            at = begun + seconds + 1 / fps
            times.append((begun, at, cls))
    rows = ([str(out.resolve()), f"{start:.3f}", f"{end:.3f}", cls] for start, end, cls in times)
    write_rows(out.with_suffix(".csv"), COLUMNS, rows)
    return times


def _covering(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = frame.shape[:2]
    if (width, height) == size:
        return frame
    scale = max(size[0] / width, size[1] / height)
    scaled = max(size[0], round(width * scale)), max(size[1], round(height * scale))
    x, y = (scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2
    picture = Image.fromarray(frame).resize(scaled, Image.Resampling.BICUBIC)
    return np.asarray(picture.crop((x, y, x + size[0], y + size[1])))
