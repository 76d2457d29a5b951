"""The processes of one command: one alone, or those that torchrun started, on one machine or many.

    torchrun --nnodes=2 --nproc-per-node=4 --no-python fsar train --out RUN ...

Every process runs the same command on its share of the work, which is divided by index, and the first one alone writes.
They meet in the calls below, which each of them makes in the same order. What is small (numbers, errors, features)
travels by gloo; gradients on GPUs by NCCL. A process that ends, for whatever reason, ends the calls of all others at
once with `Interrupted`; what was saved before stays, and the same command goes on from it.
"""

import os
import pickle
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fsar_cli.errors import DataError, FsarError, Interrupted, UsageError

if TYPE_CHECKING:
    from torch import Tensor

Value = TypeVar("Value")

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
PATIENCE = timedelta(days=1)
"""How long the others may take. A dead process is noticed at once; the first may compare a large store for hours."""
NUMBERS_A_SUM = 2**25
"""Numbers that are added in one call: the room that this takes beside the gradients is bounded by them."""
GO_ON = "the same command goes on where it stopped"
LOST = "another process of this command ended or cannot be reached"


@dataclass(frozen=True)
class Ranks:
    """Which of the processes this one is, and what they do together. One alone does all of it by itself."""

    rank: int = 0
    world: int = 1
    """Processes in all."""
    local: int = 0
    """Which of those on this machine."""
    here: int = 1
    """Processes on this machine."""
    store: Any = None
    """torch's store of keys and values; None: there is one process."""

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there are no others."""
        return self.world == 1

    def share(self, items: Sequence[Value]) -> Sequence[Value]:
        """This process's items: every `world`-th one."""
        return items[self.rank :: self.world]

    def agreed(self, make: Callable[[], Value]) -> Value:
        """What the first process makes, on all of them; an error of it that a user can act on, too."""
        if self.alone:
            return make()
        made: Value | FsarError | None = None
        if self.first:
            try:
                made = make()
            except FsarError as error:
                made = error
        box = [made]
        with _meeting() as dist:
            dist.broadcast_object_list(box, src=0)
        if isinstance(box[0], FsarError):
            raise box[0]
        return cast(Value, made if self.first else box[0])  # as the first one makes it, which None may be, too

    def all(self, value: Value) -> list[Value]:
        """The values of all processes, by rank."""
        if self.alone:
            return [value]
        found: list[Any] = [None] * self.world
        with _meeting() as dist:
            dist.all_gather_object(found, value)
        return found

    def gathered(self, value: Value) -> list[Value]:
        """The same on the first process; on the others nothing."""
        if self.alone:
            return [value]
        found: list[Any] | None = [None] * self.world if self.first else None
        with _meeting() as dist:
            dist.gather_object(value, found, dst=0)
        return found or []

    def any(self, flag: bool) -> bool:
        """Whether it is so on one of them."""
        if self.alone:
            return flag
        import torch

        found = torch.tensor(int(flag))
        with _meeting() as dist:
            dist.all_reduce(found, dist.ReduceOp.MAX)
        return bool(found)

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """Each tensor becomes its sum over all processes, in place; of one device and type, shapes as everywhere."""
        for some in () if self.alone else _groups(tensors):
            import torch

            flat = torch.cat([tensor.reshape(-1) for tensor in some])
            with _meeting() as dist:
                dist.all_reduce(flat)
            for tensor, part in zip(some, flat.split([tensor.numel() for tensor in some]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def copy(self, tensors: "Sequence[Tensor]") -> None:
        """Each tensor becomes that of the first process, in place."""
        for tensor in () if self.alone else tensors:
            tensor = tensor.detach()
            whole = tensor.contiguous()
            with _meeting() as dist:
                dist.broadcast(whole, src=0)
            if whole is not tensor:
                tensor.copy_(whole)

    def spread(self, tensors: "dict[str, Tensor] | None") -> "dict[str, Tensor]":
        """Tensors of the CPU by name that the first process has, on all of them."""
        if self.alone:
            return tensors or {}
        import torch

        shapes = self.agreed(lambda: {name: (t.shape, t.dtype) for name, t in (tensors or {}).items()})
        held = tensors or {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in shapes.items()}
        self.copy([t.view(torch.uint8) if t.dtype == torch.bool else t for t in held.values()])
        return held

    @contextmanager
    def conducting(self) -> Iterator[None]:
        """On the first process: within the block `call` has the others do a piece of work with it (`called`)."""
        yield
        self.agreed(lambda: False)

    def call(self) -> None:
        """See `conducting`."""
        self.agreed(lambda: True)

    def called(self) -> bool:
        """On the others: wait for the first one's call; False: its block is over."""
        return self.agreed(lambda: False)

    def post(self, value: object) -> None:
        """Hand a value to the first process, which takes it (`posted`) when it comes to it."""
        with _meeting():
            self.store.queue_push("posted", pickle.dumps(value))

    def posted(self, count: int, ready: bool) -> Iterator[Any]:
        """On the first process: what the others have posted.

        Args:
            count: how many values are still to come.
            ready: only those that are there; else all are waited for.
        """
        while count and not self.alone:
            with _meeting():
                there = self.store.queue_len("posted")
                values = [pickle.loads(self.store.queue_pop("posted")) for _ in range(min(there, count))]
            yield from values
            count -= len(values)
            if ready:
                return
            if count:
                time.sleep(0.05)


ALONE = Ranks()


def _groups(tensors: "Sequence[Tensor]") -> "Iterator[list[Tensor]]":
    group: list[Tensor] = []
    for tensor in tensors:
        if group and sum(t.numel() for t in group) + tensor.numel() > NUMBERS_A_SUM:
            yield group
            group = []
        group.append(tensor)
    if group:
        yield group


@contextmanager
def _meeting() -> Iterator[Any]:
    """Around what processes do together: that one is gone is no error of torch but of ours."""
    import torch.distributed as dist

    try:
        yield dist
    except FsarError:
        raise
    except RuntimeError as error:  # of many kinds; a closed connection is one of gloo's without a name
        raise Interrupted(LOST, GO_ON) from error


def of_environment() -> Ranks:
    """Which process this one is, as torchrun says, if it does; it is not joined to the others.

    Raises:
        DataError: what the variables hold is no number.
    """
    try:
        rank, world, local, here = (
            int(os.environ.get(name, default)) for name, default in zip(NAMES, (0, 1, 0, 1), strict=True)
        )
    except ValueError as error:
        raise DataError(f"{', '.join(NAMES)} must be numbers, as torchrun sets them: {error}") from error
    return Ranks(rank, world, local, here)


def restartable() -> bool:
    """Whether torchrun starts the processes anew where one of them ends."""
    return os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") not in ("", "0")


def restarted() -> bool:
    """Whether torchrun has started the processes anew, as one of them had ended."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") not in ("", "0")


@contextmanager
def joined() -> Iterator[Ranks]:
    """The processes of torchrun, joined for the length of the block; this one alone where there are no others.

    SIGTERM, which torchrun sends where one has ended, and a scheduler at the end of its time, raises Interrupted.

    Raises:
        UsageError: the variables say that there are others, and not where.
    """
    own = of_environment()
    if own.alone:
        yield ALONE
        return
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    try:
        store, rank, world = next(rendezvous("env://", timeout=PATIENCE))
    except ValueError as error:
        raise UsageError(f"WORLD_SIZE is {own.world}, and not all is set that joins processes: {error}",
                         "torchrun sets it; or unset WORLD_SIZE") from error  # fmt: skip
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    with _terminable():
        with _meeting():
            store = PrefixStore(_word_of_attempt(store, rank, world), store)
            place = PrefixStore("group", store)
            dist.init_process_group(backend, store=place, rank=rank, world_size=world, timeout=PATIENCE)
        ranks = Ranks(rank, world, own.local, own.here, PrefixStore("values", store))
        yield ranks
        ranks.any(False)  # nobody leaves while another is still to meet it
        dist.destroy_process_group()


def _word_of_attempt(store: Any, rank: int, world: int) -> str:
    """A word that the processes of this attempt share, and no other attempt.

    torchrun keeps one store for all of them, in which what earlier ones have written still stands, and counts attempts
    on each machine by itself. So each process says a word of its own, the first one answers it by its own, and goes on
    doing so until each has heard it: an answer to a word of before reaches nobody.
    """
    own = secrets.token_hex(8)
    store.set(f"hello-{rank}", own)
    if rank:
        word: str = store.get(f"welcome-{own}").decode()
        store.set(f"here-{word}-{rank}", "")
        return word
    waiting = set(range(1, world))
    while waiting:
        for other in waiting:
            if store.check([f"hello-{other}"]):
                store.set(f"welcome-{store.get(f'hello-{other}').decode()}", own)
        waiting = {other for other in waiting if not store.check([f"here-{own}-{other}"])}
        time.sleep(0.02)
    return own


@contextmanager
def _terminable() -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise Interrupted("stopped, as the scheduler asked or another process ended", GO_ON)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
