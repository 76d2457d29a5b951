"""One stored frame: a picture as JPEG and back."""

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError


def encode(picture: np.ndarray, quality: int) -> bytes:
    """uint8 RGB [h, w, 3] as a JPEG file of quality 1 to 100."""
    data = BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=quality)
    return data.getvalue()


def decode(file: Path | BinaryIO, size: tuple[int, int]) -> np.ndarray:
    """A JPEG as uint8 RGB [h, w, 3] of a size (w, h); decoded at a fraction of its own where that is large enough.

    Raises:
        OSError, ValueError: it is missing or damaged.
    """
    try:
        with Image.open(file) as image:
            if image.size != size:
                image.draft("RGB", size)
            return resized(image.convert("RGB"), size)
    except UnidentifiedImageError as error:  # its own text names no file but an object
        raise ValueError("no picture") from error
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error


def resized(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """A picture of a size (w, h), by the one filter that every kind of store uses."""
    return np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR))
