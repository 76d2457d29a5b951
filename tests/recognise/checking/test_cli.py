"""`fsar support check` from the command line: folders of clips and runs, planted faults, files, refusals."""

import csv
import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from small_project import lively, small
from videos import make_video, truncate

from fsar_cli.engine.checkpoint import save_weights
from fsar_cli.engine.runs import create_run

KINDS = ("kick", "push", "throw")


@pytest.fixture(scope="module")
def trained(project, tmp_path_factory) -> Path:
    """A run folder with weights that tell clips apart. Read only."""
    config = small(project, **{"model.method": "otam"})
    run = create_run(config, tmp_path_factory.mktemp("runs") / "r")
    save_weights(lively(config), run.model_file)
    return run.path


@pytest.fixture
def run(trained, fsar, tmp_path, monkeypatch) -> Path:
    """The current folder with that run, an fsar.yaml and a cache of its own."""
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "fsar.yaml").write_text((trained / "config.yaml").read_text())
    shutil.copytree(trained, tmp_path / "r")
    return tmp_path / "r"


@pytest.fixture
def cameras(project, tmp_path) -> Path:
    """`my [clips]/CLASS/NAME.mp4`: 3 classes of 4."""
    folder = tmp_path / "my [clips]"
    for name in KINDS:
        shutil.copytree(project / "videos" / name, folder / name)
    return folder


