"""One video -> a folder of JPEG frames: the work of an extraction's worker process."""

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fsar_cli.data.store.frames import SECONDS, Record, Settings, frame_name
from fsar_cli.data.store.sources import Source
from fsar_cli.data.store.thinning import Thinning
from fsar_cli.data.video import iter_frames, printable, probe
from fsar_cli.errors import DataError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Job:
    """One video, where its frames go, and how."""

    source: Source
    folder: Path
    settings: Settings


def store_video(job: Job) -> Record | str | OSError:
    """Decode one video into `job.folder`.

    Returns:
        The manifest's row; or the reason why the video cannot be read; or the error of a disk that takes no more.
    """
    try:
        return _store(job)
    except DataError as error:
        return error.message.removeprefix(f"{printable(job.source.path)}: ")
    except OSError as error:
        return error if error.errno in FULL else f"its frames cannot be written ({error.strerror})"
    except MemoryError:
        return "not enough memory for its pictures"


class _Counter:
    """Counts all frames and notes the time of the last, while the thinning chooses among them."""

    def __init__(self, thinning: Thinning) -> None:
        self._thinning, self.count, self.last = thinning, 0, 0.0

    def __call__(self, index: int, seconds: float) -> bool:
        self.count, self.last = index + 1, seconds
        return self._thinning(index, seconds)


def _store(job: Job) -> Record:
    settings = job.settings
    info = probe(job.source.path)
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    thinning = Thinning(settings.fps, settings.every, settings.max_frames)
    counter = _Counter(thinning)
    stored: list[tuple[Path, float]] = []
    for seconds, picture in iter_frames(job.source.path, settings.short_side, counter, threads=1):
        _make_room(stored, thinning)
        stored.append((job.folder / frame_name(counter.count - 1), seconds))
        Image.fromarray(picture).save(stored[-1][0], quality=settings.quality)
    _make_room(stored, thinning)
    for index, (file, _) in enumerate(stored):
        file.rename(job.folder / frame_name(index))  # only ever to a lower number, and that one is free
    times = [seconds for _, seconds in stored]
    (job.folder / SECONDS).write_text("".join(f"{second!r}\n" for second in times), encoding="utf-8")
    fps = (counter.count - 1) / counter.last if counter.count > 1 else info.fps
    return Record(
        id=job.source.id,
        label=job.source.label,
        source=str(job.source.path),
        source_width=info.width,
        source_height=info.height,
        source_fps=round(fps, 6),
        source_frames=counter.count,
        width=picture.shape[1],
        height=picture.shape[0],
        fps=round((len(times) - 1) / times[-1] if len(times) > 1 else fps, 6),
        frames=len(times),
        duration=round(counter.last + 1 / fps, 6),
    )


def _make_room(stored: list[tuple[Path, float]], thinning: Thinning) -> None:
    """Remove the frames that the thinning gave up."""
    for position in reversed(thinning.given_up):
        stored.pop(position)[0].unlink()
    thinning.given_up = []
