"""The demo set: pure by seed, boxes that hold the action, places that tell nothing of the class, readable files."""

import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from zlib import crc32

import numpy as np
import pytest

from fsar_cli.data.video import iter_frames, probe
from fsar_cli.errors import DataError, UsageError
from fsar_cli.tools.demo.scenes import CLASSES, Clip, read_boxes, render_clip, render_set
from fsar_cli.tools.demo.scenes.canvas import Canvas, bounds
from fsar_cli.tools.demo.scenes.dataset import write_boxes
from fsar_cli.tools.demo.scenes.people import LYING, STAND, joints
from fsar_cli.tools.demo.scenes.render import make_setting, place

SEEDS = (3, 11)
CENTRE = np.array([160.0, 120.0])
VISIBLE = 105.0  # half of the central square that a network with short side 128 and crop 112 sees


@dataclass(frozen=True)
class Seen:
    """What the tests need of a clip, which is too large to keep for every class."""

    first: np.ndarray
    shape: tuple[int, ...]
    kind: np.dtype
    boxes: np.ndarray
    energy: np.ndarray


def seen(name: str, seed: int = SEEDS[0]) -> Seen:
    return _seen(name, seed)


@cache
def _seen(name: str, seed: int) -> Seen:
    one = render_clip(name, seed)
    return Seen(one.frames[0].astype(int), one.frames.shape, one.frames.dtype, one.boxes, energy(one))


def energy(one: Clip) -> np.ndarray:
    """Energy of the change between neighbouring frames above the sensor noise, summed over time, [240,320]."""
    green = one.frames[..., 1].astype(np.int16)
    return np.square(np.maximum(np.abs(np.diff(green, axis=0)) - 16, 0).astype(np.float32)).sum(0)


def inside(box: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:240, :320] + 0.5
    return (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])


def middles(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def test_roles_hold_enough_classes_for_five_way_episodes():
    roles = [c.role for c in CLASSES.values()]
    assert roles.count("train") >= 16
    assert roles.count("val") >= 5
    assert roles.count("test") == 10


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_renders_a_sound_clip(name):
    for seed in SEEDS:
        one = seen(name, seed)
        assert one.kind == np.uint8
        assert 24 <= one.shape[0] <= 32
        assert one.shape[1:] == (240, 320, 3)
        assert one.boxes.dtype == np.float32
        assert one.boxes.shape == (one.shape[0], 4)
        assert (one.boxes[:, 2:] - one.boxes[:, :2] >= 4).all()
        assert (np.abs(one.boxes.reshape(-1, 2, 2) - CENTRE) <= VISIBLE).all()
        assert one.energy.sum() > 0


def test_the_same_seed_gives_the_same_clip_in_another_process():
    code = (
        "from fsar_cli.tools.demo.scenes import render_clip; from zlib import crc32;"
        "c = render_clip('fire', 5); print(crc32(c.frames.tobytes()), crc32(c.boxes.tobytes()))"
    )
    printed = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "ab"
    ]
    assert printed[0] == printed[1]
    assert printed[0].strip()


def test_another_seed_and_another_class_give_another_scene():
    first = seen("walk", 3).first
    assert np.abs(first - seen("walk", 11).first).mean() > 5
    assert np.abs(first - seen("run", 3).first).mean() > 5


def test_the_motion_is_in_the_box():
    shares, areas = [], []
    for name in CLASSES:
        one = seen(name)
        held = inside(np.concatenate([one.boxes[:, :2].min(0) - 2, one.boxes[:, 2:].max(0) + 2]))
        shares.append(one.energy[held].sum() / one.energy.sum())
        areas.append(held.mean())
    assert np.mean(areas) < 0.08
    assert np.mean(shares) > 0.6  # the rest are bystanders
    assert np.mean(np.array(shares) > 3 * np.array(areas)) > 0.9


def test_the_box_follows_the_actor():
    """A walking person's box moves along with it; that of somebody who squats stays."""
    travelled = {name: np.ptp(middles(seen(name).boxes)[:, 0]) for name in ("walk", "skateboard", "squat", "wave")}
    assert min(travelled["walk"], travelled["skateboard"]) > 20
    assert max(travelled["squat"], travelled["wave"]) < 20


def test_a_fall_ends_lower_and_wider_than_it_began():
    boxes = np.concatenate([seen("fall", seed).boxes[[0, -1]] for seed in SEEDS])
    size = boxes[:, 2:] - boxes[:, :2]
    assert (size[0::2, 1] > 1.5 * size[0::2, 0]).all()
    assert (size[1::2, 0] > 1.5 * size[1::2, 1]).all()


def test_smoke_grows_and_the_crowd_spreads():
    for name in ("smoke", "dispersal"):
        first, last = seen(name).boxes[[0, -1]]
        assert np.prod(last[2:] - last[:2]) > 2 * np.prod(first[2:] - first[:2])


def test_actors_are_away_from_the_centre():
    far = np.array([np.abs(middles(seen(n, s).boxes) - CENTRE).max(1).mean() for n in CLASSES for s in SEEDS])
    assert np.mean(far > 0.16 * 240) > 0.9  # few actors' centres lie in the middle third of the frame
    size = np.concatenate([seen(n).boxes[:, 2:] - seen(n).boxes[:, :2] for n in CLASSES]).max(1)
    assert 36 < np.median(size) < 72


def test_stage_places_are_uniform_over_the_ring():
    rng = np.random.default_rng(0)
    spots = np.array([place(rng) for _ in range(4000)])
    reach = np.abs(spots).max(1)
    assert (reach >= 52).all() and (reach <= 66).all()
    assert np.abs(spots.mean(0)).max() < 4
    quadrants = np.histogram2d(*(spots > 0).astype(float).T, bins=2)[0] / len(spots)
    assert np.abs(quadrants - 0.25).max() < 0.03


