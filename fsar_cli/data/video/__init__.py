"""Video files: probe, decode (in sequence, a stretch of it) and encode. The only user of PyAV."""

from fsar_cli.data.video.cutting import iter_frames
from fsar_cli.data.video.opening import printable, reason_of
from fsar_cli.data.video.picture import scaled_size, to_jpeg
from fsar_cli.data.video.playable import Playable, make_playable
from fsar_cli.data.video.reading import VideoInfo, count_frames, probe
from fsar_cli.data.video.writing import VideoWriter

__all__ = [
    "Playable",
    "VideoInfo",
    "VideoWriter",
    "count_frames",
    "iter_frames",
    "make_playable",
    "printable",
    "probe",
    "reason_of",
    "scaled_size",
    "to_jpeg",
]
