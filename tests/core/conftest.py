"""Fixtures of the core's tests."""

import pytest
from core_parts import tiny_backbone

from fsar_cli.core import build


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods are built on the tiny trunk instead of a torchvision network."""
    monkeypatch.setattr(build, "build_backbone", tiny_backbone)
