"""Video files: probe, decode (in sequence, by index, by time) and encode. The only user of PyAV."""

from fsar_cli.data.video.cutting import iter_frames
from fsar_cli.data.video.faults import printable
from fsar_cli.data.video.reading import VideoInfo, count_frames, probe
from fsar_cli.data.video.seeking import frame_times, read_frames, read_times
from fsar_cli.data.video.writing import VideoWriter

__all__ = [
    "VideoInfo",
    "VideoWriter",
    "count_frames",
    "frame_times",
    "iter_frames",
    "printable",
    "probe",
    "read_frames",
    "read_times",
]
