"""Large tensors on disk: one safetensors file, filled row by row and read by memory map.

safetensors' own `save_file` wants all tensors in memory; here the header is written first and the rows follow as they
are computed, so that memory stays bounded. Reading is the library's: a tensor's pages come from disk when touched.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fsar_cli.errors import DataError

NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.bool: "BOOL", torch.int64: "I64"}


def add_to_digest(digest: "hashlib._Hash", tensors: Mapping[str, Tensor]) -> None:
    """Take names, types, shapes and contents of tensors into a digest."""
    for name, tensor in tensors.items():
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)


class TensorWriter:
    """Fills tensors of a known number of rows, from the first row to the last.

    Args:
        path: the file; its folder exists.
        rows: length of the first axis of every tensor, 1 or more.
    """

    def __init__(self, path: Path, rows: int) -> None:
        self.path, self.rows, self.filled = path, rows, 0
        self._tensors: dict[str, Tensor] = {}
        self._map: np.memmap | None = None

    def add(self, part: Mapping[str, Tensor]) -> None:
        """Append rows; every part has the same names, types and shapes behind the first axis."""
        if self._map is None:
            self._lay_out(part)
        end = self.filled + len(next(iter(part.values())))
        if end > self.rows or part.keys() != self._tensors.keys():
            raise ValueError(f"row {end} of {self.rows}, tensors {sorted(part)} of {sorted(self._tensors)}")
        for name, tensor in part.items():
            self._tensors[name][self.filled : end].copy_(tensor)
        self.filled = end

    def _lay_out(self, part: Mapping[str, Tensor]) -> None:
        shapes = {name: [self.rows, *tensor.shape[1:]] for name, tensor in part.items()}
        sizes = {name: math.prod(shapes[name]) * part[name].element_size() for name in part}
        # Widest elements first keeps every tensor aligned to its element size.
        names = sorted(part, key=lambda name: -part[name].element_size())
        ends = dict(zip(names, np.cumsum([sizes[name] for name in names]).tolist(), strict=True))
        header = {
            name: {
                "dtype": NAMES[part[name].dtype],
                "shape": shapes[name],
                "data_offsets": [ends[name] - sizes[name], ends[name]],
            }
            for name in names
        }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 64)  # the format allows blanks; data then begin on a cache line
        start = 8 + len(text)
        self._map = np.memmap(self.path, np.uint8, "w+", shape=(start + max(ends.values()),))
        self._map[:start] = np.frombuffer(len(text).to_bytes(8, "little") + text, np.uint8)
        for name in names:
            flat = torch.from_numpy(self._map[start + ends[name] - sizes[name] : start + ends[name]])
            self._tensors[name] = flat.view(part[name].dtype).view(shapes[name])

    def close(self) -> None:
        """Write everything out. Raises ValueError where rows are missing."""
        if self.filled != self.rows or self._map is None:
            raise ValueError(f"{self.filled} of {self.rows} rows were filled")
        self._tensors.clear()
        self._map.flush()
        self._map = None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, memory-mapped; they must not be written to.

    Raises:
        DataError: missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise DataError(f"cannot read {path}: {error}", "delete it: it is made anew when needed") from error
