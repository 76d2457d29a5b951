"""What a clip was made from, as a store remembers it: size, time and content of a video file or a folder of pictures.

Size and time tell at a glance whether a source may have changed; only where they differ is it read whole. A copy, or a
file that was merely touched, has the same content and stays in the store.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from fsar_cli.data.store.pictures import read_pictures


def state_of(path: Path) -> tuple[int, int]:
    """(bytes, modification time in ns) of a file, or of all pictures of a folder together. Raises OSError."""
    facts = path.stat()
    if not path.is_dir():
        return facts.st_size, facts.st_mtime_ns
    pictures = [picture.stat() for picture in read_pictures(path).files.values()]
    return sum(p.st_size for p in pictures), max((p.st_mtime_ns for p in pictures), default=facts.st_mtime_ns)


def content_of(path: Path) -> str:
    """Digest of all bytes of a file, or of a folder's pictures with their order: 32 hex digits. Raises OSError."""
    return _content(path, (*state_of(path), path.stat().st_ctime_ns))


@lru_cache(maxsize=256)  # many clips may be cut from one long video
def _content(path: Path, state: tuple[int, int, int]) -> str:
    if not path.is_dir():
        return _digest(path).hexdigest()
    numbered = read_pictures(path).files
    whole = hashlib.blake2b(digest_size=16)
    for number, picture in numbered.items():
        whole.update(f"{number - min(numbered)} ".encode() + _digest(picture).digest())
    return whole.hexdigest()


def _digest(path: Path) -> "hashlib._Hash":
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))


def is_gone(path: Path) -> bool:
    """Whether nothing is there; what merely cannot be looked at is not gone."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
