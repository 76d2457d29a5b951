"""Where fsar keeps what can be made anew: the cache folder."""

import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """FSAR_CACHE, else `fsar` in XDG_CACHE_HOME, else ~/.cache/fsar; with `parts`, a folder in it, made by its user."""
    chosen = os.environ.get("FSAR_CACHE")
    base = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fsar"
    return base.joinpath(*parts)