def test_place_and_size_tell_nothing_about_the_class():
    """A class's boxes are placed like those of all classes: its mean differs no more than chance and posture allow."""
    names = ("walk", "wave", "fire", "banner", "fight", "hazard_lights")
    spots = {}
    for name in names:
        settings = [setting_of(name, seed) for seed in range(40)]
        spots[name] = np.array([(*s.centre, 100 * s.mirror, s.count, s.scale) for s in settings])
    everything = np.concatenate(list(spots.values()))
    error = everything.std(0) / np.sqrt(40)
    for name in names:
        assert (np.abs(spots[name].mean(0) - everything.mean(0)) < 3.5 * error).all(), name


def setting_of(name: str, seed: int):
    return make_setting(np.random.default_rng([seed, crc32(name.encode())]))


def test_an_unknown_class_is_refused_with_a_suggestion(tmp_path):
    with pytest.raises(UsageError) as caught:
        render_clip("fihgt", 0)
    assert caught.value.hint == "did you mean 'fight'?"
    with pytest.raises(UsageError, match="must not be negative"):
        render_set(tmp_path, {"fall": -1}, seed=0)


def test_files_are_the_same_for_any_number_of_workers_and_read_back(tmp_path):
    wanted = {"fall": 2, "walk": 1}
    files = render_set(tmp_path / "one", wanted, seed=4, workers=1)
    again = render_set(tmp_path / "two", wanted, seed=4, workers=2)
    names = [f"{n}/{n}_{k:04d}" for n, k in (("fall", 1), ("fall", 2), ("walk", 1))]
    assert files == [tmp_path / "one" / "videos" / f"{name}.mp4" for name in names]
    for one, two in zip(files, again, strict=True):  # x264 itself may round differently from run to run
        assert np.abs(pictures(one) - pictures(two)).mean() < 3
    assert (tmp_path / "one/boxes.csv").read_bytes() == (tmp_path / "two/boxes.csv").read_bytes()
    boxes = read_boxes(tmp_path / "one/boxes.csv")
    assert list(boxes) == names
    for name, file in zip(names, files, strict=True):
        info = probe(file)
        assert (info.codec, info.pix_fmt, info.width, info.height) == ("h264", "yuv420p", 320, 240)
        assert len(pictures(file)) == len(boxes[name])
    assert sorted(p.name for p in (tmp_path / "one").rglob("*") if p.is_file()) == [
        "boxes.csv", "fall_0001.mp4", "fall_0002.mp4", "walk_0001.mp4",
    ]  # fmt: skip


def pictures(file) -> np.ndarray:
    return np.stack([picture for _, picture in iter_frames(file)]).astype(np.int16)


def test_boxes_survive_the_table_and_damage_is_named(tmp_path):
    path = tmp_path / "boxes.csv"
    boxes = {"a/a_0001": np.array([[1, 2, 30, 40.5], [0, 0, 319, 239]], np.float32)}
    write_boxes(path, boxes)
    assert {k: v.tolist() for k, v in read_boxes(path).items()} == {k: v.tolist() for k, v in boxes.items()}
    good = path.read_text()
    for damage, words in (
        ("video,x\n", "first line must be"),
        (good.replace("a/a_0001,1,", "a/a_0001,7,"), "line 3: frame 7 of a/a_0001 is out of order"),
        (good.replace("40.5", "tall"), "not a table of boxes"),
    ):
        path.write_text(damage)
        with pytest.raises(DataError, match=words):
            read_boxes(path)
    with pytest.raises(DataError, match="cannot read the boxes"):
        read_boxes(tmp_path / "none.csv")


def test_a_canvas_draws_where_it_says_and_mirrors():
    grey = np.full((96, 96, 3), 100, np.float32)
    found = []
    for mirror in (1, -1):
        canvas = Canvas(50, mirror)
        canvas.rect(0.1, 0.2, 0.5, 0.6, (1, 0, 0))
        picture, acting = canvas.onto(grey)
        found.append(bounds(acting))
        x0, y0, x1, y1 = found[-1]
        assert picture[(y0 + y1) // 2, (x0 + x1) // 2].tolist() == [255, 0, 0]
        assert picture[2, 2].tolist() == [100, 100, 100]
    # 48 + 50 * [0.1, 0.5] across; the ground is 0.6 units below the middle row 48
    assert np.abs(np.array(found[0]) - (53, 48, 73, 68)).max() <= 1
    assert found[1][0] == pytest.approx(96 - found[0][2], abs=1)


def test_soft_blobs_equal_their_definition():
    canvas = Canvas(50)
    canvas.puff([0.1], [0.5], [0.12], (0.0, 0.0, 0.0), [0.8])
    picture, _ = canvas.onto(np.full((96, 96, 3), 200, np.float32))
    y, x = np.mgrid[:96, :96] + 0.5
    density = 0.8 * np.exp(-0.5 * (((x - 53) / 6) ** 2 + ((y - 78 + 25) / 6) ** 2))
    np.testing.assert_allclose(picture[..., 0], 200 * np.exp(-density), atol=0.05)


def test_poses_stand_and_lie_on_the_ground():
    for p in (STAND, LYING):
        assert min(v[1] for v in joints(p).values()) == pytest.approx(0.03, abs=0.06)
    assert joints(STAND)["head"][1] > 0.85
    assert joints(LYING)["head"][1] < 0.25
