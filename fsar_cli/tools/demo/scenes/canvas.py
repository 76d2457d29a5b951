"""The stage on which one action is drawn: a small square patch of the frame with its own units.

Stage units: x to the right and y up from the ground, a standing person is 1 high; the patch shows x in about
[-0.8, 0.8] and y in [-0.2, 1.4]. Solid shapes go through Pillow at twice the resolution; soft things (puffs, glows) are
sums of axis-aligned Gaussians, which factorise into two thin matrices, so a hundred of them cost one matrix product.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[float, float, float]
SIDE = 96  # patch side in source pixels
OVERSAMPLE = 2
EYE_LEVEL = 0.6  # stage height shown in the middle of the patch
REACH = 40.0  # nothing counts as acting further than this from the patch centre (source pixels)


class Canvas:
    """One frame's drawing surface.

    Args:
        scale: source pixels per stage unit (the height of a person).
        mirror: 1, or -1 to flip the stage left to right.
        light: RGB gain of the scene, applied to everything that does not shine itself.
        side: patch side in source pixels.
    """

    def __init__(self, scale: float, mirror: int = 1, light: Colour = (1.0, 1.0, 1.0), side: int = SIDE) -> None:
        self.scale, self.mirror, self.light, self.side = scale, mirror, light, side
        self.middle = side / 2
        self.ground = side / 2 + EYE_LEVEL * scale
        self._image = Image.new("RGBA", (side * OVERSAMPLE,) * 2)
        self._pen = ImageDraw.Draw(self._image)
        self._puffs: list[tuple[np.ndarray, ...]] = []
        self._glows: list[tuple[np.ndarray, ...]] = []
        self._shadows: list[tuple[np.ndarray, ...]] = []

    def _at(self, x: float, y: float) -> tuple[float, float]:
        s = self.scale
        return (self.middle + self.mirror * x * s) * OVERSAMPLE, (self.ground - y * s) * OVERSAMPLE

    def _paint(self, colour: Colour, shines: bool) -> tuple[int, int, int, int]:
        gain = (1.0, 1.0, 1.0) if shines else self.light
        r, g, b = (min(255, max(0, int(255 * c * k))) for c, k in zip(colour, gain, strict=True))
        return r, g, b, 255

    def line(self, points: Sequence[tuple[float, float]], width: float, colour: Colour, shines: bool = False) -> None:
        """A stroke with round ends through `points` (stage units)."""
        paint, pixels = self._paint(colour, shines), [self._at(x, y) for x, y in points]
        thick = max(1.0, width * self.scale * OVERSAMPLE)
        self._pen.line(pixels, fill=paint, width=round(thick), joint="curve")
        if thick > 3:
            for px, py in (pixels[0], pixels[-1]):
                self._pen.ellipse((px - thick / 2, py - thick / 2, px + thick / 2, py + thick / 2), fill=paint)

    def disc(self, x: float, y: float, radius: float, colour: Colour, shines: bool = False) -> None:
        """A filled circle."""
        self.oval(x, y, radius, radius, colour, shines)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour, shines: bool = False) -> None:
        """A filled axis-aligned ellipse with half axes `rx`, `ry`."""
        px, py = self._at(x, y)
        ax, ay = rx * self.scale * OVERSAMPLE, ry * self.scale * OVERSAMPLE
        self._pen.ellipse((px - ax, py - ay, px + ax, py + ay), fill=self._paint(colour, shines))

    def poly(self, points: Sequence[tuple[float, float]], colour: Colour, shines: bool = False) -> None:
        """A filled polygon."""
        self._pen.polygon([self._at(x, y) for x, y in points], fill=self._paint(colour, shines))

    def rect(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, shines: bool = False) -> None:
        """A filled axis-aligned rectangle."""
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, shines)

    def shadow(self, x: float, width: float, y: float = 0.0) -> None:
        """A soft contact shadow around (x, y) on the ground; not part of the acting box."""
        self._shadows.append(self._blobs([x], [y], [width / 2], [(0.0, 0.0, 0.0)], [0.4], 0.3))

    def puff(self, x, y, sigma, colour, alpha, shines: bool = False) -> None:
        """Soft translucent blobs over everything drawn: arrays [N] (colour [N,3] or one RGB); alpha is a density."""
        shade = np.asarray(colour, np.float32) * (1.0 if shines else np.asarray(self.light, np.float32))
        self._puffs.append(self._blobs(x, y, sigma, shade, alpha))

    def glow(self, x, y, sigma, colour, strength) -> None:
        """Light added on top: arrays [N] (colour [N,3] or one RGB)."""
        self._glows.append(self._blobs(x, y, sigma, colour, strength))

    def _blobs(self, x, y, sigma, colour, weight, flatten: float = 1.0) -> tuple[np.ndarray, ...]:
        x, y, sigma, weight = (np.atleast_1d(np.asarray(v, np.float32)) for v in (x, y, sigma, weight))
        shape = np.broadcast_shapes(x.shape, y.shape, sigma.shape, weight.shape)
        x, y, sigma, weight = (np.broadcast_to(v, shape) for v in (x, y, sigma, weight))
        pixels = np.arange(self.side, dtype=np.float32) + 0.5
        width = np.maximum(sigma * self.scale, 0.5)[:, None]
        across = np.exp(-0.5 * ((pixels - self.middle - self.mirror * x[:, None] * self.scale) / width) ** 2)
        down = np.exp(-0.5 * ((pixels - self.ground + y[:, None] * self.scale) / (width * flatten)) ** 2)
        colours = np.broadcast_to(np.asarray(colour, np.float32), (shape[0], 3))
        return across, down * weight[:, None], colours

    def _sum(self, blobs: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, np.ndarray]:
        across = np.concatenate([b[0] for b in blobs])
        down = np.concatenate([b[1] for b in blobs])
        colours = np.concatenate([b[2] for b in blobs])
        colours = np.concatenate([colours, np.ones((len(colours), 1), np.float32)], 1)
        weighted = (across[:, :, None] * colours[:, None, :]).reshape(len(across), -1)  # [N,side*4]
        total = (down.T @ weighted).reshape(self.side, self.side, 4)
        return total[..., 3], total[..., :3]

    def onto(self, patch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Composite the drawing over `patch`.

        Args:
            patch: float32 [side,side,3], 0-255.

        Returns:
            The picture, float32 [side,side,3] in 0-255, and what counts as acting, bool [side,side].
        """
        if self._shadows:
            across, down = (np.concatenate([b[k] for b in self._shadows]) for k in (0, 1))
            patch = patch * np.exp(-(down.T @ across))[..., None]
        layer = np.asarray(self._image.reduce(OVERSAMPLE), np.float32)
        alpha = layer[..., 3:] / 255
        patch = patch + (layer[..., :3] - patch) * alpha
        acting = alpha[..., 0] > 0.3
        if self._puffs:
            density, shade = self._sum(self._puffs)
            cover = 1 - np.exp(-density)
            patch = patch * (1 - cover)[..., None] + shade * (255 * cover / np.maximum(density, 1e-4))[..., None]
            acting |= cover > 0.3
        if self._glows:
            total, shine = self._sum(self._glows)
            patch = patch + 255 * shine
            acting |= total > 0.4
        return np.clip(patch, 0, 255), self._within_reach(acting)

    def _within_reach(self, acting: np.ndarray) -> np.ndarray:
        edge = int(self.side / 2 - REACH)
        if edge > 0:
            acting[:edge] = acting[-edge:] = False
            acting[:, :edge] = acting[:, -edge:] = False
        return acting


def bounds(acting: np.ndarray) -> tuple[int, int, int, int] | None:
    """Smallest x0, y0, x1, y1 (pixels, exclusive end) around the true cells of bool [H,W]; None when there are none."""
    rows, columns = np.flatnonzero(acting.any(1)), np.flatnonzero(acting.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
