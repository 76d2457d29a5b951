"""Tensors on disk: what was written is read, and a full disk is an error that says what to do."""

import errno
import os
import subprocess
import sys

import pytest
import torch

from fsar_cli.engine.tensorfile import read_tensors, write_tensors
from fsar_cli.errors import DataError

WRITES = """
import resource, signal, sys
from pathlib import Path
import torch
from fsar_cli.engine.tensorfile import write_tensors
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
write_tensors(Path(sys.argv[1]), 100, [{"a": torch.zeros(1, 100)}] * 100)
"""


def test_tensors_are_read_as_they_were_written_row_by_row(tmp_path):
    generator = torch.Generator().manual_seed(0)
    whole = {
        "flag": torch.rand(7, 3, generator=generator) > 0.5,
        "wide": torch.randn(5, 7, 2, generator=generator).transpose(0, 1),
        "index": torch.arange(7),
    }
    folder = tmp_path / "t [1]"
    folder.mkdir()
    write_tensors(folder, 7, [{n: t[start:end] for n, t in whole.items()} for start, end in ((0, 1), (1, 5), (5, 7))])
    found = read_tensors(folder)
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], whole[name]) and found[name].dtype == whole[name].dtype for name in whole)


@pytest.mark.parametrize("parts", [1, 2])
def test_rows_that_are_missing_or_too_many_are_refused(tmp_path, parts):
    with pytest.raises(ValueError, match=f"{2 * parts} of 3 rows"):
        write_tensors(tmp_path, 3, [{"a": torch.zeros(2, 1)}] * parts)


def test_damaged_tensors_are_refused(tmp_path):
    write_tensors(tmp_path, 3, [{"a": torch.zeros(3, 100)}])
    os.truncate(tmp_path / "a.npy", 500)
    with pytest.raises(DataError, match="cannot read") as error:
        read_tensors(tmp_path)
    assert "made anew" in error.value.hint
    (tmp_path / "a.npy").write_bytes(b"garbage")
    with pytest.raises(DataError, match="cannot read"):
        read_tensors(tmp_path)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system does not reserve room")
def test_a_disk_that_is_too_small_is_known_before_the_work(tmp_path):
    """A limit on the size of a file stands for the end of the disk: the error comes with the first of many rows."""
    result = subprocess.run([sys.executable, "-c", WRITES, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 1, "no signal"
    assert f"OSError: [Errno {errno.EFBIG}] File too large: '{tmp_path}'" in result.stderr
    assert (tmp_path / "a.npy").stat().st_size < 1000, "nothing but the heading was written"
