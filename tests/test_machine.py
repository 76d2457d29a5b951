"""Cores and the cache folder follow the system and its variables."""

import os
from pathlib import Path

import pytest

from fsar_cli.machine import cache_folder, cores


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
