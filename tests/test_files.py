"""Files are whole or absent, locks die with their process, one process makes an entry; and what the machine gives."""

import errno
import json
import multiprocessing
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from fsar_cli import leftovers
from fsar_cli.errors import UsageError
from fsar_cli.files import (
    IN_USE_SECONDS,
    Cache,
    _read_holder,
    atomic,
    available_memory,
    cache_folder,
    complete_rows,
    cores,
    lock,
    scratch,
    write_rows,
    write_whole,
)  # fmt: skip

PROCESSES = multiprocessing.get_context("fork")
KEYS = "abcd"


def test_a_file_is_the_old_one_or_the_new_one_and_nothing_stays_beside_it(tmp_path):
    path = tmp_path / ("x" * 240 + ".txt")
    write_whole(path, "old\r\nü")
    assert path.read_bytes() == "old\r\nü".encode()
    with pytest.raises(ZeroDivisionError), atomic(path) as part:
        part.write_text("half")
        assert part.suffix == ".txt" and part.name.startswith(".")
        raise ZeroDivisionError
    assert path.read_bytes() == "old\r\nü".encode()
    with atomic(path) as part:
        part.write_text("new")
        assert path.read_bytes() == "old\r\nü".encode()
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_file_gets_the_mode_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "x", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def full(*_, **__):
    """In place of a function of the system that writes; of what is open it names no file."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    for write in (lambda: write_whole(path, "new"), lambda: write_rows(path, ["a"], [])):
        with pytest.raises(OSError, match=f"No space left on device: '{path}'$"):
            write()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError, match=f"'{tmp_path}/none/x'$"):
        write_whole(tmp_path / "none/x", "")
    with pytest.raises(OSError, match=r"'other'$"), atomic(path):
        raise OSError(errno.EIO, "of a file that is read meanwhile", "other")


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", b"text")
    assert os.read(reader, 9) == b"text" and (tmp_path / "pipe").is_fifo()
    os.close(reader)


def test_tables_hold_any_name_and_an_unfinished_last_row_is_passed_over(tmp_path):
    names = ["a,b", "line\nbreak", os.fsdecode(b"\xff"), 'quo"te']
    write_rows(tmp_path / "t.csv", ["name", "n"], zip(names, range(4), strict=True))
    with (tmp_path / "t.csv").open("a") as file:
        file.write("unfini")
    assert list(complete_rows(tmp_path / "t.csv")) == [[name, str(n)] for n, name in enumerate(names)]
    assert list(complete_rows(tmp_path / "none.csv")) == []


def test_a_lock_is_one_processs_and_dies_with_it(tmp_path):
    path, busy = tmp_path / "x.lock", ("taken", "wait")
    hold = "import time\nfrom pathlib import Path\nfrom fsar_cli.files import lock\n"
    hold += f"with lock(Path({str(path)!r})):\n    print('mine', flush=True)\n    time.sleep(60)\n"
    process = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "mine\n"
    for _ in range(2):  # asking changes nothing of the answer
        with pytest.raises(UsageError, match=f"taken: process {process.pid} on .+ since 20"), lock(path, busy):
            pass
    process.kill()
    process.communicate()
    with lock(path, busy):
        pass
    with pytest.raises(ZeroDivisionError), lock(path):
        raise ZeroDivisionError
    with lock(path, busy):
        pass


def test_who_is_refused_hears_who_holds_the_lock_and_since_when(tmp_path):
    busy = ("o is in use", "wait")
    # What a killed process left is no answer.
    (tmp_path / "l.holder").write_text(f"process 99999999 on {platform.node()} since 2020-01-01 00:00:00")
    assert _read_holder(tmp_path / "l.holder") == ""
    with lock(tmp_path / "l.lock"), pytest.raises(UsageError) as caught, lock(tmp_path / "l.lock", busy):
        pass
    assert re.fullmatch(rf"o is in use: process {os.getpid()} on .+ since 20\d\d-.*", caught.value.message)
    assert not (tmp_path / "l.holder").exists()


def test_a_lock_outlives_the_workers_of_the_one_who_has_it(tmp_path):
    with lock(tmp_path / "x.lock"):
        at_once([lambda: None])
        assert at_once([lambda: refused(tmp_path / "x.lock")]) == [0]


def test_words_that_a_killed_holder_left_are_not_those_of_the_next(tmp_path, monkeypatch):
    (tmp_path / "x.holder").write_text("process 1 on another since long ago")
    with lock(tmp_path / "x.lock"):
        assert f"process {os.getpid()} on" in (tmp_path / "x.holder").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["x.lock"]
    (tmp_path / "x.holder").write_text("process 1 on another since long ago")
    monkeypatch.setattr(Path, "write_text", failing(OSError(28, "No space left on device")))
    with lock(tmp_path / "x.lock"):  # nothing can be said, and nothing wrong is
        assert at_once([lambda: refused(tmp_path / "x.lock", "taken$")]) == [0]


@pytest.mark.parametrize("error", [NotImplementedError("no flock here"), OSError(errno.ENOLCK, "No locks available")])
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, error):
    monkeypatch.setattr("fsar_cli.files.FileLock.acquire", failing(error))
    with pytest.raises(OSError, match="locks") as caught, lock(tmp_path / "x.lock"):
        pass
    assert (caught.value.errno, caught.value.filename) == (errno.ENOLCK, str(tmp_path / "x.lock"))


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def refused(path: Path, words: str = "taken") -> None:
    with pytest.raises(UsageError, match=words), lock(path, busy=("taken", "")):
        pass


def at_once(tasks: list[Callable[[], None]]) -> list[int]:
    """Exit codes of processes that do these at the same time."""
    processes = [PROCESSES.Process(target=task) for task in tasks]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def fill(cache: Cache, key: str) -> None:
    cache.get(key, lambda folder: (folder / "f").write_bytes(b"x" * 10))


def entries(cache: Cache) -> set[str]:
    """Names of the folders in a cache, unfinished ones too."""
    return {entry.name for entry in cache.folder.iterdir() if entry.is_dir()}


def age(cache: Cache, key: str, by: float = IN_USE_SECONDS + 1) -> None:
    then = time.time() - by
    os.utime(cache.folder / key, (then, then))


def test_processes_that_make_and_tidy_the_same_entries_at_once_do_not_fall(tmp_path):
    def work() -> None:
        cache = Cache(tmp_path / "cache", limit=15)
        for n in range(60):
            fill(cache, KEYS[n % len(KEYS)])
            with suppress(FileNotFoundError):  # it may be gone: this ageing makes others drop what they just made
                age(cache, KEYS[n % len(KEYS)])

    assert at_once([work] * 4) == [0] * 4


def test_one_process_makes_an_entry_and_the_others_wait_for_it(tmp_path):
    def make(folder: Path) -> None:
        with (tmp_path / "made").open("a") as file:
            file.write("x")
        time.sleep(0.3)
        (folder / "f").write_text("whole")

    def ask() -> None:
        assert (Cache(tmp_path / "cache").get("key", make) / "f").read_text() == "whole"

    assert at_once([ask] * 5) == [0] * 5
    assert (tmp_path / "made").read_text() == "x"


def test_a_killed_maker_leaves_nothing_that_looks_finished_and_the_next_one_makes_it(tmp_path):
    cache = Cache(tmp_path / "cache")

    def die(folder: Path) -> None:
        (folder / "half").write_text("x")
        os.kill(os.getpid(), signal.SIGKILL)

    assert at_once([lambda: cache.get("a", die), lambda: cache.get("b", die)]) == [-signal.SIGKILL] * 2
    assert cache.find("a") is None
    fill(cache, "a")
    assert [file.name for file in cache.find("a").iterdir()] == ["f"]
    assert entries(cache) == {"a"}, "what was begun of b is gone, too"


def test_an_entry_appears_whole_or_not_at_all(tmp_path):
    cache = Cache(tmp_path / "cache")

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        assert cache.find("a") is None
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.get("a", fail)
    assert cache.find("a") is None and entries(cache) == set()
    fill(cache, "a")
    assert (cache.get("a", fail) / "f").read_bytes() == b"x" * 10
    cache.drop("a")
    assert cache.find("a") is None
    cache.drop("a")


def test_the_entries_unused_for_longest_go_first_and_none_that_is_being_made(tmp_path):
    cache = Cache(tmp_path / "cache", limit=25)
    for key in "ab":
        fill(cache, key)
        age(cache, key)
    assert cache.find("a"), "finding is using"
    with lock(cache.folder / ".d.lock"):
        (cache.folder / ".d").mkdir()
        fill(cache, "c")
    assert entries(cache) == {"a", "c", ".d"}
    assert time.time() - (cache.folder / "a").stat().st_mtime < IN_USE_SECONDS


def test_an_entry_larger_than_the_limit_is_kept_while_it_may_be_in_use(tmp_path):
    cache = Cache(tmp_path / "cache", limit=5)
    fill(cache, "a")
    fill(cache, "b")
    assert entries(cache) == {"a", "b"}
    age(cache, "a")
    fill(cache, "c")
    assert entries(cache) == {"b", "c"}


def test_a_cache_that_one_may_only_read_is_read(tmp_path, monkeypatch):
    cache = Cache(tmp_path / "cache")
    fill(cache, "a")

    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr("fsar_cli.files.FileLock", refuse)
    fill(cache, "a")


@pytest.mark.parametrize("harm", [lambda file: os.truncate(file, 3), os.unlink])
def test_a_damaged_entry_is_made_anew_once(tmp_path, harm):
    cache, made = Cache(tmp_path / "cache"), []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "f").write_text('"whole"')

    def read(folder: Path) -> str:
        return json.loads((folder / "f").read_text())

    assert cache.read("a", make, read) == cache.read("a", make, read) == "whole" and len(made) == 1
    harm(cache.find("a") / "f")
    assert cache.read("a", make, read) == "whole" and len(made) == 2
    cache.drop = lambda key: None
    harm(cache.find("a") / "f")
    with pytest.raises(PermissionError):
        cache.read("a", make, read)


def test_scratch_lies_where_there_is_room(tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path / "cache"))
    with scratch("some", 1000, said.append) as folder:
        assert folder.parent == tmp_path / "cache/some" and list(folder.iterdir()) == said == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path / "file"))
    with scratch("some", 1000, said.append) as folder:
        assert folder.parent == tmp_path
    assert said == [f"{tmp_path}/file keeps nothing (Not a directory): going on without a cache"]
    monkeypatch.setattr("fsar_cli.files.allocate", full)
    with pytest.raises(OSError, match="No space left"), scratch("some", 1000, said.append):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "file"} and not any(
        (tmp_path / "cache/some").iterdir()
    )


def test_the_cache_is_where_the_environment_or_the_desktop_standard_says(monkeypatch):
    monkeypatch.setenv("FSAR_CACHE", "/else/where")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert cache_folder("lists") == Path("/else/where/lists")
    monkeypatch.setenv("FSAR_CACHE", "~/cache")
    assert cache_folder() == Path.home() / "cache"
    monkeypatch.delenv("FSAR_CACHE")
    assert cache_folder() == Path("/some/where/fsar")
    for value in ("", "relative/place"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder("a", "b") == Path.home() / ".cache/fsar/a/b"
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert cache_folder() == Path("/.cache/fsar"), "as in containers, for a user without a home"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not bind processes to cores")
def test_cores_are_those_the_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores() == cores(8) == 1
    finally:
        os.sched_setaffinity(0, before)
    assert cores() == len(before) and cores(1) == 1


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    for name, text in {
        "proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n",
        "proc/self/cgroup": groups,
        **files,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def group(place: str, limit: str, used: int, files: int = 0, version: int = 2) -> dict[str, str]:
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    key = "inactive_file" if version == 2 else "total_inactive_file"
    values = {names[0]: f"{limit}\n", names[1]: f"{used}\n", "memory.stat": f"anon 5\n{key} {files}\n"}
    return {f"sys/fs/cgroup/{place}{name}": text for name, text in values.items()}


def test_available_memory_is_what_the_machine_and_every_limit_around_leave(tmp_path):
    kib = 1024
    assert available_memory(machine(tmp_path / "free", "0::/\n", {})) == 8000 * kib
    unlimited = group("a/b/", "max", 100 * kib)
    assert available_memory(machine(tmp_path / "unlimited", "0::/a/b\n", unlimited)) == 8000 * kib
    outer = unlimited | group("a/", str(3000 * kib), 1000 * kib, files=500 * kib)
    assert available_memory(machine(tmp_path / "outer", "0::/a/b\n", outer)) == 2500 * kib
    container = group("", str(700 * kib), 200 * kib)  # the name is one of the host's
    assert available_memory(machine(tmp_path / "container", "0::/docker/123\n", container)) == 500 * kib
    first = group("memory/job/", str(900 * kib), 1000 * kib, 50 * kib, version=1)
    assert available_memory(machine(tmp_path / "first", "5:cpu,memory:/job\n4:pids:/\n", first)) == 0
    assert available_memory(tmp_path / "nowhere") == 4 * 2**30


def killed_over(path: Path, within: Callable) -> int:
    """The number of a process that was killed in the middle of a file."""

    def die() -> None:
        with within(path) as part:
            (part if part.suffix else part / "f").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    process = PROCESSES.Process(target=die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return process.pid


def test_what_a_killed_process_left_is_removed_and_what_may_be_anothers_stays(tmp_path, monkeypatch):
    pid, here = killed_over(tmp_path / "x.txt", atomic), leftovers.machine()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(f".fsar-{pid}-{here}-") and left.read_text() == "half"
    others = {
        f".fsar-{pid}-{'0' * 8}-1.txt",  # of another machine
        f".fsar-{os.getppid()}-{here}-1.txt",  # of a living process
        f".fsar-99999999999-{here}-1.txt",  # no number of a process
        f".fsar-{pid}.txt", "fsar-notes.txt", f"x.fsar-{pid}-{here}-1.txt",  # the user's own
    }  # fmt: skip
    for name in others:
        (tmp_path / name).touch()
    write_whole(tmp_path / "y.txt", "whole")
    assert {path.name for path in tmp_path.iterdir()} == others | {"y.txt"}


def test_what_a_killed_process_left_makes_room_before_anything_is_written_and_is_looked_for_once(tmp_path, monkeypatch):
    killed_over(tmp_path / "x.txt", atomic)
    with atomic(tmp_path / "y.txt") as part:
        assert not list(tmp_path.iterdir())
        part.touch()
    monkeypatch.setattr(os, "scandir", lambda _: pytest.fail("looked for again"))
    write_whole(tmp_path / "z.txt", "whole")


def test_scratch_of_a_killed_process_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path))
    killed_over(tmp_path, lambda _: scratch("some", 10, print))
    assert len(list((tmp_path / "some").iterdir())) == 1
    with scratch("some", 10, print) as folder:
        assert list((tmp_path / "some").iterdir()) == [folder]
