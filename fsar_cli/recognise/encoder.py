"""Windows -> what the backbones say of them, and their key regions. What is costly is done here, and once.

A network of images sees each frame alone: its maps stay with the frame, and windows that share it share them. A network
of video sees whole windows. `OnnxEncoder` is the same with another library that computes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.core.build import normalization
from fsar_cli.core.layers.basics import middle_frames
from fsar_cli.core.method import BOXES, SATURATED, Encoded, FewShotMethod
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.bank import in_encoding_type, without_numbers
from fsar_cli.engine.device import fold, place
from fsar_cli.errors import DataError
from fsar_cli.recognise.events import Box
from fsar_cli.recognise.network import WindowNetwork
from fsar_cli.recognise.windows import Window, WindowFrame

FRAMES_A_CALL = {"cpu": 32, "cuda": 512}


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
        self.network = WindowNetwork(method, config)
        self._normalization = normalization(config.model)
        self._make_ready()

    def _make_ready(self) -> None:
        place(self.method, self.device, self.config.train.channels_last)
        fold(self.method)

    @property
    def batch(self) -> int:
        """Windows that are worth a call together."""
        return max(1, FRAMES_A_CALL[self.device.type] // self.config.clip.frames)

    @property
    def shares_frames(self) -> bool:
        """Whether each frame is seen alone, so that windows share its maps."""
        return self.network.shares_frames

    @property
    def selects_regions(self) -> bool:
        """Whether key regions are the method's own."""
        return self.network.selects_regions

    @torch.inference_mode()
    def describe(self, windows: Sequence[Window]) -> DescribedWindows:
        """What the backbones say of windows.

        Raises:
            DataError: it is NaN or infinite.
        """
        if self.shares_frames:
            self._see([frame for window in windows for frame in window.frames])
        encoded = self._described(windows)
        if (bad := without_numbers(encoded)) is not None:
            raise DataError(f"the window from {windows[bad].start:.1f} s on is encoded in numbers that are none")
        boxes = encoded[BOXES].double().cpu().numpy()
        features = Encoded({n: t for n, t in encoded.tensors.items() if n not in (BOXES, SATURATED)})
        pooled = self.method.pooled(features).to("cpu")
        return DescribedWindows(pooled, [self._track(*pair) for pair in zip(windows, boxes, strict=True)])

    def _described(self, windows: Sequence[Window]) -> Encoded:
        if not self.shares_frames:
            return self._of_clips(self._floats([window.pictures for window in windows]))
        maps = torch.stack([torch.cat([f.maps for f in window.frames if f.maps is not None]) for window in windows])
        clips = self._floats([window.pictures for window in windows]) if self.selects_regions else None
        return self._of_maps(maps, clips)

    def _see(self, frames: Sequence[WindowFrame]) -> None:
        """Give frames the maps they lack."""
        lacking = [frame for frame in dict.fromkeys(frames) if frame.maps is None]
        size = FRAMES_A_CALL[self.device.type]
        for some in (lacking[start : start + size] for start in range(0, len(lacking), size)):
            pixels = self._floats([frame.picture[None] for frame in some])[:, 0]
            for frame, maps in zip(some, self._maps(pixels).split(1), strict=True):
                frame.maps = maps

    def _maps(self, frames: Tensor) -> Tensor:
        """As `WindowNetwork.maps`, in float32."""
        return self._run(lambda: Encoded({"maps": self.network.maps(frames)}))["maps"]

    def _of_clips(self, clips: Tensor) -> Encoded:
        """As `WindowNetwork.of_clips`, in float32."""
        return self._run(lambda: self.network.of_clips(clips))

    def _of_maps(self, maps: Tensor, clips: Tensor | None) -> Encoded:
        """As `WindowNetwork.of_maps`, in float32."""
        return self._run(lambda: self.network.of_maps(maps, clips))

    def _run(self, network: Callable[[], Encoded]) -> Encoded:
        return in_encoding_type(network, self.device, self.config)

    def _floats(self, clips: Sequence[np.ndarray]) -> Tensor:
        """uint8 [F,S,S,3] each -> float32 [B,F,3,S,S] on the device."""
        return to_float(torch.from_numpy(np.stack(clips)).to(self.device), self._normalization)

    def _track(self, window: Window, boxes: np.ndarray) -> tuple[tuple[float, Box], ...]:
        """Boxes [T,4] of the input crop as those of the picture, with the seconds of their steps."""
        x0, y0, x1, y1 = window.input_crop
        scale, shift = np.array([x1 - x0, y1 - y0] * 2), np.array([x0, y0] * 2)
        frames = window.frames[middle_frames(len(window.frames), len(boxes))]
        shown = np.clip(boxes * scale + shift, 0, 1).tolist()
        return tuple(
            (frame.seconds, (left, top, right, bottom))
            for frame, (left, top, right, bottom) in zip(frames, shown, strict=True)
        )

    @torch.inference_mode()
    def embed(self, described: Encoded) -> Encoded:
        """What `describe` gives -> what the method matches, float32 on the device."""
        return self.method.embed(self.method.prepare(described.to(self.device))).to(dtype=torch.float32)
