"""What is wrong with a clip by itself: unreadable, too short, black, blank or frozen, by the pixels the method sees.

Thresholds are in grey levels of 255, and far from what cameras give. Of 172 rendered and real clips with a fixed camera
the least active changed 0.2 % of its pixels between sampled frames, the darkest had a mean of 44.
"""

import numpy as np

from fsar_cli.errors import DataError
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.tools.support.flags import BLACK, BLANK
from fsar_cli.tools.support.pool import Pool

DARK = 24.0
"""A frame is black where 99 of 100 pixels lie below."""
UNIFORM = 2.0
"""A frame is blank where its standard deviation lies below."""
CHANGE = 10.0
"""A pixel has changed where it differs by more: coding noise does not."""
STILL = 2e-4
"""A clip is frozen where a smaller share of pixels changes between any two neighbouring sampled frames."""
SHARE = 0.5
"""Black or blank frames that make a clip worth a word."""


def picture_faults(frames: np.ndarray) -> list[tuple[str, str]]:
    """(kind, detail) of the faults of sampled frames uint8 RGB [T,h,w,3]."""
    grey = frames @ np.array([0.299, 0.587, 0.114], np.float32)  # [T,h,w]
    black = np.quantile(grey, 0.99, axis=(1, 2)) < DARK
    blank = (grey.std(axis=(1, 2)) < UNIFORM) & ~black
    found = [
        (kind, f"{int(which.sum())} of {len(frames)} sampled frames")
        for kind, which in ((BLACK, black), (BLANK, blank))
        if which.mean() >= SHARE
    ]
    changed = (np.abs(np.diff(grey, axis=0)) > CHANGE).mean(axis=(1, 2))
    if not found and len(changed) and changed.max() < STILL:
        found.append(("frozen", f"nothing moves in {len(frames)} sampled frames"))
    return found


def look(pool: Pool, reporter: Reporter = SILENT) -> tuple[Pool, dict[str, list[tuple[str, str]]]]:
    """The pool without clips that cannot be read, and {video: [(kind, detail)]} of the others with faults.

    Raises:
        DataError: fewer than two classes are left.
    """
    reader, reasons, found = pool.reader, {}, {}
    with reporter.track("looking at clips", len(pool.videos), "clips") as task:
        for video in pool.videos:
            try:
                faults = picture_faults(reader.evaluation(video))
            except DataError as error:
                reasons[video] = error.message
            else:
                frames, wanted = reader.store.count(video), reader.clip.frames
                if frames < wanted:
                    faults.insert(0, ("too short", f"{frames} frames, {wanted} are sampled: some repeat"))
                if faults:
                    found[video] = faults
            task.advance()
    return pool.without(reasons) if reasons else pool, found
