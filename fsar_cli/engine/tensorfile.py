"""Large tensors on disk: one .npy file each, filled row by row and read by memory map, so that memory stays bounded."""

import hashlib
import json
import math
import warnings
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from fsar_cli.errors import unreadable
from fsar_cli.files import allocate, naming

NAMES = "names.json"


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
        OSError: the disk is full. ValueError: rows are missing or too many.
    """
    files: dict[str, BinaryIO] = {}
    filled = 0
    with naming(folder), ExitStack() as stack:
        for part in parts:
            for name, tensor in part.items():
                if filled == 0:
                    files[name] = stack.enter_context((folder / f"{name}.npy").open("wb"))
                    _begin(files[name], (rows, *tensor.shape[1:]), tensor.numpy().dtype)
                files[name].write(tensor.contiguous().numpy().data)
                files[name].flush()
            filled += len(next(iter(part.values())))
        if filled != rows:
            raise ValueError(f"{filled} of {rows} rows were filled")
        (folder / NAMES).write_text(json.dumps(list(files)), encoding="utf-8")


def _begin(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    allocate(file.fileno(), file.tell() + math.prod(shape) * dtype.itemsize)


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors in a folder, memory-mapped; they must not be written to.

    Raises:
        DataError: missing, damaged, or not allowed to be read.
    """
    file = folder / NAMES
    try:
        maps = {}
        for name in json.loads(file.read_text(encoding="utf-8")):
            file = folder / f"{name}.npy"
            maps[name] = np.lib.format.open_memmap(file, mode="r")
    except Exception as error:  # whatever a damaged header raises
        hint = "delete its folder: it is made anew when needed"
        raise unreadable(file, f"cannot read {file}: {error}", hint) from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # and nobody writes to it
        return {name: torch.from_numpy(array) for name, array in maps.items()}
