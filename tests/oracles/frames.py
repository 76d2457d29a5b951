"""Extracting and reading frames as it is customary: one picture after the other, in one process, by Pillow."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fsar_cli.data.store.loose import frame_name
from fsar_cli.data.transforms import centre_crop
from fsar_cli.data.video import iter_frames, scaled_size
from fsar_cli.recipes import IMAGENET


def extract_plainly(videos: Sequence[Path], out: Path, short_side: int, quality: int) -> int:
    """Write each frame of each video as OUT/video/00000001.jpg; returns how many."""
    total = 0
    for video in videos:
        folder = out / video.stem
        folder.mkdir(parents=True)
        for index, (_, picture) in enumerate(iter_frames(video)):
            image = Image.fromarray(picture)
            image = image.resize(scaled_size(*image.size, short_side), Image.Resampling.BICUBIC)
            image.save(folder / frame_name(index), quality=quality)
            total += 1
    return total


def read_plainly(files: Sequence[Path], short_side: int, side: int) -> Tensor:
    """A clip of JPEG files, ready for the network: float32 [T,3,S,S] with ImageNet's mean and deviation."""
    pictures = []
    for file in files:
        with Image.open(file) as image:
            picture = image.convert("RGB").resize(scaled_size(*image.size, short_side), Image.Resampling.BILINEAR)
        crop = centre_crop(*picture.size, side)
        cut = picture.crop((crop.x, crop.y, crop.x + side, crop.y + side))
        pictures.append(torch.from_numpy(np.array(cut)).permute(2, 0, 1).contiguous().float() / 255)
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET.mean, IMAGENET.deviation))
    return torch.stack([(picture - mean) / deviation for picture in pictures])
