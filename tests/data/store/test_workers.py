"""Worker processes: order, crashes, bugs."""

import os
import signal
import time

import pytest

from fsar_cli.data.store.workers import Crashed, run_tasks


def work(task: str | int) -> int:
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "exit":
        os._exit(7)
    if task == "bug":
        raise ValueError("a mistake")
    if task == "sleep":
        time.sleep(60)
    return int(task) ** 2


def test_in_this_process() -> None:
    assert list(run_tasks(work, [3, 1], 0)) == [(3, 9), (1, 1)]


def test_a_killed_worker_costs_only_its_own_task() -> None:
    results = dict(run_tasks(work, [1, "die", 2, "exit", 3, 4], 2))
    crashed = {task: result.cause for task, result in results.items() if isinstance(result, Crashed)}
    assert crashed == {"die": "SIGKILL, perhaps out of memory", "exit": "exit code 7"}
    assert [results[i] for i in (1, 2, 3, 4)] == [1, 4, 9, 16]


def test_a_bug_surfaces_with_its_trace() -> None:
    with pytest.raises(ValueError, match="a mistake") as raised:
        list(run_tasks(work, ["bug", 1], 1))
    assert "test_workers.py" in raised.value.__notes__[0], "where it was, for those who look for it"


def test_closing_stops_the_workers_at_once() -> None:
    begin, results = time.monotonic(), run_tasks(work, [2, "sleep", 3], 1)
    assert next(results) == (2, 4)
    results.close()
    assert time.monotonic() - begin < 20
