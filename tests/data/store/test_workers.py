"""Worker processes: order, crashes, bugs."""

import errno
import os
import signal
import time

import pytest

from fsar_cli.data.store import workers
from fsar_cli.data.store.workers import Crashed, run_tasks


def work(task: str | int) -> int:
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if task == "exit":
        os._exit(7)
    if task == "bug":
        raise ValueError("a mistake")
    if task == "sleep":
        time.sleep(60)
    return int(task) ** 2


def test_in_this_process() -> None:
    assert list(run_tasks(work, [3, 1], 0)) == [(3, 9), (1, 1)]


def test_a_killed_or_hanging_worker_costs_only_its_own_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 2)
    results = dict(run_tasks(work, [1, "die", 2, "stop", "exit", 3, 4], 2))
    crashed = {task: result.cause for task, result in results.items() if isinstance(result, Crashed)}
    stopped = "no sign of life for 2 s"
    assert crashed == {"die": "SIGKILL, perhaps out of memory", "exit": "exit code 7", "stop": stopped}
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


def test_where_the_system_gives_no_process_the_work_is_done_in_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    said = []
    monkeypatch.setattr(workers, "Worker", refused)
    assert dict(run_tasks(work, [1, 2, 3], 2, said.append)) == {1: 1, 2: 4, 3: 9}
    reason = "(Resource temporarily unavailable): the work goes on in this one"
    assert said == [f"no worker process could be started {reason}"]
