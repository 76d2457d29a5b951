"""Servers of live streams on this machine, for tests: HTTP by Python, RTSP by GStreamer where it is installed."""

import base64
import functools
import io
import itertools
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av

from fsar_cli.data.video.live import LiveFrame, LiveSource

Chunk = tuple[float, bytes]
"""(seconds since the stream's start, bytes)."""
Programme = Callable[[int], Iterable[bytes]]
"""Number of the connection, from 0 on -> what is sent, at the pace at which it is made."""


class _Growing(io.BytesIO):
    """A file that hands out what was written since it was last asked."""

    def taken(self) -> bytes:
        data = self.getvalue()
        self.seek(0)
        self.truncate()
        return data

    def seekable(self) -> bool:
        return False


def transport_chunks(path: Path, later: float = 0.0) -> list[Chunk]:
    """A video's packets, as they are, in an MPEG transport stream; `later`: seconds that are added to all stamps."""
    sink, chunks = _Growing(), []
    with av.open(str(path)) as source, av.open(sink, "w", format="mpegts", options={"flush_packets": "1"}) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        shift = round(later / stream.time_base)
        for packet in source.demux(stream):
            if packet.size:
                seconds = float(packet.dts * stream.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, copy
                target.mux(packet)
                chunks.append((seconds, sink.taken()))
    chunks.append((chunks[-1][0], sink.taken()))
    return chunks


def multipart_chunks(pictures: Iterable[bytes], fps: float) -> list[Chunk]:
    """JPEGs as the parts of an MJPEG stream."""
    head = "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n"
    return [(n / fps, head.format(len(jpeg)).encode() + jpeg + b"\r\n") for n, jpeg in enumerate(pictures)]


def paced(chunks: Iterable[Chunk], speed: float = 1.0) -> Iterator[bytes]:
    """Each chunk at its time; as fast as they are taken where the speed is 0."""
    begun = time.monotonic()
    for seconds, data in chunks:
        if speed:
            time.sleep(max(0.0, begun + seconds / speed - time.monotonic()))
        yield data


@contextmanager
def http_server(
    programme: Programme, kind: str = "video/mp2t", login: str = "", port: int = 0, length: int | None = None
) -> Iterator[str]:
    """Serves a programme at any path; yields its address. Where it ends, all connections are cut.

    Args:
        login: `user:password` that is asked for.
        length: announced, in bytes.
    """
    numbers, connections = iter(range(1_000_000)), set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            connections.add(self.connection)
            if login and self.headers["Authorization"] != "Basic " + base64.b64encode(login.encode()).decode():
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                return self.end_headers()
            if "absent" in self.path:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Type", kind)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            try:
                for data in programme(next(numbers)):
                    self.wfile.write(data)
            except OSError:
                pass  # the reader left

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/live"
    finally:
        server.shutdown()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        server.socket.close()


@contextmanager
def mute_server() -> Iterator[int]:
    """Takes connections and never says a word; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


GSTREAMER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
Gst.init(None)
if not all(Gst.ElementFactory.find(name) for name in ("qtdemux", "rtph264pay")):
    sys.exit("no qtdemux or rtph264pay")
if len(sys.argv) < 2:
    sys.exit(0)
path, port, login, method = sys.argv[1:]
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
media = GstRtspServer.RTSPMediaFactory()
media.set_launch(f"( filesrc location={path} ! qtdemux ! rtph264pay name=pay0 pt=96 config-interval=-1 )")
if login:
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(getattr(GstRtsp.RTSPAuthMethod, method.upper()))
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if method == "digest":
        auth.add_digest(*login.split(":"), token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*login.split(":")), token)
    server.set_auth(auth)
    media.add_role_from_structure(Gst.Structure.new_from_string(
        "viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"))
server.get_mount_points().add_factory("/live", media)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""
SYSTEM_PYTHON = "/usr/bin/python3"


@functools.cache
def has_rtsp() -> bool:
    """Whether GStreamer's RTSP server is installed, with Python bindings for the system's own interpreter."""
    if not Path(SYSTEM_PYTHON).exists():
        return False
    return subprocess.run([SYSTEM_PYTHON, "-c", GSTREAMER], capture_output=True).returncode == 0


@contextmanager
def rtsp_server(path: Path, port: int = 0, login: str = "", method: str = "basic") -> Iterator[int]:
    """Serves an H.264 MP4 in real time, from its start for each reader, at rtsp://127.0.0.1:PORT/live; yields the port.

    Args:
        login: `user:password` that is asked for, by `basic` or `digest`.
    """
    command = [SYSTEM_PYTHON, "-c", GSTREAMER, str(path), str(port), login, method]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Listening:
    """A reporter that keeps all that it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)

    detail = warn = log


def live(address: str, **settings: object) -> LiveSource:
    """A source with limits that suit tests."""
    return LiveSource(address, **{"short_side": None, "staleness": 5.0, "connect_timeout": 3.0} | settings)


def until(frames: Iterator[LiveFrame], number: int) -> list[LiveFrame]:
    """The next frames."""
    return list(itertools.islice(frames, number))


def grows(frames: list[LiveFrame]) -> bool:
    """Whether both clocks of the frames do."""
    return all(a.seconds < b.seconds and a.wall <= b.wall for a, b in itertools.pairwise(frames))


def threads_reading() -> int:
    """How many sources are being read."""
    return sum(thread.name == "live source" for thread in threading.enumerate())
