"""The encoder: windows that share frames say what whole clips say, and each frame is seen once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from own_videos import CPU, encoder_of, fresh, random_windows, tiny
from small_project import lively

from fsar_cli.core.backbones.backbone import FrameBackbone
from fsar_cli.core.build import build_method, normalization
from fsar_cli.core.method import BOXES, MAPS, SATURATED, Encoded
from fsar_cli.data.transforms import to_float
from fsar_cli.data.video import VideoInfo
from fsar_cli.engine.visualize import find_regions
from fsar_cli.errors import DataError
from fsar_cli.recognise.encoder import Encoder

METHODS = ("prototype", "keyregion", "trx", "strm", "bimacl", "arn", "sloshnet", "molo", "otam+region")


def config_of(method: str):
    name, _, region = method.partition("+")
    return tiny(**{"model.method": name, **({"model.region.enabled": True} if region else {})})


@pytest.fixture(scope="module", params=METHODS)
def encoder(request) -> Encoder:
    return encoder_of(config_of(request.param))


def plainly(encoder: Encoder, windows) -> Encoded:
    """What `FewShotMethod.describe` says of the clips, one by one, without folding."""
    method, config = encoder.method, encoder.config
    clips = torch.from_numpy(np.stack([w.pictures for w in windows]))
    for backbone in method.features.backbones():
        backbone.folded, backbone.kept = None, backbone.folded
    with torch.inference_mode():
        parts = [method.describe(to_float(clip[None], normalization(config.model))) for clip in clips]
        described = Encoded.cat(parts)
    for backbone in method.features.backbones():
        backbone.folded = backbone.kept
    return described


def close(a: Encoded, b: Encoded, names) -> None:
    for name in names:
        scale = float(b[name].abs().max())
        assert float((a[name] - b[name]).abs().max()) <= 1e-4 * max(scale, 1e-6), name


def test_windows_that_share_frames_say_what_whole_clips_say(encoder: Encoder) -> None:
    windows = random_windows(encoder.config, 4, shared=3)
    found, whole = encoder.describe(windows), plainly(encoder, windows)
    expected = encoder.method.pooled(Encoded({n: t for n, t in whole.tensors.items() if n not in (BOXES, SATURATED)}))
    assert set(found.encoded.tensors) <= set(expected.tensors)
    close(found.encoded, expected, found.encoded.tensors)
    with torch.inference_mode():
        embedded, direct = encoder.embed(found.encoded), encoder.method.embed(encoder.method.prepare(expected))
    close(embedded, direct, embedded.tensors)


def test_batches_and_what_was_seen_before_do_not_matter(encoder: Encoder) -> None:
    windows = random_windows(encoder.config, 5, shared=2, seed=1)
    together = encoder.describe(windows).encoded
    again = Encoded.cat([encoder.describe([window]).encoded for window in fresh(windows)])
    close(again, together, together.tensors)


def test_what_is_said_lies_on_the_cpu_in_float32(encoder: Encoder) -> None:
    found = encoder.describe(random_windows(encoder.config, 1))
    assert all(t.dtype == torch.float32 and t.device == CPU for t in found.encoded.tensors.values())
    assert BOXES not in found.encoded and len(found.tracks) == 1


def test_each_frame_goes_through_the_network_once(monkeypatch) -> None:
    encoder, seen = encoder_of(tiny()), []
    honest = type(encoder.method.features.global_backbone).forward
    monkeypatch.setattr(FrameBackbone, "forward", lambda self, x: seen.append(x.shape[:2].numel()) or honest(self, x))
    windows = random_windows(encoder.config, 20, shared=3)
    for at in range(0, 20, 6):
        encoder.describe(windows[at : at + 6])
    assert sum(seen) == len({id(frame) for w in windows for frame in w.frames}) == 23
    assert encoder.shares_frames and encoder.batch == 8


@pytest.mark.parametrize("method", ["keyregion", "otam+region"])
def test_regions_are_the_methods_own_in_the_picture(method: str) -> None:
    encoder = encoder_of(config_of(method))
    dice = np.random.default_rng(5)
    pictures = dice.integers(0, 256, (4, 36, 48, 3), np.uint8)
    window = random_windows(encoder.config, 1)[0]
    frames = tuple(
        replace(f, picture=np.ascontiguousarray(p[2:34, 8:40])) for f, p in zip(window.frames, pictures, strict=True)
    )
    (track,) = encoder.describe([replace(window, frames=frames)]).tracks
    info = VideoInfo(width=480, height=360, fps=10, frames=4, duration=0.4, codec="", rotation=0, pix_fmt="")
    seconds = np.array([f.seconds for f in frames])
    drawn = find_regions(encoder.method, encoder.config, CPU, info, pictures, np.arange(4), seconds)
    assert [at for at, _ in track] == drawn.seconds.tolist()
    boxes = np.array([box for _, box in track]) * [480, 360, 480, 360]
    assert boxes == pytest.approx(drawn.boxes, abs=0.05) and encoder.selects_regions


@pytest.mark.parametrize("side", [16, 24, 30])
def test_regions_for_the_eye_lie_in_the_picture_whatever_their_side_is_set_to(side: int) -> None:
    config = tiny()
    region = config.model.region.model_copy(update={"side": 4 * side})
    config = config.model_copy(update={"model": config.model.model_copy(update={"region": region})})
    encoder = encoder_of(config)
    (track,) = encoder.describe(random_windows(config, 1)).tracks
    for _, (x0, y0, x1, y1) in track:
        assert 1 / 6 - 1e-6 <= x0 < x1 <= 5 / 6 + 1e-6 and 1 / 18 - 1e-6 <= y0 < y1 <= 17 / 18 + 1e-6
        assert x1 - x0 == pytest.approx(18 / 48)  # 4/7 of 32 pixels


def test_regions_for_the_eye_follow_what_changes_between_maps() -> None:
    encoder = encoder_of(tiny(**{"clip.size": 96, "clip.short_side": 96}))
    window = random_windows(encoder.config, 1)[0]
    (track,) = encoder.describe([replace(window, input_crop=(0, 0, 1, 1))]).tracks
    maps = torch.stack([frame.maps[0] for frame in window.frames]).double()  # [F,C,3,3]
    change = (maps[1:] - maps[:-1]).square().mean(1)
    cells = torch.stack([change[0], (change[0] + change[1]) / 2, (change[1] + change[2]) / 2, change[2]])
    reach = (96 - 16) / 2
    places = torch.tensor([-reach, 0, reach], dtype=torch.float64)
    weights = cells / cells.sum((1, 2), keepdim=True)
    x, y = (3 * (weights.sum(axis) * places).sum(1).clamp(-reach / 3, reach / 3) + 48 for axis in (1, 2))
    expected = torch.stack([x - 8, y - 8, x + 8, y + 8], 1) / 96
    assert np.array([box for _, box in track]) == pytest.approx(expected.numpy(), abs=1e-3)


@pytest.mark.parametrize(("backbone", "frames"), [("r3d_18", 16), ("i3d", 16)])
def test_networks_of_video_see_whole_windows(backbone: str, frames: int) -> None:
    changes = {"model.backbone": backbone, "clip.frames": frames, "model.match.cardinalities": (2,)}
    config = tiny(**changes)
    encoder = Encoder(build_method(config), config, CPU)
    windows = random_windows(config, 2, shared=8)
    found, whole = encoder.describe(windows), plainly(encoder, windows)
    close(found.encoded, encoder.method.pooled(whole), found.encoded.tensors)
    assert not encoder.shares_frames and encoder.batch == 2 and all(f.maps is None for w in windows for f in w.frames)
    assert [len(track) for track in found.tracks] == [encoder.method.features.steps] * 2


def test_numbers_that_are_none_are_told_with_their_window() -> None:
    config = tiny()
    method = lively(config)
    with torch.no_grad():
        method.features.global_backbone.trunk[0][0].weight.fill_(3e38)
    with pytest.raises(DataError, match=r"window from 0\.0 s on .* none"):
        Encoder(method, config, CPU).describe(random_windows(config, 2))


def test_the_method_is_left_in_evaluation_mode() -> None:
    config = tiny(**{"model.method": "sloshnet"})
    encoder = Encoder(build_method(config).train(), config, CPU)
    assert not any(module.training for module in encoder.method.modules())
    assert MAPS in encoder.method.kept_features and not encoder.shares_frames
