"""Large tensors on disk: one .npy file each, filled row by row and read by memory map, so that memory stays bounded."""

import hashlib
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from fsar_cli.errors import DataError


def add_to_digest(digest: "hashlib._Hash", tensors: Mapping[str, Tensor]) -> None:
    """Take names, types, shapes and contents of tensors into a digest."""
    for name, tensor in tensors.items():
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)


def write_tensors(folder: Path, rows: int, parts: Iterable[Mapping[str, Tensor]]) -> None:
    """Write tensors [rows, ...] as `NAME.npy`, from the first row to the last.

    The rows are written and not mapped: a full disk is then an error and not a signal that kills the process.

    Args:
        folder: exists.
        parts: the same tensors (on the CPU) in every one, with some rows each.

    Raises:
        DataError: the disk is full. ValueError: rows are missing or too many.
    """
    files: dict[str, BinaryIO] = {}
    filled = 0
    with ExitStack() as stack:
        for part in parts:
            with _writing(folder):
                for name, tensor in part.items():
                    if filled == 0:
                        files[name] = stack.enter_context((folder / f"{name}.npy").open("wb"))
                        _begin(files[name], (rows, *tensor.shape[1:]), tensor.numpy().dtype)
                    files[name].write(tensor.contiguous().numpy().data)
                    files[name].flush()
            filled += len(next(iter(part.values())))
    if filled != rows:
        raise ValueError(f"{filled} of {rows} rows were filled")


def _begin(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    if hasattr(os, "posix_fallocate"):  # that the disk is too small is better known before hours of work
        os.posix_fallocate(file.fileno(), 0, file.tell() + math.prod(shape) * dtype.itemsize)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "free some disk, or let FSAR_CACHE name a folder on a larger one"
        raise DataError(f"{folder} cannot be written ({error.strerror})", hint) from error


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors in a folder, memory-mapped; they must not be written to.

    Raises:
        DataError: missing or damaged.
    """
    files = sorted(folder.glob("*.npy"))
    try:
        maps = {file.stem: np.lib.format.open_memmap(file, mode="r") for file in files}
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {folder}: {error}", "delete it: it is made anew when needed") from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # and nobody writes to it
        return {name: torch.from_numpy(array) for name, array in maps.items()}
