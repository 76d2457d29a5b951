"""Whether a file ends before its pictures do: half downloads, full disks, killed recorders.

Each container is asked what it promises and nothing is guessed, so a live recording without lengths or index is whole:
- MP4, MOV: the bytes that the index places behind the end; in fragmented files a fragment cut in two.
- AVI: a tenth of the frames that the header counts, unless the index behind them is there (some headers count fields),
  or a frame cut in two; the lengths of lists are too often wrong.
- Matroska, WebM: a cluster or block cut in two, or a segment that goes on behind the end.
- FLV: a tag cut in two, or a header that counts two percent more bytes.
- MPEG-TS: a packet cut in two.
What is lost behind the last picture (an index, tags) does not count. A transport stream or fragmented file cut exactly
between two packets or fragments cannot be told from a whole one, nor can anything be said of other containers.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from av.container import InputContainer
from av.video.stream import VideoStream

SEGMENT, CLUSTER = 0x18538067, 0x1F43B675
BLOCKS = (0xA0, 0xA3)  # a group and a simple one: what a cluster of unknown length holds of pictures and sound
TAGS = (8, 9, 18)  # sound, picture, script
LENGTHS = (188, 192, 204)  # of a transport packet: plain, with a clock (M2TS), with error correction


def cut_off(container: InputContainer, stream: VideoStream, packets: int) -> str:
    """What a local file lacks of what it promises, in words; empty where nothing is missing or nothing can be known.

    Args:
        container, stream: PyAV's, open.
        packets: read of the stream; only AVI needs them.
    """
    if "://" in container.name:
        return ""
    kind, path = container.format.name, Path(container.name.removeprefix("file:"))
    try:
        file = path.open("rb")
    except FileNotFoundError:  # removed while it was read, to the end of what it held
        return ""
    with file:
        size = os.fstat(file.fileno()).st_size
        if "mp4" in kind:
            end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
            return _bytes(size, end) or _bytes(size, _fragments_end(file, size))
        if kind == "avi":
            if packets < 0.9 * stream.frames and not any(name == b"idx1" for name, _ in _chunks(file, size)):
                return f"{packets} of {stream.frames} frames are there"
            return _bytes(size, _frames_end(file, size))
        if "matroska" in kind:
            return _bytes(size, _clusters_end(file, size))
        if kind == "flv":
            return _bytes(size, _tags_end(file, size))
        return _bytes(size, _packets_end(file, size)) if kind == "mpegts" else ""


def _bytes(size: int, end: int) -> str:
    return f"{size} of at least {end} bytes are there" if size < end else ""


def _fragments_end(file: BinaryIO, size: int) -> int:
    """End of the last box where that is a part of a fragment; else 0."""
    position, name, fragmented = 0, b"", False
    while position + 8 <= size:
        file.seek(position)
        head = file.read(16)
        length, name = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        if length < 8:
            return 0  # 0: to the end of the file
        fragmented |= name == b"moof"
        position += length
    return position if fragmented and name in (b"moof", b"mdat") else 0


def _frames_end(file: BinaryIO, size: int) -> int:
    """End of the last chunk where that is a frame or sound; else 0."""
    name, end = b"", 0
    for name, end in _chunks(file, size):  # noqa: B007 - the last one is wanted
        pass
    return end if name[:2].isdigit() else 0


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """(name, end) of an AVI's chunks, stepping into lists of frames that are longer than the file."""
    position = 0
    while position + 12 <= size:
        file.seek(position)
        name, length, kind = struct.unpack("<4sI4s", file.read(12))
        if name == b"RIFF" or (name == b"LIST" and kind in (b"movi", b"rec ") and position + 8 + length > size):
            position += 12
        else:
            position += 8 + length + length % 2
            yield name, position


def _clusters_end(file: BinaryIO, size: int) -> int:
    """Where the element that crosses the end of the file ends, if pictures may be missing; else 0."""
    segment_end = 0
    for name, position, length in _elements(file, size):
        if name == SEGMENT and length is not None:
            segment_end = position + length
            if segment_end <= size:
                return 0
        elif length is not None and name != SEGMENT and position + length > size:
            # Cut inside the index or the tags: all clusters lie before or, with the index in front, are not reached.
            return segment_end or position + length if name in (CLUSTER, *BLOCKS) else 0
    return segment_end


def _elements(file: BinaryIO, size: int) -> Iterator[tuple[int, int, int | None]]:
    """(id, position of the content, its length or None where unknown), stepping into segments and unknown lengths."""
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(12)
        width = 9 - head[0].bit_length()
        if width > 4 or len(head) <= width or not head[width]:
            return
        digits = 9 - head[width].bit_length()
        name = int.from_bytes(head[:width])
        number = int.from_bytes(head[width : width + digits]) - (1 << 7 * digits)
        length = None if number == (1 << 7 * digits) - 1 else number
        position += width + digits
        yield name, position, length
        position += 0 if length is None or name == SEGMENT else length


def _tags_end(file: BinaryIO, size: int) -> int:
    """Where the last tag ends, or the end that the header's `filesize` promises."""
    head = file.read(1 << 16)
    place = head.find(b"\0\x08filesize\0")
    promised = int(struct.unpack_from(">d", head, place + 11)[0]) if 0 <= place < len(head) - 19 else 0
    position = int.from_bytes(head[5:9]) + 4
    while position + 4 <= size:
        file.seek(position)
        head = file.read(4)
        if head[0] & 31 not in TAGS:
            return 0
        position += 11 + int.from_bytes(head[1:]) + 4
    return max(position - 4, promised if size < 0.98 * promised else 0)


def _packets_end(file: BinaryIO, size: int) -> int:
    """Where the last packet ends, if its start is there; 0 where the file is not made of packets to its end."""
    head = file.read(4096)
    for length in LENGTHS:
        starts = range(min(length, len(head)))
        start = next((s for s in starts if head[s::length] and set(head[s::length]) == {0x47}), None)
        if start is not None:
            last = start + (size - 1 - start) // length * length
            file.seek(last)
            # A clock comes before its packet's first byte, error correction after its last.
            tail = length - 4 if length == 192 else length
            return last + tail if file.read(1) == b"\x47" else 0
    return 0
