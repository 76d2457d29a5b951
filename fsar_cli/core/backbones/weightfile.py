"""A file of weights: the state dict it holds, in whatever wrapping, or what the file is instead.

A file is judged by its content, not by its name, and nothing in it is executed.
"""

import argparse
import re
import struct
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fsar_cli.errors import DataError, counted, is_out_of_memory

ASK = "model.weights takes a state dict (.pth, .pt, .safetensors), `imagenet`, `demo` or `none`"
AGAIN = "fetch it again"
CONVERT = "weights of other libraries have other names: take those of PyTorch"
UNPACK = "unpack it and give the file of weights in it"
STATE_DICT = "save model.state_dict() instead of the model"
BEGINNINGS = {
    b"version https://git-lfs": ("is a pointer of git LFS, not the weights themselves", "`git lfs pull` fetches them"),
    b"<": ("is a web page", f"the address wants a login or a click: {AGAIN} as a browser does"),
    b"{": ("is JSON", ASK),
    b"[": ("is JSON", ASK),
    b"\x89HDF": ("is an HDF5 file, as Keras writes them", CONVERT),
    b"\x93NUMPY": ("is a NumPy array", ASK),
    b"\x1f\x8b": ("is a gzip archive", UNPACK),
    b"\xfd7zXZ": ("is an xz archive", UNPACK),
    b"BZh": ("is a bzip2 archive", UNPACK),
    b"7z\xbc\xaf": ("is a 7z archive", UNPACK),
    b"Rar!": ("is a RAR archive", UNPACK),
}
# What the names inside a zip archive say, the first that fits.
INSIDE = {
    "constants.pkl": ("is a TorchScript archive", "save torch.jit.load(FILE).state_dict() by torch.save"),
    "data.pkl": ("", ""),
    ".npy": ("is a NumPy archive", ASK),
    ".h5": ("is a Keras archive", CONVERT),
    "": ("is a zip archive without weights of PyTorch", UNPACK),
}
# Where training programs keep the state dict in a checkpoint, the best for others first.
WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "teacher", "student", "model", "network", "net", "module",
)  # fmt: skip
DEPTH = 4
SMALL = 64 * 2**20
"""Bytes of a file for which there is memory: one that takes more of it claims what it does not hold."""
HEAD = 512  # bytes


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict without executing anything the file may contain.

    Raises:
        DataError: missing, no file of weights, damaged, or without a state dict. OSError: it cannot be read.
    """
    if path.is_dir():
        run = (path / "config.yaml").is_file()
        raise DataError(f"{path} is a {'run ' if run else ''}folder, not a file of weights", ASK)
    if not path.is_file():
        raise DataError(f"no weights at {path}", ASK)
    with path.open("rb") as file:
        head = file.read(HEAD)
    if fault := _beginning(head) or (_inside(path) if head.startswith(b"PK\x03\x04") else None):
        raise _unreadable(path, *fault)
    content = _safetensors(path) if head[8:9] == b"{" else _pickled(path)
    state = _unwrapped(content)
    if not state:
        raise DataError(f"{path} holds no state dict", "save model.state_dict()")
    return state


def require_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse numbers that are none. Raises DataError: NaN or infinite ones, in the first tensor that has any."""
    bad = {n: t.numel() - int(t.isfinite().sum()) for n, t in tensors.items() if not bool(t.isfinite().all())}
    if bad:
        raise DataError(
            f"{path} holds NaN or infinite numbers: {sum(bad.values())} in {counted(len(bad), 'tensor')} of "
            f"{len(tensors)}, first '{next(iter(bad))}'",
            "take weights of before that happened: every result would be chance",
        )


def require_its_size(path: Path) -> None:
    """Refuse an archive that would become more than it is. Raises DataError."""
    with path.open("rb") as file:
        is_archive = file.read(4) == b"PK\x03\x04"
    if is_archive and (fault := _inside(path)):
        raise _unreadable(path, *fault)


def _unreadable(path: Path, reason: str, hint: str) -> DataError:
    return DataError(f"cannot read the weights {path}: it {reason}", hint)


def _beginning(head: bytes) -> tuple[str, str] | None:
    """What a file is, by its first bytes, and what to do then; None: it may hold weights."""
    if not head:
        return "is empty", AGAIN
    found = next((fault for start, fault in BEGINNINGS.items() if head.lstrip().startswith(start)), None)
    if found:
        return found
    if head[257:262] == b"ustar":
        return "is a tar archive", UNPACK
    if re.match(rb"\x08[\x01-\x1f][\x12\x1a:]", head):  # a version, then a text or a graph
        return "is a graph of ONNX or TensorFlow", CONVERT
    text = head.decode("ascii", "replace")
    if text.replace("\n", "").replace("\r", "").replace("\t", "").isprintable() and "\ufffd" not in text:
        return f"is text that begins {text.splitlines()[0][:40]!r}", ASK
    return None


def _inside(path: Path) -> tuple[str, str] | None:
    """The same of a zip archive, by what is in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            unpacked = sum(info.file_size for info in archive.infolist())
    except zipfile.BadZipFile:
        return "is cut off: the end of its archive is missing", AGAIN
    except (NotImplementedError, ValueError, struct.error) as error:
        return f"is a damaged archive ({error})", AGAIN
    if unpacked > path.stat().st_size:  # PyTorch packs nothing, and would take the memory for all of it
        return f"is an archive that says it holds {unpacked} bytes, more than it has", AGAIN
    reason, hint = next(fault for end, fault in INSIDE.items() if not end or any(n.endswith(end) for n in names))
    return (reason, hint) if reason else None


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise _unreadable(path, f"is a damaged or cut off safetensors file ({reason})", AGAIN) from error


def _pickled(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # arguments beside weights, which it only holds
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # whatever a damaged pickle or archive raises
        if is_out_of_memory(error) and path.stat().st_size > SMALL:
            raise
        raise _unreadable(path, *_why(path, error)) from error


def _why(path: Path, error: Exception) -> tuple[str, str]:
    """Why torch refuses a pickle."""
    if _names_modules(path):
        return "is a whole pickled model, which only its own program can read", STATE_DICT
    if thing := re.search(r"GLOBAL ([\w.]+)", str(error)):
        hint = "with the program it comes from, save model.state_dict() alone"
        return f"holds a Python object ({thing[1]}), which could run anything while it is read", hint
    reason = next(iter(str(error).splitlines()), "")[:80]
    # Torch's own advice is to read it without care.
    told = f" ({reason})" if reason and "weights" not in reason.lower() else ""
    return f"is damaged, or no file of weights{told}", AGAIN


def _names_modules(path: Path) -> bool:
    """Whether a pickle, in an archive or bare, has modules of torch in it."""
    with path.open("rb") as file:  # in an archive of PyTorch it stands first, and as it is
        return b"torch.nn.modules" in file.read(2**20)


def _unwrapped(content: Any, depth: int = DEPTH, above: tuple[int, ...] = ()) -> dict[str, Tensor]:
    """The tensors of a state dict, or of the one that a checkpoint holds; empty where there is none.

    Args:
        above: ids of what was unwrapped so far: a pickle may hold itself.
    """
    if not isinstance(content, Mapping) or not depth or id(content) in above:
        return {}
    inside = partial(_unwrapped, depth=depth - 1, above=(*above, id(content)))
    for key in WRAPPERS:
        if inner := inside(content.get(key)):
            return inner
    if tensors := {k: v.detach() for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}:
        return tensors
    each = {id(value): value for value in content.values() if isinstance(value, Mapping)}
    others = [inner for value in each.values() if (inner := inside(value))]
    return others[0] if len(others) == 1 else {}