def grey_video(path: Path, levels: list[int]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in levels:
            picture = np.full((48, 64, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def flags_of(found: dict) -> dict[str, set[str]]:
    return {clip["video"]: {flag["kind"] for flag in clip["flags"]} for clip in found["videos"]}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_broken_clips_are_named_and_the_others_checked(run, cameras, fsar):
    truncate(make_video(cameras / "kick" / "cut.mp4", frames=40), 0.3)
    grey_video(cameras / "push" / "night.mp4", [4] * 12)
    grey_video(cameras / "push" / "fog.mp4", [200] * 12)
    make_video(cameras / "throw" / "brief.mp4", frames=2, content="motion")
    make_video(cameras / "throw" / "still.mp4", frames=1, first=1365)
    shutil.copy(cameras / "throw" / "throw_1.mp4", cameras / "throw" / "twin.mp4")
    (cameras / "nothing").mkdir()
    result = fsar("support", "check", cameras, "--run", run, "--json", "--draws", 6)
    assert result.code == 3, "a clip cannot be read"
    assert "1 of 18 clips cannot be read, such as kick/cut" in result.err
    assert "no videos in nothing" in result.err
    found = result.json
    assert (found["schema"], found["command"], found["clips"]) == (1, "support check", 18)
    flags = flags_of(found)
    assert flags["kick/cut"] == {"unreadable"}
    (cut,) = [clip for clip in found["videos"] if clip["video"] == "kick/cut"]
    assert "not a readable video" in cut["flags"][0]["detail"], "the decoder's reason, not that of an empty store"
    assert flags["push/night"] == {"black"}
    assert "frozen" in flags["push/fog"]
    assert "too short" in flags["throw/brief"]
    assert {"too short", "frozen"} <= flags["throw/still"]
    assert "duplicate" in flags["throw/twin"] & flags["throw/throw_1"]
    assert not any({"black", "frozen", "too short"} & flags[f"{k}/{k}_{i}"] for k in KINDS for i in range(4))
    assert any("cannot be read: kick/cut" in line for line in found["summary"])
    assert [Path(name).name for name in found["files"]] == ["support.csv", "support.json", "support.png"]
    assert Path(found["files"][0]).parent == Path("support/my [clips]")
    assert not list((cameras.parent / "cache" / "support").iterdir()), "nothing is left of the frame store"


def test_table_csv_and_json_say_the_same_worst_first(run, cameras, fsar):
    found = fsar("support", "check", cameras, "--run", run, "--json", "--out", "o [1]").json
    assert fsar("support", "check", cameras, "--run", run, "--out", "o [2]").code == 0
    assert Path("o [1]/support.csv").read_bytes() == Path("o [2]/support.csv").read_bytes()
    lines = rows_of(Path("o [1]/support.csv"))
    assert [line["video"] for line in lines] == [clip["video"] for clip in found["videos"]]
    values = [clip["margin"] for clip in found["videos"]]
    assert values == sorted(values)
    assert [float(line["margin"]) for line in lines] == pytest.approx(values, abs=1e-5)
    assert found["recognised"] == pytest.approx(np.mean([value > 0 for value in values]))
    assert found["shots"] == 2, "the most shots of the configuration"
    plain = fsar("support", "check", cameras, "--run", run)
    assert all(line in plain.out for line in found["summary"])
    assert plain.out.count("throw/throw_3") >= 1


def test_a_run_checks_its_test_split_with_or_without_the_cache(run, fsar):
    result = fsar("support", "check", run, "--draws", 8, "--json")
    assert result.code == 0
    assert result.json["classes"] == list(KINDS)
    assert fsar("support", "check", "--draws", 8, "--json").code == 3, "no runs/ here"
    again = fsar("support", "check", run, "--draws", 8, "--json", "--no-cache").json
    assert again == result.json


def test_untrained_methods_another_split_and_other_frames(run, project, fsar):
    base = ["support", "check", "--untrained", "--json", "--draws", 4, "--out", "o"]
    found = fsar(*base, "--split", "train", "--set", "model.method=trx", "--region").json
    assert found["run"] is None
    assert found["classes"] == ["climb", "fall", "wave"]
    assert fsar(*base, "--split", "nope").code == 3


def test_one_clip_a_class_is_placed_by_likeness_alone(run, cameras, fsar):
    for name in KINDS:
        for i in (1, 2, 3):
            (cameras / name / f"{name}_{i}.mp4").unlink()
    found = fsar("support", "check", cameras, "--run", run, "--json", "--draws", 4).json
    assert [clip["margin"] for clip in found["videos"]] == [None] * 3
    assert all(clip["nearest"] not in (None, clip["class"]) for clip in found["videos"])
    assert found["recognised"] is None
    assert any("3 clips are alone in their class" in line for line in found["summary"])
    assert fsar("support", "check", cameras, "--run", run, "--draws", 4).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["my [clips]", "--split", "test"], 2, "--split goes with a run"),
        (["my [clips]", "--run", "r", "--dataset", "x", "--split", "f"], 2, "--split, --dataset go with a run"),
        (["r", "--run", "r"], 2, "--run names another"),
        (["nowhere"], 3, "nowhere is no folder"),
        (["my [clips]/kick", "--run", "r"], 3, "one class, kick"),
        (["my [clips]", "--run", "nowhere"], 3, "no run folder"),
        (["r", "--region"], 2, "go with --untrained"),
        (["empty", "--run", "r"], 3, "no videos"),
    ],
)
def test_what_cannot_be_checked_is_refused_with_its_name(run, cameras, fsar, arguments, code, words):
    Path("empty").mkdir()
    result = fsar("support", "check", *arguments)
    assert (result.code, result.out) == (code, "")
    assert words in result.err


def test_the_picture_shows_flagged_clips_and_goes_when_none_is(run, cameras, fsar):
    grey_video(cameras / "push" / "night.mp4", [4] * 12)
    fsar("support", "check", cameras, "--run", run, "--draws", 4, "--out", "o")
    with Image.open("o/support.png") as picture:
        assert picture.width > 800
    kept = {clip for clip, flags in flags_of(json_of(fsar, cameras, run)).items() if not flags}
    for path in cameras.rglob("*.mp4"):
        if f"{path.parent.name}/{path.stem}" not in kept:
            path.unlink()
    left = json_of(fsar, cameras, run)
    assert Path("o/support.png").exists() == any(flags_of(left).values())


def json_of(fsar, cameras: Path, run: Path) -> dict:
    return json.loads(fsar("support", "check", cameras, "--run", run, "--draws", 4, "--out", "o", "--json").out)
