"""Files of weights of any bytes: tensors, or a refusal in a line; nothing in them is executed."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from hostile import check, file_of, inputs, lawful, place, seeds_of, tried
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from fsar_cli.core.backbones.seen import seen_classes
from fsar_cli.core.backbones.weightfile import read_state
from fsar_cli.errors import DataError


def _archive(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _holds_itself(entries: int) -> bytes:
    """A pickle of a dict that holds itself under many names."""
    content: dict = {}
    content |= {str(number): content for number in range(entries)}
    return pickle.dumps(content, 2)


def _each_in_each(entries: int, levels: int) -> bytes:
    content: dict = {}
    for _ in range(levels):
        content = {str(number): content for number in range(entries)}
    return pickle.dumps(content, 2)


class _Runs:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


def _of_torch(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


PICKLE = b"\x80\x02}q\0."
KEPT = {
    "an archive behind something else": b"x" * 9 + b"\xff" + _archive({"a/b": b"1"}, zipfile.ZIP_STORED),
    "an archive whose pickle is a bomb": _archive({"archive/data.pkl": PICKLE + bytes(2**26), "archive/version": b"3"}),
    "an archive that needs a newer version": _archive({"a/data.pkl": PICKLE}).replace(
        b"PK\x01\x02\x14\x03\x14", b"PK\x01\x02\x14\x03\xff"
    ),
    "a pickle that holds itself": _holds_itself(3000),
    "a pickle whose parts hold one another": _each_in_each(3000, 5),
    "a whole model of torch in an archive without a pickle": b"\xff" * 9 + b"torch.nn.modules" + _archive({"x": b"1"}),
    "a pickle that runs": _of_torch({"state_dict": _Runs()}),
    "a bare pickle that runs": pickle.dumps(_Runs(), 2),
    "tensors of eight bits": save({"a": torch.ones(2).to(torch.float8_e4m3fn)}),
}


def test_what_is_valid_keeps_the_law() -> None:
    for data in seeds_of("weights"):
        check("weights", data)


@pytest.mark.parametrize("name", KEPT)
def test_a_file_that_once_broke_it_keeps_the_law(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check("weights", KEPT[name])
    assert not (tmp_path / "executed").exists()


@tried(150)
@given(inputs("weights"))
def test_any_bytes_are_weights_or_refused_in_a_line(data: bytes) -> None:
    check("weights", data)


def test_an_archive_that_claims_more_than_it_has_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = file_of(KEPT["an archive whose pickle is a bomb"], "a.pth", tmp_path)
    with pytest.raises(DataError, match="an archive that says it holds"):
        read_state(path)


@tried(100)
@given(st.binary(max_size=60))
def test_a_list_of_classes_is_read_or_refused(data: bytes) -> None:
    with place() as folder:
        file_of(data, "w.classes.txt", folder)
        lawful(lambda: seen_classes("resnet18", folder / "w.pth"), len(data))
