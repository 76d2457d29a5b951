"""Commands and functions run by several processes at once, as torchrun starts them, but from one that has torch loaded.

A server process imports the package once and forks from there: torchrun itself would import torch for each process.
"""

import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

PRELOADED = ["torch", "torch.distributed", "fsar_cli.cli.app", "fsar_cli.engine.train", "fsar_cli.recognise.scan"]


@dataclass(frozen=True)
class Finished:
    """What became of a process."""

    code: int
    out: str
    err: str


class Team:
    """Processes that are under way."""

    def __init__(self, folder: Path, processes: Sequence[BaseProcess]) -> None:
        self.folder, self.processes = folder, processes

    def finished(self, seconds: float = 240) -> list[Finished]:
        """Wait for all."""
        for process in self.processes:
            process.join(seconds)
            if process.is_alive():
                process.kill()
                process.join()
        return [Finished(p.exitcode, *self._said(rank)) for rank, p in enumerate(self.processes)]

    def _said(self, rank: int) -> tuple[str, str]:
        return tuple((self.folder / f"{name}-{rank}").read_text(errors="replace") for name in ("out", "err"))


def start(world: int, folder: Path, work: Callable[..., None], *arguments: object, **environ: str) -> Team:
    """`work(*arguments)` in so many processes, which see one another by torchrun's variables, from `folder`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank in range(world):
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        own = {name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        process = context.Process(target=_run, args=(folder, rank, own | environ, work, arguments), daemon=False)
        process.start()
        processes.append(process)
    return Team(folder, processes)


def command(world: int, folder: Path, *arguments: str, **environ: str) -> list[Finished]:
    """The command `fsar` with these arguments in so many processes, from `folder`."""
    return start(world, folder, _command, *map(str, arguments), **environ).finished()


def _run(folder: Path, rank: int, environ: Mapping[str, str], work: Callable[..., None], arguments: Sequence) -> None:
    os.environ.update({"OMP_NUM_THREADS": "1"} | dict(environ))
    os.chdir(folder)
    for name, number in (("out", 1), ("err", 2)):
        file = os.open(folder / f"{name}-{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w") for number in (1, 2))
    import torch

    torch.set_num_threads(1)
    code = 0
    try:
        work(*arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # as a process ends that has nothing more to say; no handlers of the server's


def _command(*arguments: str) -> None:
    from fsar_cli.cli.app import main

    sys.argv = ["fsar", *arguments]
    main()
