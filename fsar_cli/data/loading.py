"""Batches that loader processes make ahead of their use, in the order asked for.

    process 1    batch 0, 2, 4 ...    each is given AHEAD of them and answers in order,
    process 2    batch 1, 3, 5 ...    so batch i is the next answer of process i mod 2

What goes wrong in a process or befalls it ends the loading with one error, that of the process or one in words, and
with all processes: the error comes where the next batch is asked for, and never while a batch is worked on.
"""

import errno
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fsar_cli.data.store.passing import pass_as
from fsar_cli.data.store.workers import Crashed, Worker, answered, start_team, stop_team
from fsar_cli.errors import DataError, DeviceError, FsarError, is_out_of_memory
from fsar_cli.reporting import SILENT, Reporter

AHEAD = 2
"""Batches that each process is given at a time."""
FEWER = "take fewer loader processes: --set train.workers=1, or 0 to load in this one"

pass_as(Tensor, lambda tensor: (torch.from_numpy, (tensor.numpy(),)))


def loaded(
    load: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    pin: bool,
    what: Callable[[Any], str],
    reporter: Reporter = SILENT,
) -> Iterator[Any]:
    """`load(task)` for each task, in order; close the iterator where it is left early.

    Args:
        load: makes a batch; the same from the same task, whichever process is asked.
        workers: processes; 0 loads in this one.
        pin: hand out batches in memory from which a GPU fetches by itself.
        what: a task in words, for errors.

    Raises:
        DataError: as `load`; a process died or hung, or the system gave it too little.
        DeviceError: memory ran out.
    """
    team = start_team(partial(_in_one_thread, load), min(workers, len(tasks)), None, reporter.warn)
    try:
        batches = _of_team(team, tasks, what) if team else map(load, tasks)
        yield from _pinned(batches, team) if pin else batches
    except FsarError:
        raise
    except Exception as error:
        raise _in_words(error) from error
    finally:
        stop_team(team)


def _in_one_thread(load: Callable[[Any], Any], task: Any) -> Any:
    torch.set_num_threads(1)  # so do the decoders; the cores belong to the training process
    return load(task)


def _of_team(team: list[Worker], tasks: Sequence[Any], what: Callable[[Any], str]) -> Iterator[Any]:
    left = iter(tasks)
    for worker, task in zip(team * AHEAD, left, strict=False):
        worker.give(task)
    for worker in itertools.cycle(team):
        if not worker.tasks:
            return
        for other in team:  # nobody waits for its turn to hear that it is dead
            if over := other.died_over():
                raise _crash(over[1], what(over[0]))
        answered([worker])
        task, batch = worker.answer()
        if isinstance(batch, Crashed):
            raise _crash(batch, what(task))
        for task in itertools.islice(left, 1):
            worker.give(task)
        yield batch


def _pinned(batches: Iterator[Any], team: list[Worker]) -> Iterator[Any]:
    """The same in pinned memory, to which a thread copies the next one while this one is worked on."""
    pinned, end = (batch.pin_memory() for batch in batches), object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, pinned, end)
        try:
            while (batch := coming.result()) is not end:
                coming = thread.submit(next, pinned, end)
                yield batch
        finally:
            for worker in team:  # the thread may wait for one
                worker.process.kill()


def _in_words(error: Exception) -> Exception:
    """An error of ours for what the system refused; a mistake stays what it is."""
    if is_out_of_memory(error):
        return DeviceError("memory ran out while clips were loaded", f"free some, or {FEWER}")
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        hint = f"raise `ulimit -n`, or {FEWER}" if error.errno == errno.EMFILE else FEWER
        return DataError(f"clips cannot be loaded ({place}{error.strerror or error})", hint)
    return error


def _crash(crash: Crashed, what: str) -> FsarError:
    if crash.killed:
        text = f"a loader process was killed over {what} (SIGKILL), as the system does when memory runs out"
        return DeviceError(text, f"free some, train with --set train.frame_cache=off, or {FEWER}")
    hint = f"does its disk answer? `fsar splits check --decode` finds a video that does this to its reader; or {FEWER}"
    return DataError(f"a loader process died over {what} ({crash.cause})", hint)
