"""What runs on a device before any support is known: normalised clips -> what the method keeps of them, key regions.

    network of video     clips ------------------------------------> described, boxes
    network of images    frames -> maps, once a frame;  maps, clips -> described, boxes

Where the method selects key regions, they are its own. A method without them gets regions for the eye, which change
nothing of its scores: eq. 4-7 on the changes between neighbouring maps, as `region.source: difference` does with the
settings recommended for fixed cameras.
"""

from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.backbones.backbone import FrameBackbone
from fsar_cli.core.features import FrameFeatures
from fsar_cli.core.method import BOXES, Encoded, FewShotMethod
from fsar_cli.core.regions import KeyRegionSelector
from fsar_cli.core.relation import FrameDifference

GAIN = 3.0  # of regions for the eye: with `l1` weights eq. 6 gives a mean, which hardly leaves the middle
LARGEST_SHARE = 4 / 7  # of the input's side, of the side of such a region: 128 of 224 pixels


class WindowNetwork(nn.Module):
    """The features of a method, as windows need them."""

    def __init__(self, method: FewShotMethod, config: Config) -> None:
        super().__init__()
        self.method = method
        self.shares_frames = isinstance(method.features.global_backbone, FrameBackbone)
        """Whether each frame is seen alone, so that windows can share its maps."""
        self.selects_regions = config.model.selects_regions
        size, side = config.clip.size, config.model.region.sides[0]  # which need not fit where no regions are selected
        self._eye = KeyRegionSelector(size, min(side, round(LARGEST_SHARE * size)), weights="l1", gain=GAIN)

    def maps(self, frames: Tensor) -> Tensor:
        """Frames [N,3,S,S] -> maps [N,C,H,W], where frames are shared."""
        maps: Tensor = self.method.features.global_backbone(frames.unsqueeze(1))
        return maps.squeeze(1)

    def of_clips(self, clips: Tensor) -> Encoded:
        """Clips [B,F,3,S,S] -> what `FewShotMethod.describe` gives, with BOXES in any case."""
        return self._described(self.method.features(clips))

    def of_maps(self, maps: Tensor, clips: Tensor | None = None) -> Encoded:
        """The same of maps [B,T,C,H,W] of frames; clips [B,F,3,S,S] are read only where regions are selected."""
        return self._described(self.method.features.of_maps(maps, maps if clips is None else clips))

    def _described(self, features: FrameFeatures) -> Encoded:
        described = self.method.described(features)
        if features.regions is None:
            described.tensors[BOXES] = self._eye(FrameDifference()(features.maps.float())).boxes
        return described
