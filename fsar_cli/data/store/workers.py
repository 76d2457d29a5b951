"""Tasks on worker processes that may die: a killed worker costs its own task and nothing else.

`concurrent.futures` gives up the whole pool when one process is killed (the system does that when memory runs out) and
does not say over which task; here each worker holds one task at a time over its own pipe, so the culprit is known.
"""

import multiprocessing
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any


@dataclass(frozen=True)
class Crashed:
    """In place of a result: the worker process died over the task."""

    cause: str


@dataclass(frozen=True)
class _Bug:
    trace: str


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    """The life of a worker: until the parent closes the pipe, or is gone. Ctrl-C is for the parent to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            task = pipe.recv()
            try:
                result = function(task)
            except Exception:
                result = _Bug(traceback.format_exc())
            pipe.send(result)
    except (EOFError, OSError):
        return


@contextmanager
def _deaf() -> Iterator[None]:
    """Ignore Ctrl-C while a process starts: it inherits that, and its imports cannot be interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, old)


class _Worker:
    """A process and the task it holds."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("spawn")  # fork is unsafe once threads run, as those of a progress bar
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
        with _deaf():
            self.process.start()
        theirs.close()  # so that the pipe reports its end when the process dies
        self.task: Any = None

    def give(self, task: Any) -> None:
        self.task = task
        with suppress(OSError):  # it died while idle: `result` reports it
            self.pipe.send(task)

    def result(self) -> Any:
        """What it sent, or Crashed. Call it when the pipe is ready."""
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return Crashed(_cause(self.process.exitcode))
        if isinstance(answer, _Bug):
            raise RuntimeError(f"in a worker process:\n{answer.trace}")
        return answer

    def stop(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}, perhaps out of memory" if name == "SIGKILL" else name
    return f"exit code {code}"


def run_tasks(function: Callable[[Any], Any], tasks: Iterable[Any], workers: int) -> Iterator[tuple[Any, Any]]:
    """Yield (task, result or Crashed) in the order of completion.

    Args:
        function: importable by name; its exceptions are bugs and are raised here.
        workers: processes; 0 works in this one.

    Closing the iterator stops all workers at once.
    """
    if workers == 0:
        yield from ((task, function(task)) for task in tasks)
        return
    queue = deque(tasks)
    team: list[_Worker] = []
    try:
        while queue and len(team) < workers:
            team.append(_Worker(function))
            team[-1].give(queue.popleft())
        while team:
            ready = wait([worker.pipe for worker in team])
            for worker in [w for w in team if w.pipe in ready]:
                task, result = worker.task, worker.result()
                if isinstance(result, Crashed) or not queue:
                    team.remove(worker)
                    worker.stop()
                    worker = _Worker(function) if queue else None
                    team += [worker] if worker else []
                if worker:
                    worker.give(queue.popleft())
                yield task, result
    finally:
        for worker in team:
            worker.stop()
