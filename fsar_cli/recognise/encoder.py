"""Windows -> what the backbones say of them, and their key regions. What is costly is done here, and once.

A network of images sees each frame alone: its maps stay with the frame, and windows that share it share them. A network
of video sees whole windows.

Where the method selects key regions, they are its own. A method without them gets regions for the eye, which change
nothing of its scores: eq. 4-7 on the changes between neighbouring maps, as `region.source: difference` does with the
settings recommended for fixed cameras.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.core.backbones.backbone import FrameBackbone
from fsar_cli.core.build import normalization
from fsar_cli.core.features import FrameFeatures
from fsar_cli.core.layers.basics import middle_frames
from fsar_cli.core.method import BOXES, SATURATED, Encoded, FewShotMethod
from fsar_cli.core.regions import KeyRegionSelector
from fsar_cli.core.relation import FrameDifference
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.bank import in_encoding_type, without_numbers
from fsar_cli.engine.device import fold, place
from fsar_cli.errors import DataError
from fsar_cli.recognise.events import Box
from fsar_cli.recognise.windows import Window, WindowFrame

FRAMES_A_CALL = {"cpu": 32, "cuda": 512}
GAIN = 3.0  # of regions for the eye: with `l1` weights eq. 6 gives a mean, which hardly leaves the middle
LARGEST_SHARE = 4 / 7  # of the input's side, of the side of such a region: 128 of 224 pixels


@dataclass(frozen=True)
class DescribedWindows:
    """What is known of windows before any support is."""

    encoded: Encoded
    """[B] on the CPU, as `FewShotMethod.describe` gives it, pooled where the method reads means alone."""
    tracks: list[tuple[tuple[float, Box], ...]]
    """[B] of each window: (seconds, key region) of its steps."""


class Encoder:
    """A method in evaluation mode on a device, with the clips it takes."""

    def __init__(self, method: FewShotMethod, config: Config, device: torch.device) -> None:
        self.method, self.config, self.device = method.eval(), config, device
        place(method, device, config.train.channels_last)
        fold(method)
        self.shares_frames = isinstance(method.features.global_backbone, FrameBackbone)
        size, side = config.clip.size, config.model.region.sides[0]  # which need not fit where no regions are selected
        self._eye = KeyRegionSelector(size, min(side, round(LARGEST_SHARE * size)), weights="l1", gain=GAIN)
        self._normalization = normalization(config.model)

    @property
    def batch(self) -> int:
        """Windows that are worth a call together."""
        return max(1, FRAMES_A_CALL[self.device.type] // self.config.clip.frames)

    @property
    def selects_regions(self) -> bool:
        """Whether key regions are the method's own."""
        return self.config.model.selects_regions

    @torch.inference_mode()
    def describe(self, windows: Sequence[Window]) -> DescribedWindows:
        """What the backbones say of windows.

        Raises:
            DataError: it is NaN or infinite.
        """
        if self.shares_frames:
            self._see([frame for window in windows for frame in window.frames])
        encoded = in_encoding_type(lambda: self._described(windows), self.device, self.config)
        if (bad := without_numbers(encoded)) is not None:
            raise DataError(f"the window from {windows[bad].start:.1f} s on is encoded in numbers that are none")
        boxes = encoded[BOXES].double().cpu().numpy()
        features = Encoded({n: t for n, t in encoded.tensors.items() if n not in (BOXES, SATURATED)})
        pooled = self.method.pooled(features).to("cpu")
        return DescribedWindows(pooled, [self._track(*pair) for pair in zip(windows, boxes, strict=True)])

    def _described(self, windows: Sequence[Window]) -> Encoded:
        features = self._features(windows)
        described = self.method.described(features)
        if features.regions is None:
            described.tensors[BOXES] = self._eye(FrameDifference()(features.maps.float())).boxes
        return described

    def _features(self, windows: Sequence[Window]) -> FrameFeatures:
        branches = self.method.features
        if not self.shares_frames:
            return branches(self._floats([window.pictures for window in windows]))
        maps = torch.stack([torch.cat([frame.maps for frame in window.frames]) for window in windows])
        clips = self._floats([window.pictures for window in windows]) if self.selects_regions else maps
        return branches.of_maps(maps, clips)

    def _see(self, frames: Sequence[WindowFrame]) -> None:
        """Give frames the maps they lack."""
        lacking = [frame for frame in dict.fromkeys(frames) if frame.maps is None]
        size = FRAMES_A_CALL[self.device.type]
        for some in (lacking[start : start + size] for start in range(0, len(lacking), size)):
            pixels = self._floats([frame.picture[None] for frame in some])

            def see(pixels: Tensor = pixels) -> Encoded:
                return Encoded({"maps": self.method.features.global_backbone(pixels)})

            for frame, maps in zip(some, in_encoding_type(see, self.device, self.config)["maps"], strict=True):
                frame.maps = maps

    def _floats(self, clips: Sequence[np.ndarray]) -> Tensor:
        """uint8 [F,S,S,3] each -> float32 [B,F,3,S,S] on the device."""
        return to_float(torch.from_numpy(np.stack(clips)).to(self.device), self._normalization)

    def _track(self, window: Window, boxes: np.ndarray) -> tuple[tuple[float, Box], ...]:
        """Boxes [T,4] of the input crop as those of the picture, with the seconds of their steps."""
        x0, y0, x1, y1 = window.input_crop
        scale, shift = np.array([x1 - x0, y1 - y0] * 2), np.array([x0, y0] * 2)
        frames = window.frames[middle_frames(len(window.frames), len(boxes))]
        return tuple(
            (frame.seconds, tuple(float(v) for v in np.clip(box * scale + shift, 0, 1)))
            for frame, box in zip(frames, boxes, strict=True)
        )

    @torch.inference_mode()
    def embed(self, described: Encoded) -> Encoded:
        """What `describe` gives -> what the method matches, float32 on the device."""
        return self.method.embed(self.method.prepare(described.to(self.device))).to(dtype=torch.float32)
