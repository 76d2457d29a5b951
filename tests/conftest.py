"""Fixtures every test folder shares."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

os.environ["COLUMNS"] = "200"  # tables are not folded, whoever runs the tests
sys.path.insert(0, str(Path(__file__).parent))

from videos import make_video

from fsar_cli.cli import app

if TYPE_CHECKING:
    from killing import Forge

# Tests run side by side (pytest -n): threads of several processes on the same cores would wait for one another.
torch.set_num_threads(1)

# A shell's background jobs ignore Ctrl-C and hand that on; commands that tests interrupt must not inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(os.environ.get("FSAR_SHARED") or Path(__file__).resolve().parents[2] / "shared")


@pytest.fixture(scope="session", autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the tests' own: they neither read nor fill the user's."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ.pop("FSAR_CACHE", None)
    os.environ["XDG_CACHE_HOME"] = str(folder)
    return folder


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """An empty folder with nothing beside it: data sets are looked for beside the working folder, too."""
    alone = tmp_path / "alone"
    alone.mkdir()
    return alone


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real clips, weights and reference values; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no folder {SHARED.name} beside the repository; FSAR_SHARED names another place")
    return SHARED


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class/video tree: 4 classes x 3 videos of 12 to 18 frames, 64 x 48, counter pictures. Read only."""
    root = tmp_path_factory.mktemp("videos")
    for c, name in enumerate(("climb", "fall", "kick", "wave")):
        for v in range(3):
            make_video(root / name / f"{name}_{v}.mp4", frames=12 + 2 * v + c % 2, first=100 * c + 20 * v)
    return root


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project (`small_project`): videos/, frames/ and splits.csv. Read only."""
    from small_project import make_project

    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Forge"]:
    """A process whose children do what is to be killed (`killing`)."""
    from killing import Forge

    made = Forge(tmp_path_factory.mktemp("said"))
    yield made
    made.close()


@pytest.fixture
def cuda() -> Iterator[torch.device]:
    """The first GPU, computing in full float32; where FSAR_EXPECT_CUDA=1 its absence is a failure."""
    if not torch.cuda.is_available():
        if os.environ.get("FSAR_EXPECT_CUDA") == "1":
            pytest.fail("FSAR_EXPECT_CUDA=1, but torch sees no CUDA device")
        pytest.skip("no CUDA device")
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    yield torch.device("cuda", 0)
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.set_float32_matmul_precision(products)


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
def fsar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
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
