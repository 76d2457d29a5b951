"""Tasks on worker processes that may die or hang: that costs a worker its own task and nothing else.

`concurrent.futures` gives up the whole pool when one process is killed (the system does that when memory runs out) and
does not say over which task; here each worker has a pipe of its own and answers in order, so the culprit is known.
Nothing is shared, no lock among it, that a process could take with it when it dies.
"""

import multiprocessing
import pickle
import signal
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from fsar_cli.data.store.passing import Packed, pack, receive, send

Method = Literal["spawn", "fork"] | None
"""How a process is started, as `multiprocessing` names it; None: as the system's default is."""
PATIENCE = 60
"""Seconds without a sign of life, while its answer is waited for, after which a worker counts as hung. It shows life by
computing, however slow its disk: one read that is not answered for so long is taken for one that never will be."""

_OURS: "weakref.WeakSet[Connection]" = weakref.WeakSet()
"""This process's ends of the pipes to its workers."""


@dataclass(frozen=True)
class Crashed:
    """In place of a result: the worker process died or hung over the task."""

    cause: str
    killed: bool = False
    """By SIGKILL, as the system does when memory runs out."""


@dataclass(frozen=True)
class _Raised:
    error: Exception


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    """The life of a worker: until the parent closes the pipe, or is gone. Ctrl-C is for the parent to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for inherited in list(_OURS):  # by a fork; as long as one is open somewhere, no worker sees that the parent is gone
        inherited.close()
    with suppress(EOFError, OSError):
        while True:
            send(pipe, _answer(function, pipe.recv()))


def _answer(function: Callable[[Any], Any], task: Any) -> Packed:
    try:
        return pack(function(task))
    except Exception as error:
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        return pack(_Raised(_portable(error)))


def _portable(error: Exception) -> Exception:
    """The error, if it survives the way between processes; else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.__notes__ = error.__notes__
        return plain
    return error


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


class Worker:
    """A process, and the tasks it was given and has not answered yet; it answers in order.

    Raises:
        OSError: the system gives no process or no pipe.
    """

    def __init__(self, function: Callable[[Any], Any], method: Method) -> None:
        context = multiprocessing.get_context(method)
        self.pipe, theirs = context.Pipe()
        _OURS.add(self.pipe)
        self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
        try:
            with _deaf():
                self.process.start()
        except BaseException:
            self.pipe.close()
            raise
        finally:
            theirs.close()  # so that the pipe reports its end when the process dies
        self.tasks: deque[Any] = deque()
        self.hung, self._idle = False, 0
        self._spent: float | None = None

    def give(self, task: Any) -> None:
        """One task more."""
        self.tasks.append(task)
        with suppress(OSError):  # it died while idle: `answer` reports it
            self.pipe.send(task)

    def answer(self) -> tuple[Any, Any]:
        """The first of its tasks, and what it answered, or Crashed. Call it when `answered` names the worker.

        Raises:
            Exception: what the task raised.
            OSError: the system gives this process too little to take the answer.
        """
        task, self._spent, self._idle = self.tasks.popleft(), None, 0
        if self.hung:
            return task, Crashed(f"no sign of life for {PATIENCE} s")
        try:
            value = receive(self.pipe)
        except (EOFError, ConnectionError):
            self.process.join(5)
            return task, _death(self.process.exitcode)
        if isinstance(value, _Raised):
            raise value.error
        return task, value

    def died_over(self) -> tuple[Any, Crashed] | None:
        """Where it died before all its tasks were taken from it: the one it died over, and of what."""
        if not self.tasks or self.process.is_alive():
            return None
        task, value = self.answer()
        while self.tasks and not isinstance(value, Crashed):
            task, value = self.answer()
        return task, value if isinstance(value, Crashed) else _death(self.process.exitcode)

    def look(self) -> None:
        """Find out whether it hangs; called once a second while its answer is waited for."""
        spent = _computed(self.process.pid)
        self._idle = self._idle + 1 if spent is not None and spent == self._spent else 0
        self._spent = spent
        self.hung = self._idle >= PATIENCE


def _computed(pid: int | None) -> float | None:
    """Seconds of processor time a process has used (Linux's name of its clock); None where that is not known."""
    try:
        return None if pid is None else time.clock_gettime(~pid << 3 | 2)
    except (AttributeError, OSError):
        return None


def _death(code: int | None) -> Crashed:
    if code is None or code >= 0:
        return Crashed(f"exit code {code}")
    try:
        name = signal.Signals(-code).name
    except ValueError:  # one of the real-time signals
        name = f"signal {-code}"
    killed = name == "SIGKILL"
    return Crashed(f"{name}, perhaps out of memory" if killed else name, killed)


def answered(team: Sequence[Worker]) -> list[Worker]:
    """Wait for workers that have answered, died or hung; at least one."""
    while True:
        # Seconds are counted as waits, and not by a clock: one that was stopped with its workers (Ctrl-Z) goes on.
        pipes = wait([worker.pipe for worker in team], 1.0)
        if ready := [worker for worker in team if worker.pipe in pipes]:
            return ready
        for worker in team:
            worker.look()
        if hung := [worker for worker in team if worker.hung]:
            return hung


def start_team(
    function: Callable[[Any], Any], workers: int, method: Method, warn: Callable[[str], None]
) -> list[Worker]:
    """So many workers, or as many as the system gives; `warn` is told where these are fewer."""
    team: list[Worker] = []
    try:
        while len(team) < workers:
            team.append(Worker(function, method))
    except OSError as error:
        who = f"only {len(team)} of {workers} worker processes" if team else "no worker process"
        where = "those" if team else "this one"
        warn(f"{who} could be started ({error.strerror}): the work goes on in {where}")
    except BaseException:
        stop_team(team)
        raise
    return team


def stop_team(team: Iterable[Worker]) -> None:
    """End workers at once, whatever they are at."""
    for worker in team:
        worker.pipe.close()
        worker.process.kill()  # a process that was stopped hears nothing else
    for worker in team:
        worker.process.join(5)
        if worker.process.is_alive():  # it waits for a disk that is gone, and nobody can wait for that
            multiprocessing.process._children.discard(worker.process)  # type: ignore[attr-defined]  # has no public name
        else:
            worker.process.close()


def run_tasks(
    function: Callable[[Any], Any], tasks: Iterable[Any], workers: int, warn: Callable[[str], None] = lambda _: None
) -> Generator[tuple[Any, Any], None, None]:
    """Yield (task, result or Crashed) in the order of completion.

    Args:
        function: importable by name; its exceptions are raised here.
        workers: processes; 0 works in this one.
        warn: told where the system gives fewer processes.

    Closing the iterator stops all workers at once.
    """
    queue = deque(tasks)
    spawn: Method = "spawn"  # fork is unsafe once threads run, as those of a progress bar
    team = start_team(function, min(workers, len(queue)), spawn, warn)
    try:
        for worker in team:
            worker.give(queue.popleft())
        while team:
            for worker in answered(team):
                task, result = worker.answer()
                heir: Worker | None = worker
                if isinstance(result, Crashed) or not queue:
                    stop_team([worker])
                    successor = start_team(function, 1, spawn, warn) if queue else []
                    team[:] = [other for other in team if other is not worker] + successor
                    heir = successor[0] if successor else None
                if heir:
                    heir.give(queue.popleft())
                yield task, result
        while queue:  # in this process, where it was to be so or none can be started
            yield (task := queue.popleft()), function(task)
    finally:
        stop_team(team)
