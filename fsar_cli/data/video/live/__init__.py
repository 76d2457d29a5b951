"""Live sources: cameras and streams, which do not wait for who reads them.

`addresses` says what is one and what may be told of it, `connecting` opens and reads it once, `clocks` makes one time
of many connections, `board` keeps the newest frames and counts, `source` is the thread that does all that for a reader.
"""

from fsar_cli.data.video.live.addresses import cameras, is_live, masked
from fsar_cli.data.video.live.board import LiveFrame, StreamState
from fsar_cli.data.video.live.clocks import TimeGrid
from fsar_cli.data.video.live.source import LiveSource

__all__ = ["LiveFrame", "LiveSource", "StreamState", "TimeGrid", "cameras", "is_live", "masked"]
