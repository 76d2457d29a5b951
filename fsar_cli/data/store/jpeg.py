"""One stored frame: a picture as JPEG and back.

Both ways lead through libjpeg-turbo: by simplejpeg to write, which takes a decoder's planes as they are, and to read at
the size that is stored; by Pillow where a picture is scaled.
"""

from io import BytesIO

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from fsar_cli.data.video.picture import Planes


def encode(picture: np.ndarray | Planes, quality: int) -> bytes:
    """uint8 RGB [h, w, 3], or planes, as a JPEG file of quality 1 to 100 with colour at half the resolution."""
    if isinstance(picture, Planes):
        return simplejpeg.encode_jpeg_yuv_planes(picture.y, picture.u, picture.v, quality)
    return simplejpeg.encode_jpeg(picture, quality, "RGB", "420")


def decode(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """A JPEG file's bytes as uint8 RGB [h, w, 3] of a size (w, h); decoded at a fraction of its own where that will do.

    Raises:
        ValueError, OSError: it is damaged.
    """
    try:
        height, width, kind, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:  # its own text is for those who know libjpeg's functions
        raise ValueError("no picture") from error
    if (width, height) == size and kind == "YCbCr":
        return simplejpeg.decode_jpeg(data)
    try:
        with Image.open(BytesIO(data)) as image:
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
