"""What the tests of live sources share."""

from pathlib import Path

import pytest
from streams import Chunk, transport_chunks
from videos import make_video

from fsar_cli.data.video.live import source


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, 25 frames a second, a key frame every fifth."""
    return make_video(tmp_path_factory.mktemp("live") / "clip.mp4", frames=50, fps=25, gop=5, bframes=0)


@pytest.fixture(scope="session")
def chunks(clip: Path) -> list[Chunk]:
    return transport_chunks(clip)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow one another at once."""
    monkeypatch.setattr(source, "BACK_OFF", (0.1,))
