"""What several processes do together: each call on two and three real processes, and alone."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from together import start

from fsar_cli import ranks as module
from fsar_cli.errors import DataError
from fsar_cli.ranks import ALONE, joined


def _together() -> None:
    module.NUMBERS_A_SUM = 10  # so that tensors are added in groups, and one is larger than a group
    with joined() as ranks:
        mine, world = ranks.rank, ranks.world
        assert ranks.first == (mine == 0) and not ranks.alone and ranks.here == world
        assert [i for part in ranks.all(list(ranks.share(range(7)))) for i in part] == [
            i for r in range(world) for i in range(7)[r::world]
        ]
        tensors = [torch.full((n,), float(mine + 1)) for n in (4, 5, 25, 1)] + [torch.ones(2, 2, dtype=torch.float64)]
        ranks.add(tensors[:4])
        ranks.add(tensors[4:])
        total = world * (world + 1) / 2
        assert all(bool((t == total).all()) for t in tensors[:4]) and bool((tensors[4] == world).all())
        parameter = torch.nn.Parameter(torch.full((2, 3, 4, 4), float(mine)).to(memory_format=torch.channels_last))
        ranks.copy([parameter])
        assert bool((parameter == 0).all()) and parameter.is_contiguous(memory_format=torch.channels_last)
        own = {"a": torch.arange(3), "b": torch.tensor([True, False])} if ranks.first else None
        spread = ranks.spread(own)
        assert torch.equal(spread["a"], torch.arange(3)) and spread["b"].tolist() == [True, False]
        assert ranks.any(mine == 1) and not ranks.any(False)
        assert ranks.agreed(lambda: (mine, None)) == (0, None) and ranks.agreed(lambda: None) is None
        assert ranks.gathered(mine) == ([*range(world)] if ranks.first else [])
        with pytest.raises(DataError, match="as the first one says") as raised:
            ranks.agreed(_refused)
        assert raised.value.hint == "a hint"
        _conducted(ranks)
        _posted(ranks)


def _refused() -> None:
    raise DataError("as the first one says", "a hint")


def _conducted(ranks: module.Ranks) -> None:
    """The others do each piece of work that the first one calls for, and no other."""
    if ranks.first:
        with ranks.conducting():
            for number in range(3):
                ranks.call()
                assert ranks.all(number) == [number] * ranks.world
        return
    done = 0
    while ranks.called():
        ranks.all(done)
        done += 1
    assert done == 3


def _posted(ranks: module.Ranks) -> None:
    """What others post arrives, in the order of each; none is lost where it comes late."""
    if not ranks.first:
        for number in range(4):
            time.sleep(0.02 * ranks.rank)
            ranks.post((ranks.rank, number))
        return
    count, found = 4 * (ranks.world - 1), []
    found += ranks.posted(count, ready=True)
    found += ranks.posted(count - len(found), ready=False)
    assert len(found) == count
    assert all([n for r, n in found if r == rank] == [*range(4)] for rank in range(1, ranks.world))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_add_copy_agree_and_post(tmp_path: Path, world: int) -> None:
    ends = start(world, tmp_path, _together).finished(120)
    assert [end.code for end in ends] == [0] * world, [end.err for end in ends]


def test_processes_of_an_attempt_share_a_word_that_no_other_attempt_had() -> None:
    """In one store, in which what earlier attempts have said still stands; the first process comes last or first."""
    store, words = torch.distributed.HashStore(), []
    for first_waits in (False, True, False):
        with ThreadPoolExecutor(3) as threads:
            order = (1, 2, 0) if first_waits else (0, 2, 1)
            said = [threads.submit(module._word_of_attempt, store, rank, 3) for rank in order]
            found = {future.result(timeout=20) for future in said}
        assert len(found) == 1
        words += found
    assert len(set(words)) == 3


def test_one_process_does_all_by_itself_and_joins_nobody() -> None:
    with joined() as ranks:
        assert ranks is ALONE and ranks.share("abc") == "abc" and ranks.all(1) == [1] == ranks.gathered(1)
    tensors = [torch.ones(2)]
    ALONE.add(tensors)
    ALONE.copy(tensors)
    assert tensors[0].tolist() == [1, 1] and ALONE.any(True) and not ALONE.any(False)
    assert ALONE.agreed(lambda: 5) == 5 and list(ALONE.posted(0, ready=False)) == []
    assert ALONE.spread({"a": tensors[0]})["a"] is tensors[0]
    assert not torch.distributed.is_initialized()


def test_processor_cores_and_gpus_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsar_cli.engine import device

    monkeypatch.setattr(device, "cores", lambda: 16)
    four = module.Ranks(5, 8, 1, 4)
    assert device.loader_workers(None, torch.device("cuda"), ranks=four) == 4
    assert device.loader_workers(None, torch.device("cpu"), ranks=four) == 2
    assert device.loader_workers(7, torch.device("cpu"), ranks=four) == 7
    chosen = []
    monkeypatch.setattr(device, "_require_cuda", chosen.append)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    for name, expected in (("cuda", "cuda:1"), ("cuda:0", "cuda:0"), ("cpu", "cpu")):
        assert str(device.resolve_device(name, ranks=four)) == expected
    assert chosen == [1, 0]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert str(device.resolve_device("auto", ranks=four)) == "cpu"


def test_ranks_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in module.NAMES:
        monkeypatch.delenv(name, raising=False)
    assert module.of_environment() == ALONE
    for name, value in zip(module.NAMES, ("3", "4", "1", "2"), strict=True):
        monkeypatch.setenv(name, value)
    assert module.of_environment() == module.Ranks(3, 4, 1, 2)
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(DataError, match="must be numbers"):
        module.of_environment()
