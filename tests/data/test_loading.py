"""Loader processes: batches in order, and whatever happens in or to a process ends in one error and no process."""

import errno
import faulthandler
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from functools import partial

import pytest
import torch
from small_project import Listener

from fsar_cli.data.loading import AHEAD, loaded
from fsar_cli.data.store import passing, workers
from fsar_cli.data.store.workers import Worker
from fsar_cli.errors import DataError, DeviceError, UsageError
from fsar_cli.reporting import SILENT

BAD = 5


def load(then, task):
    """The batch of a task: tensors, one of them empty; at BAD, what `then` does."""
    if task == BAD:
        then()
    return task, torch.arange(task, dtype=torch.int64), {"pixels": torch.full((task, 3), task, dtype=torch.uint8)}


def fails(error: Exception) -> None:
    raise error


def signalled(number: int) -> None:
    faulthandler.disable()  # pytest has it write what is a page long
    os.kill(os.getpid(), number)


def batches(then=None, count: int = 9, processes: int = 2, reporter=None):
    return loaded(partial(load, then or int), range(count), processes, False, "clip {}".format, reporter or SILENT)


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("processes", [0, 1, 3, 20])
def test_batches_come_in_order_and_whole(processes):
    files = os.listdir("/proc/self/fd")
    found = list(batches(count=11, processes=processes))
    assert [task for task, *_ in found] == list(range(11))
    for task, row, parts in found:
        assert row.tolist() == list(range(task)) and row.dtype == torch.int64
        assert parts["pixels"].shape == (task, 3) and (parts["pixels"] == task).all()
        row += 1  # memory of its own
    del found, row, parts
    assert os.listdir("/proc/self/fd") == files


def test_processes_are_only_so_far_ahead(tmp_path):
    """Or batches would fill the memory."""
    reader, writer = os.pipe()
    with closing(loaded(lambda task: os.write(writer, b"."), range(100), 2, False, str)) as ahead:
        next(ahead)
        time.sleep(0.5)
        assert len(os.read(reader, 100)) == 2 * AHEAD + 1
    os.close(reader)
    os.close(writer)


class Pinnable:
    """A batch that says where it was pinned, as a GPU's would."""

    def __init__(self, task):
        if task == BAD:
            raise DataError("frame 5 is missing")
        self.task, self.pinned = task, None

    def pin_memory(self):
        self.pinned = threading.current_thread().name
        return self


@pytest.mark.parametrize("processes", [0, 2])
def test_batches_are_pinned_by_a_thread_one_ahead_and_its_errors_arrive(processes):
    arriving = loaded(Pinnable, range(9), processes, True, str)
    found = []
    with pytest.raises(DataError, match="frame 5 is missing"):
        found.extend(iter(arriving))
    assert [batch.task for batch in found] == list(range(BAD))
    assert all(batch.pinned not in (None, threading.current_thread().name) for batch in found)


def test_a_loading_that_is_left_does_not_wait_for_what_is_loaded():
    started = time.monotonic()
    with closing(loaded(slow, range(9), 1, True, str)) as arriving:
        next(arriving)
    assert time.monotonic() - started < 20


def slow(task):
    time.sleep(600 * task)
    return Pinnable(task)


def test_where_the_system_has_no_such_memory_batches_go_through_the_pipe(monkeypatch):
    monkeypatch.setattr(passing, "_filled", lambda arrays: None)
    assert [pixels.tolist() for _, pixels, _ in batches()] == [list(range(task)) for task in range(9)]


ERRORS = {
    "of ours": (DataError("frame 3 is missing", "extract again"), DataError, "^frame 3 is missing", "^extract again$"),
    "of use": (UsageError("no", "so"), UsageError, "^no", "^so$"),
    "no memory": (MemoryError(), DeviceError, "memory ran out while clips were loaded", "train.workers=1"),
    "torch's memory": (
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), DeviceError, "memory ran out", "workers",
    ),
    "too many files": (OSError(errno.EMFILE, "Too many open files", "a.jpg"), DataError, "a.jpg: Too many", "ulimit"),
    "full": (OSError(errno.ENOSPC, "No space left on device"), DataError, r"\(No space left on device\)", "workers"),
}  # fmt: skip


