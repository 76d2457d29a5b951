"""Run the command line inside the test process, as the console script does."""

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from fsar_cli.cli import app


@dataclass(frozen=True)
class Result:
    """Exit code and both outputs of one command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one document on stdout."""
        return json.loads(self.out)


@pytest.fixture
def fsar(tmp_path, monkeypatch, capsys):
    """`fsar("splits", "list")` -> Result, run in an empty folder with no FSAR_ variable set."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name == "FSAR_DEBUG" or (name.startswith("FSAR_") and "__" in name)]:
        monkeypatch.delenv(name)

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["fsar", *map(str, arguments)])
        try:
            app.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return Result(code, *capsys.readouterr())

    return run
