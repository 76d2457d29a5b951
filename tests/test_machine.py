"""Cores and the cache folder follow the system and its variables."""

import os
from pathlib import Path

import pytest

from fsar_cli.machine import available_memory, cache_folder, cores


def test_the_cache_is_where_the_environment_or_the_desktop_standard_says(monkeypatch):
    monkeypatch.setenv("FSAR_CACHE", "/else/where")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert cache_folder("lists") == Path("/else/where/lists")
    monkeypatch.delenv("FSAR_CACHE")
    assert cache_folder() == Path("/some/where/fsar")
    for value in ("", "relative/place"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder("a", "b") == Path.home() / ".cache/fsar/a/b"


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
