"""Reading a support file: all of it is checked, as files come from anywhere."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fsar_cli.core.method import Encoded
from fsar_cli.data.video.picture import jpeg_picture
from fsar_cli.errors import DataError, unreadable
from fsar_cli.recognise.support import FORMAT, SilentWindows, SupportDocument, SupportSet

LARGEST_HEADER = 32 * 2**20  # bytes; of thousands of examples
LARGEST_THUMBNAIL = 1024  # pixels a side
NAMES = re.compile(
    r"(examples|normal|silent|prepared)\..+|thumbnails|thumbnail_ends|left_out|silent_(segments|times|scores)",
    re.DOTALL,
)
"""Of all tensors of a support file."""
SILENT = {"silent_segments", "silent_times", "silent_scores"}
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""By format: a document of it -> one of the next."""


def read_support(path: Path) -> SupportSet:
    """Read a support file.

    Raises:
        DataError: there is none, or it is damaged, of a newer version, or holds what no support file does.
    """
    if not path.is_file():
        raise DataError(f"no support file at {path}", "`fsar support make EXAMPLES` makes it; --support names another")
    damaged = f"{path} is no support file, or is damaged", "`fsar support make` makes it anew"
    try:
        with path.open("rb") as file:
            if int.from_bytes(file.read(8), "little") > LARGEST_HEADER:
                raise DataError(*damaged)
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("fsar")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:  # of odd types
        raise unreadable(path, *damaged, error=error) from error
    if header is None:
        raise DataError(f"{path} holds tensors, but is no support file", damaged[1])
    return _checked(path, _document(path, header), tensors)


def _document(path: Path, header: str) -> SupportDocument:
    try:
        plain = json.loads(header)
        number = plain["format"]
        if type(number) is not int or number < 1:
            raise ValueError(f"format {number!r}")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{path} has no readable header", "`fsar support make` makes it anew") from error
    if number > FORMAT:
        text = f"{path} is of format {number}, which a newer fsar wrote; this one reads up to {FORMAT}"
        raise DataError(text, "update fsar, or `fsar support make` with this one")
    try:
        while number < FORMAT:
            plain, number = MIGRATIONS[number](plain), number + 1
        return SupportDocument.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: its header's {place}: {first['msg']}", "`fsar support make` makes it anew") from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # what a migration meets
        text = f"{path} is of an earlier format and is damaged"
        raise DataError(text, "`fsar support make` makes it anew") from error


def _checked(path: Path, document: SupportDocument, tensors: dict[str, Tensor]) -> SupportSet:
    """A support set of what a file holds. Raises DataError: it does not fit together."""

    def refuse(reason: str) -> DataError:
        return DataError(f"{path}: {reason}", "the file is damaged: `fsar support make` makes it anew")

    def encoded(part: str, rows: int | None) -> Encoded | None:
        found = {n.removeprefix(f"{part}."): t for n, t in tensors.items() if n.startswith(f"{part}.")}
        for name, tensor in found.items():
            if tensor.dtype != torch.float32 or tensor.ndim < 2 or not tensor.numel():
                raise refuse(f"{part}.{name} is {_form(tensor)}, no features")
            if rows is not None and len(tensor) != rows:
                raise refuse(f"{part}.{name} has {len(tensor)} rows, and there are {rows}")
            if not bool(tensor.isfinite().all()):
                raise refuse(f"{part}.{name} holds numbers that are NaN or infinite")
        if len({len(tensor) for tensor in found.values()}) > 1:
            raise refuse(f"the tensors of {part} have different numbers of rows")
        return Encoded(found) if found else None

    if odd := sorted(name for name in tensors if not NAMES.fullmatch(name)):
        raise refuse(f"it holds {odd[0]}, which no support file does")
    described = encoded("examples", len(document.examples))
    if described is None:
        raise refuse("it holds no examples")
    normal, silent = encoded("normal", None), encoded("silent", None)
    if silent is None and (lone := sorted(SILENT & set(tensors))):
        raise refuse(f"it holds {lone[0]}, but no windows that calibrate")
    if (0 if document.normal is None else document.normal.silent) != (0 if silent is None else len(silent)):
        raise refuse("its header counts other windows that calibrate than it holds")
    for other in filter(None, (normal, silent)):
        if {n: t.shape[1:] for n, t in other.tensors.items()} != {n: t.shape[1:] for n, t in described.tensors.items()}:
            raise refuse("its normal windows have another form than its examples")
    prepared = {n.removeprefix("prepared."): t for n, t in tensors.items() if n.startswith("prepared.")}
    for name, tensor in prepared.items():
        if tensor.dtype != torch.float32 or not tensor.numel() or not bool(tensor.isfinite().all()):
            raise refuse(f"prepared.{name} is no whitening")
    support = SupportSet(
        document, described, _thumbnails(tensors, len(document.examples), refuse), normal,
        None if silent is None else _silent(tensors, silent, refuse), prepared,
    )  # fmt: skip
    ways = len(support.classes)
    scores = _scores(tensors, "left_out", (len(described), ways), refuse)
    silenced = None if silent is None else _scores(tensors, "silent_scores", (len(silent), ways), refuse)
    return replace(support, left_out=scores, silent_scores=silenced)


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _thumbnails(tensors: Mapping[str, Tensor], count: int, refuse: Callable[[str], DataError]) -> tuple[bytes, ...]:
    data, ends = tensors.get("thumbnails"), tensors.get("thumbnail_ends")
    if data is None or ends is None or data.dtype != torch.uint8 or ends.dtype != torch.int64:
        raise refuse("it holds no thumbnails")
    places = [0, *ends.flatten().tolist()]
    if data.ndim != 1 or ends.shape != (count,) or places[-1] != len(data) or any(a > b for a, b in pairwise(places)):
        raise refuse("its thumbnails do not fit its examples")
    whole = data.numpy().tobytes()
    pictures = tuple(whole[a:b] for a, b in pairwise(places))
    try:
        for picture in pictures:
            jpeg_picture(picture, LARGEST_THUMBNAIL)
    except ValueError as error:
        raise refuse("a thumbnail is no JPEG") from error
    return pictures


def _silent(tensors: Mapping[str, Tensor], described: Encoded, refuse: Callable[[str], DataError]) -> SilentWindows:
    segments, times = tensors.get("silent_segments"), tensors.get("silent_times")
    if segments is None or times is None or not (
        segments.dtype == torch.int64 and times.dtype == torch.float64
        and segments.shape == (len(described),) and times.shape == (len(described), 2)
        and bool(times.isfinite().all()) and bool((segments.diff() >= 0).all())
    ):  # fmt: skip
        raise refuse("its calibration windows have no times")
    return SilentWindows(described, segments.numpy(), times.numpy())


def _scores(
    tensors: Mapping[str, Tensor], name: str, shape: tuple[int, int], refuse: Callable[[str], DataError]
) -> Tensor:
    scores = tensors.get(name)
    if scores is None or scores.dtype != torch.float32 or scores.shape != shape or bool(scores.isinf().any()):
        raise refuse(f"its {name} are no scores of {shape[0]} windows for {shape[1]} classes")
    return scores
