"""Values on their way from one process to another: what they are through a pipe, their arrays in memory of their own.

Arrays travel in anonymous memory (a memfd), whose descriptor goes through the pipe: it has no name, no limit but the
machine's and needs neither /dev/shm (64 MB in a container) nor a folder of temporary files. It goes with its last user,
however that ends. Where the system gives none, now or ever, arrays go through the pipe as well, which takes longer.
"""

import copyreg
import errno
import mmap
import os
import pickle
from collections.abc import Callable, Sequence
from io import BytesIO
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

ALIGNED = 64
"""Arrays begin at multiples of so many bytes."""

Packed = tuple[bytes, list[memoryview]]
"""A value, and the bytes of its arrays."""


class _ArrayPickler(pickle.Pickler):
    dispatch_table = copyreg.dispatch_table.copy()


def pass_as(kind: type, reduce: Callable[[Any], tuple[Any, ...]]) -> None:
    """Take values of a type apart by `reduce`, as `copyreg.pickle` has it, but only on their way between processes."""
    _ArrayPickler.dispatch_table[kind] = reduce


def pack(value: Any) -> Packed:
    """Make a value ready for `send`; what cannot be sent fails here."""
    data = BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    _ArrayPickler(data, pickle.HIGHEST_PROTOCOL, buffer_callback=buffers.append).dump(value)
    return data.getvalue(), [buffer.raw() for buffer in buffers]


def send(pipe: Connection, packed: Packed) -> None:
    """Hand over a packed value. Raises OSError where the other process is gone."""
    data, arrays = packed
    memory = _filled(arrays) if any(map(len, arrays)) else None
    pipe.send((data, [len(array) for array in arrays], memory is not None))
    if memory is not None:
        try:
            reduction.send_handle(pipe, memory, None)
        finally:
            os.close(memory)
        return
    for array in arrays:
        pipe.send_bytes(array)


def receive(pipe: Connection) -> Any:
    """The value that the other process sent.

    Raises:
        EOFError, ConnectionError: it is gone.
        OSError: the system gives this process no more memory or descriptors.
    """
    data, sizes, in_memory = pipe.recv()
    if in_memory:
        return pickle.loads(data, buffers=_mapped(pipe, sizes))
    arrays = [bytearray(size) for size in sizes]
    for array in arrays:
        pipe.recv_bytes_into(array) if array else pipe.recv_bytes()
    return pickle.loads(data, buffers=arrays)


def _room(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


def _filled(arrays: Sequence[memoryview]) -> int | None:
    """Descriptor of memory that holds the arrays; None where the system gives none."""
    try:
        memory = os.memfd_create("fsar-batch")
    except (AttributeError, OSError):
        return None
    try:
        with open(memory, "wb", closefd=False) as file:
            for array in arrays:
                file.write(array)
                file.write(bytes(_room(len(array)) - len(array)))
    except OSError:
        os.close(memory)
        return None
    return memory


def _mapped(pipe: Connection, sizes: Sequence[int]) -> list[memoryview]:
    try:
        memory = reduction.recv_handle(pipe)
    except RuntimeError as error:  # the descriptor was sent, and this process may not open one more
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from error
    try:
        # Pages are there already: to meet each of them for the first time would cost as much as to copy them.
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        whole = memoryview(mmap.mmap(memory, sum(map(_room, sizes)), flags=flags))
    finally:
        os.close(memory)
    starts = [sum(map(_room, sizes[:n])) for n in range(len(sizes))]
    return [whole[start : start + size] for start, size in zip(starts, sizes, strict=True)]