@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_in_a_process_arrives_as_it_is_after_the_batches_before_it(kind, processes):
    error, cls, message, hint = ERRORS[kind]
    arriving, tasks = batches(partial(fails, error), processes=processes), []
    with pytest.raises(cls, match=message) as raised:
        tasks.extend(task for task, *_ in arriving)
    assert tasks == [] or tasks == list(range(BAD))
    assert len(raised.value.message.splitlines()) == 1
    assert re.search(hint, raised.value.hint)


def test_a_mistake_stays_one_and_says_where_it_was():
    class Unsendable(Exception):
        def __init__(self, one, two):
            super().__init__("a mistake")

    for error, cls in ((KeyError("a mistake"), KeyError), (Unsendable(1, 2), RuntimeError)):
        with pytest.raises(cls, match="a mistake") as raised:
            list(batches(partial(fails, error)))
        assert "test_loading.py" in raised.value.__notes__[0]


DEATHS = {
    "memory killer": (partial(signalled, signal.SIGKILL), DeviceError, r"killed over clip 5 \(SIGKILL\)"),
    "crash": (partial(signalled, signal.SIGSEGV), DataError, r"died over clip 5 \(SIGSEGV\)"),
    "bus error": (partial(signalled, signal.SIGBUS), DataError, r"died over clip 5 \(SIGBUS\)"),
    "exit": (partial(os._exit, 3), DataError, r"died over clip 5 \(exit code 3\)"),
    "stopped": (partial(signalled, signal.SIGSTOP), DataError, r"over clip 5 \(no sign of life for 1 s\)"),
}


@pytest.mark.parametrize("kind", DEATHS)
def test_a_process_that_dies_or_hangs_ends_the_loading_within_seconds(kind, monkeypatch):
    then, cls, message = DEATHS[kind]
    monkeypatch.setattr(workers, "PATIENCE", 1)
    started = time.monotonic()
    with pytest.raises(cls, match=message):
        list(batches(then))
    assert time.monotonic() - started < 10


def test_a_process_that_computes_is_not_taken_for_one_that_hangs(monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 1)

    def compute():
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            pass

    assert len(list(batches(compute))) == 9


def test_a_process_that_dies_is_noticed_before_its_turn():
    with closing(loaded(lambda task: time.sleep(600 * (task == 3)), range(8), 2, False, "clip {}".format)) as arriving:
        next(arriving)
        for child in multiprocessing.active_children():
            child.kill()
        with pytest.raises(DeviceError, match=r"killed over clip [123]"):
            list(arriving)


@pytest.mark.parametrize("started", [0, 1])
def test_where_the_system_gives_fewer_processes_the_work_goes_on_with_those(started, monkeypatch):
    class Fewer(Worker):
        def __init__(self, *arguments):
            if len(multiprocessing.active_children()) >= started:
                raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
            super().__init__(*arguments)

    monkeypatch.setattr(workers, "Worker", Fewer)
    listener = Listener()
    assert len(list(batches(reporter=listener))) == 9
    who = "only 1 of 2 worker processes" if started else "no worker process"
    assert [text.split(" could be started (Resource temporarily")[0] for text in listener.warnings] == [who]


LEFT = """
import os, time
from fsar_cli.data.store.workers import start_team
team = start_team(lambda task: os.write(1, b"%d\\n" % os.getpid()), 2, "fork", print)
for worker in team:
    worker.give(1)
time.sleep(60)
"""


def test_the_processes_of_a_killed_parent_end_by_themselves():
    """Of a fork each would hold the other's pipe open, and both would wait for ever."""
    parent = subprocess.Popen([sys.executable, "-c", LEFT], stdout=subprocess.PIPE, text=True)
    pids = {int(parent.stdout.readline()) for _ in range(2)}
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)
    assert len(pids) == 2 and not any(os.path.exists(f"/proc/{pid}") for pid in pids)
