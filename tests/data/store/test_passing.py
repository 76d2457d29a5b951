"""Values that go from one process to another come out as they went in, through memory of their own or the pipe."""

import errno
import os
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import numpy as np
import pytest

from fsar_cli.data.store import passing
from fsar_cli.data.store.passing import ALIGNED, pack, receive, send

VALUE = {"x": np.arange(100, dtype=np.int16).reshape(4, 25), "none": np.zeros((0, 3)), "y": np.ones(ALIGNED), "n": 3}


@pytest.fixture
def pipe() -> Iterator[tuple[Connection, Connection]]:
    """Both ends, in one process."""
    ends = Pipe()
    yield ends
    for end in ends:
        end.close()


def _passed(pipe: tuple[Connection, Connection], value: dict) -> dict:
    send(pipe[0], pack(value))
    return receive(pipe[1])


def _same(found: dict, wanted: dict) -> bool:
    pairs = [(found[key], wanted[key]) for key in wanted]
    return found.keys() == wanted.keys() and all(np.array_equal(a, b) and type(a) is type(b) for a, b in pairs)


def test_what_comes_out_is_what_went_in_and_arrays_begin_where_they_should(pipe: tuple[Connection, Connection]) -> None:
    found = _passed(pipe, VALUE)
    assert _same(found, VALUE) and found["x"].dtype == np.int16
    assert all(found[key].ctypes.data % ALIGNED == 0 for key in "xy")


def test_a_value_without_arrays_needs_no_memory(
    pipe: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "_filled", lambda arrays: pytest.fail("memory was asked for"))
    assert _passed(pipe, {"a": 1, "b": "two"}) == {"a": 1, "b": "two"}


def _refuse(*_: object, **options: object) -> int:
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.mark.parametrize("lacking", ["memfd_create", "room in it"])
def test_where_the_system_gives_no_memory_arrays_go_through_the_pipe(
    pipe: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    if lacking == "memfd_create":
        monkeypatch.setattr(os, lacking, _refuse)
    else:
        monkeypatch.setattr(passing, "open", _refuse, raising=False)
    assert _same(_passed(pipe, VALUE), VALUE)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_process_that_may_open_no_more_says_so(
    pipe: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(pipe: Connection) -> int:
        raise RuntimeError("received 0 items of ancdata")

    monkeypatch.setattr(passing.reduction, "recv_handle", lost)
    with pytest.raises(OSError, match="Too many open files") as caught:
        _passed(pipe, VALUE)
    assert caught.value.errno == errno.EMFILE


def test_a_way_of_taking_a_type_apart_holds_between_processes(
    pipe: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing._ArrayPickler, "dispatch_table", passing._ArrayPickler.dispatch_table.copy())
    passing.pass_as(range, lambda value: (list, ((value.start, value.stop),)))
    assert _passed(pipe, {"r": range(2, 9)}) == {"r": [2, 9]}


def test_the_other_process_that_is_gone_is_the_end(pipe: tuple[Connection, Connection]) -> None:
    pipe[0].close()
    with pytest.raises(EOFError):
        receive(pipe[1])
