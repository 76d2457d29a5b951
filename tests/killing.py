"""Commands and functions that are killed: at a random moment of their work, or over the n-th thing that they write.

The interpreter's and torch's import would take most of such a test. So one process (`Forge`) imports the package once,
starts no thread, and forks a child for each command, in a group of its own. The child says nothing to the tests but its
exit code; what it does is seen in the files that it writes.
"""

import builtins
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DIED = 137
"""Exit code of a child that died over something it wrote."""
PATIENCE = 120.0  # seconds
TOLD_BY = 0.002  # seconds between two looks
COMMAND, SMALL_GROUPS = "killing:command", "killing:command_in_small_groups"
WARM = (
    "fsar_cli.cli.train", "fsar_cli.cli.scan", "fsar_cli.cli.support", "fsar_cli.cli.extract", "fsar_cli.engine.train",
    "fsar_cli.recognise.recognizer", "fsar_cli.recognise.results", "fsar_cli.recognise.enrolment",
    "fsar_cli.data.store.extraction", "fsar_cli.engine.evaluate", "fsar_cli.tools.reproduce.work", "torchvision.models",
    "torch.utils.tensorboard", "pandas",
)  # fmt: skip


# The process that forks.


def command(*arguments: str) -> None:
    """A command line of fsar."""
    from fsar_cli.cli import app

    sys.argv = ["fsar", *arguments]
    app.main()


def command_in_small_groups(*arguments: str) -> None:
    """A command line of fsar, which goes on from few windows: a scan of a short film, as long ones are."""
    from fsar_cli.recognise import recognizer

    recognizer.GROUPS = 2
    command(*arguments)


def serve() -> None:
    """Fork a child for each line of standard input; answer with its number and, once it is over, its status."""
    from importlib import import_module

    import torch

    torch.set_num_threads(1)
    for name in WARM:
        import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        work = json.loads(line)
        if not (child := os.fork()):
            _live(work)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _live(work: dict[str, Any]) -> None:
    """The life of a child."""
    from importlib import import_module

    code = 1
    try:
        os.setsid()
        _redirect(work["said"])
        os.chdir(work["folder"])
        module, _, name = work["target"].partition(":")
        function = getattr(import_module(module), name)
        if work["deadly"] is not None:
            DeadlyWrites(work["deadly"], work["torn"]).begin()
        function(*work["arguments"])
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(said: str) -> None:
    nothing, file = os.open(os.devnull, os.O_RDONLY), os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for source, place in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(source, place)


class DeadlyWrites:
    """Counts what changes files: opening for writing, each write, fsync, rename, removal, folders; dies over the n-th.

    Args:
        deadly: which one, from 1 on.
        torn: it dies behind it, or in the middle of a write, with a half on the disk; else before it.
    """

    CALLS = ("replace", "rename", "fsync", "unlink", "remove", "mkdir", "rmdir", "link", "symlink", "truncate")

    def __init__(self, deadly: int, torn: bool) -> None:
        self.left, self.torn = deadly, torn

    def begin(self) -> None:
        """From now on."""
        for name in self.CALLS:
            setattr(os, name, self._counted(getattr(os, name)))
        real = io.open

        def opened(file: object, mode: str = "r", *arguments: object, **options: object) -> Any:
            if not set(mode) & set("wax+"):
                return real(file, mode, *arguments, **options)
            last, new = self.count(), real(file, mode, *arguments, **options)
            if last:  # it is there, and empty
                os._exit(DIED)
            return _WatchedFile(new, self)

        builtins.open = io.open = opened

    def count(self) -> bool:
        """Note one; whether a write is to be torn, else it does not return from the last one."""
        self.left -= 1
        if self.left == 0 and not self.torn:
            os._exit(DIED)
        return self.left == 0

    def _counted(self, call: Callable) -> Callable:
        def counted(*arguments: object, **options: object) -> object:
            if self.count():  # done, or not, and nothing behind it
                with suppress(OSError):
                    call(*arguments, **options)
                os._exit(DIED)
            return call(*arguments, **options)

        return counted


class _WatchedFile:
    """A file that is written to."""

    def __init__(self, file: Any, deadly: DeadlyWrites) -> None:
        self._file, self._deadly = file, deadly

    def write(self, data: Any) -> int:
        if self._deadly.count():
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            os._exit(DIED)
        return self._file.write(data)

    def __enter__(self) -> "_WatchedFile":
        self._file.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._file.__exit__(*error)

    def __iter__(self) -> Iterator:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


# The tests' side.


@dataclass
class Child:
    """A child at work."""

    forge: "Forge"
    number: int
    said: Path
    begun: float = field(default_factory=time.monotonic)
    code: int | None = None

    def kill(self, whole_group: bool = True) -> None:
        """SIGKILL, to all its processes or to it alone; it may be over already."""
        with suppress(ProcessLookupError):
            (os.killpg if whole_group else os.kill)(self.number, signal.SIGKILL)

    def wait(self) -> int:
        """Its exit code; negative: the signal."""
        if self.code is None:
            self.code = int(self.forge.heard())
        return self.code

    @property
    def is_over(self) -> bool:
        return self.code is not None or self.forge.has_more

    @property
    def words(self) -> str:
        """What it said."""
        return self.said.read_text(errors="replace")


class Forge:
    """The process that forks, as tests see it; one child at a time."""

    def __init__(self, place: Path) -> None:
        self.place, self._count = place, 0
        root, tests = Path(__file__).parents[1], Path(__file__).parent
        paths = os.pathsep.join([str(root), str(tests)])
        environment = os.environ | {"PYTHONPATH": paths, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-u", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
        )
        assert self.heard() == "ready"

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()

    def heard(self) -> str:
        """Its next line."""
        line = self._process.stdout.readline()
        assert line, "the process that forks is gone"
        return line.decode().strip()

    @property
    def has_more(self) -> bool:
        """Whether it has something to say."""
        import select

        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def start(
        self, *arguments: object, folder: Path, target: str = COMMAND, deadly: int | None = None, torn: bool = False
    ) -> Child:
        """A child that does `target` (module:function) in a folder."""
        self._count += 1
        said = self.place / f"{self._count}.txt"
        work = {"target": target, "arguments": [*map(str, arguments)], "folder": str(folder), "said": str(said),
                "deadly": deadly, "torn": torn}  # fmt: skip
        self._process.stdin.write(json.dumps(work).encode() + b"\n")
        return Child(self, int(self.heard()), said)

    def done(self, *arguments: object, **options: Any) -> Child:
        """A child that came to its end and did all."""
        child = self.start(*arguments, **options)
        assert child.wait() == 0, child.words
        return child


def has_begun(folder: Path, number: int, holder: str = ".lock.holder") -> bool:
    """Whether a process has taken a folder's lock (`.lock`): it is at work, and no longer at its imports."""
    try:
        return (folder / holder).read_text().startswith(f"process {number} ")
    except OSError:
        return False


@contextmanager
def stopped_at_work(child: Child, folder: Path, holder: str = ".lock.holder") -> Iterator[None]:
    """Hold a child where it has just taken the lock for the time of the block; then it comes to its end."""
    while not has_begun(folder, child.number, holder):
        assert not child.is_over, child.words
        time.sleep(TOLD_BY)
    os.killpg(child.number, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(child.number, signal.SIGCONT)
        assert child.wait() == 0, child.words


def seconds_of_work(start: Callable[[], Child], folder: Path) -> float:
    """How long an uninterrupted command works in a folder, from taking its lock to its end."""
    child = start()
    while not (child.is_over or has_begun(folder, child.number)):
        time.sleep(TOLD_BY)
    begun = time.monotonic()
    assert child.wait() == 0, child.words
    return time.monotonic() - begun


@dataclass
class Killings:
    """A command that is killed at moments that a seed chooses, and started again until it comes to its end.

    Args:
        start: starts it, or the one that goes on from what is there.
        folder: that it works in.
        seconds: as `seconds_of_work`.
        kills: at most so many.
    """

    start: Callable[[], Child]
    folder: Path
    seconds: float
    seed: int
    kills: int = 1
    whole_group: bool = True
    hits: int = 0
    """Kills that met it alive."""

    def to_the_end(self) -> Child:
        """Returns the one that was not killed."""
        dice = random.Random(self.seed)
        for _ in range(dice.randint(1, self.kills)):
            child = self.start()
            self._strike(child, dice.random() * self.seconds)
            code = child.wait()
            assert code in (0, -signal.SIGKILL), child.words
            self.hits += code != 0
            if code == 0:
                return child
        child = self.start()
        assert child.wait() == 0, child.words
        return child

    def _strike(self, child: Child, moment: float) -> None:
        limit = time.monotonic() + PATIENCE
        while not has_begun(self.folder, child.number) and not child.is_over:
            assert time.monotonic() < limit
            time.sleep(TOLD_BY)
        until = time.monotonic() + moment
        while time.monotonic() < until and not child.is_over:
            time.sleep(TOLD_BY)
        child.kill(self.whole_group)


def over_every_write(
    forge: Forge, target: str, begin: Callable[[], tuple[Path, list[object]]], check: Callable[[Path], None],
    left: Callable[[Path], None] = lambda folder: None, torn: bool = False, step: int = 1,
) -> int:  # fmt: skip
    """Kill a function over its first write, then over its second, and so on, and let it be done again each time.

    Args:
        begin: makes a fresh folder; also the function's arguments.
        check: the state that has to come of it, whatever befell.
        left: what has to hold of what a killed one left.
        step: kill over every so-manieth only.

    Returns:
        over how many writes it was killed.
    """
    for deaths, deadly in enumerate(range(1, 1_000_000, step)):
        folder, arguments = begin()
        child = forge.start(*arguments, folder=folder, target=target, deadly=deadly, torn=torn)
        if (code := child.wait()) == 0:
            check(folder)
            return deaths
        assert code == DIED, child.words
        left(folder)
        forge.done(*arguments, folder=folder, target=target)
        check(folder)
        shutil.rmtree(folder)
    raise AssertionError


def files_of(root: Path, *without: str) -> dict[str, bytes]:
    """Every file below a folder but locks; that of one that was left by the dead would be among them."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith((".lock", ".holder")) and path.name not in without
    }


if __name__ == "__main__":
    sys.modules["killing"] = sys.modules["__main__"]
    serve()
