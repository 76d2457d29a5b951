"""`fsar extract-frames` as users run it: the real process, its two streams and its exit code."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from videos import make_video

from fsar_cli.config import ExtractConfig
from fsar_cli.data.store.frames import KINDS, FrameStore
from fsar_cli.data.store.records import read_manifest, read_settings

FSAR = [sys.executable, "-c", "from fsar_cli.cli.app import main; main()", "extract-frames"]
VIDEOS = 16


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of 60 frames: some seconds of work."""
    root = tmp_path_factory.mktemp("long")
    data = make_video(root / "kick/0.mp4", frames=60, width=320, height=240, content="motion").read_bytes()
    for number in range(1, VIDEOS):
        (root / f"kick/{number}.mp4").write_bytes(data)
    return root


def test_in_a_project_folder_it_needs_no_argument(fsar, tree: Path, tmp_path: Path) -> None:
    data = {"videos": str(tree), "frames": "store"}
    config = {"data": data, "clip": {"short_side": 40, "size": 32}, "model": {"region": {"side": 16}}}
    (tmp_path / "fsar.yaml").write_text(yaml.safe_dump(config))
    done = fsar("extract-frames", "--workers", 0)
    assert done.code == 0
    assert done.out.startswith("12 videos, 174 frames in ")
    assert done.out.endswith(" frames/s: store\n")
    assert "12 videos in 4 classes -> store" in done.err
    store = FrameStore(tmp_path / "store")
    assert (len(store), store.record("kick/kick_0").height) == (12, 40)
    again = fsar("extract-frames", "-q")
    assert (again.code, again.out, again.err) == (0, "0 videos, 0 frames, 12 were there already: store\n", "")


def test_how_frames_are_stored_is_set_in_the_project_file_by_set_and_by_flags(fsar, tree: Path, tmp_path: Path) -> None:
    config = {"data": {"videos": str(tree / "kick")}, "extract": {"short_side": 24, "quality": 70, "every": 4}}
    (tmp_path / "fsar.yaml").write_text(yaml.safe_dump(config))
    done = fsar("extract-frames", "--workers", 0, "--json", "-s", "extract.quality=60", "--max-frames", 2)
    stored = {"short_side": 24, "quality": 60, "fps": None, "every": 4, "max_frames": 2}
    assert done.json["settings"] == stored | {"clips": "whole", "store": "files", "picture_fps": 25.0}
    assert read_settings(tmp_path / "frames").quality == 60
    assert {record.frames for record in read_manifest(tmp_path / "frames")} == {2}
    shown = fsar("config", "show", "--json", "-s", "extract.quality=60").json["settings"]
    assert shown["extract.every"] == {"value": 4, "origin": "fsar.yaml"}
    assert shown["extract.quality"] == {"value": 60, "origin": "--set"}
    assert shown["extract.max_frames"] == {"value": None, "origin": "default"}


def test_a_new_project_file_names_every_setting_of_a_store(fsar, tmp_path: Path) -> None:
    fsar("init")
    text = (tmp_path / "fsar.yaml").read_text()
    assert "# extract:\n" in text
    for name, value in (("short_side", "null"), ("quality", 90), ("fps", "null"), ("max_frames", "null")):
        assert f"\n#   {name}: {value}  # " in text
    assert "\n#   every: 1  # " in text and "\n#   store: files  # " in text


def test_every_kind_of_store_can_be_asked_for(fsar) -> None:
    (names,) = {str(field.annotation) for name, field in ExtractConfig.model_fields.items() if name == "store"}
    assert names == f"typing.Literal{[*KINDS]}"
    assert "|".join(KINDS) in fsar("extract-frames", "--help").out


def test_one_argument_names_the_videos(fsar, tree: Path, tmp_path: Path) -> None:
    done = fsar("extract-frames", tree / "kick/kick_0.mp4", "--workers", 0, "--set", "data.frames=elsewhere")
    assert done.code == 0
    assert FrameStore(tmp_path / "elsewhere").ids == ["kick/kick_0"]


def test_json_is_one_document(fsar, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "a [b] (c)"
    options = ["--json", "--workers", 0, "--short-side", 0, "--max-frames", 6, "--quality", 80]
    done = fsar("extract-frames", tree, out, *options)
    document = done.json
    assert (done.code, document["schema"]) == (0, 1)
    assert document["out"] == str(out)
    settings = {"short_side": None, "quality": 80, "fps": None, "every": 1, "max_frames": 6}
    assert document["settings"] == settings | {"clips": "whole", "store": "files", "picture_fps": 25.0}
    counts = [document[key] for key in ("done", "skipped", "failed", "frames")]
    assert counts == [12, 0, [], sum(r.frames for r in read_manifest(out))]
    assert document["frames_per_second"] > 0
    assert "extract: 12/12" in done.err


def test_a_name_that_is_no_unicode_is_extracted_and_shown(fsar, tmp_path: Path) -> None:
    make_video(tmp_path / "v/kick/a.mp4", frames=2)
    folder = os.fsencode(tmp_path / "v/kick")
    os.rename(tmp_path / "v/kick/a.mp4", folder + b"/caf\xe9.mp4")
    open(folder + b"/\xff.mp4", "w").close()
    done = fsar("extract-frames", "v", "out", "--workers", 0, "-v")
    assert done.code == 3
    assert "kick/\ufffd.mp4: is empty" in done.err
    assert "kick/caf\ufffd: 2 frames" in done.err
    assert [os.fsencode(video_id) for video_id in FrameStore(tmp_path / "out").ids] == [b"kick/caf\xe9"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent", "out"], 3, "absent does not exist"),
        (["v", "out", "--fps", "5", "--every", "2"], 2, "extract: extract.fps and extract.every exclude each other"),
        (
            ["v", "out", "--quality", "101"],
            2,
            "extract.quality (flag): Input should be less than or equal to 100, not 101",
        ),
        (["v", "v"], 2, "v is not a frame store and not an empty folder"),
        (["v", "out", "--config", "absent.yaml"], 2, "cannot read the configuration absent.yaml"),
    ],
)
def test_refusals(fsar, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    make_video(tmp_path / "v/kick/a.mp4", frames=2)
    done = fsar("extract-frames", *arguments, "--workers", 0)
    assert f"error: {message}" in done.err
    assert (done.code, done.out) == (code, "")
    assert not (tmp_path / "out").exists()


def test_other_settings_say_what_differs(fsar, tmp_path: Path) -> None:
    make_video(tmp_path / "v/kick/a.mp4", frames=2)
    fsar("extract-frames", "v", "out", "--workers", 0)
    done = fsar("extract-frames", "v", "out", "--every", 2)
    assert done.code == 2
    assert "error: out was made with every 1 (now 2)" in done.err
    assert "--overwrite" in done.err
    done = fsar("extract-frames", "v", "out", "--every", 2, "--workers", 0, "--overwrite")
    assert done.out.startswith("1 video, 1 frame ")


def _start(long: Path, out: Path) -> subprocess.Popen:
    """The command at work in a process group of its own, with a few videos done."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    process = subprocess.Popen([*FSAR, str(long), str(out), "--workers", "2"], **pipes)
    deadline = time.monotonic() + 60
    while len(list(read_manifest(out))) < 3:
        assert process.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def _assert_whole(out: Path, least: int) -> int:
    """Every listed video has all its frames; returns how many are listed."""
    records = list(read_manifest(out))
    assert least <= len(records) < VIDEOS
    for record in records:
        assert len(list((out / record.id).glob("*.jpg"))) == record.frames == 60
    return len(records)


def test_killed_run_resumes(fsar, long: Path, tmp_path: Path) -> None:
    process = _start(long, tmp_path)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = _assert_whole(tmp_path, least=3)
    document = fsar("extract-frames", long, tmp_path, "--json", "--workers", 0).json
    assert (document["done"], document["skipped"]) == (VIDEOS - done, done)
    assert len(list(tmp_path.glob("kick/*/*.jpg"))) == VIDEOS * 60
    assert not (tmp_path / ".partial").exists()


def test_interrupted_run_says_how_to_go_on(long: Path, tmp_path: Path) -> None:
    process = _start(long, tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stdout == ""
    assert "error: interrupted: " in stderr
    assert f"of {VIDEOS} videos were extracted and are kept\n  run the same command again to go on\n" in stderr
    assert "Traceback" not in stderr
    _assert_whole(tmp_path, least=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "extract.json", "kick", "manifest.csv"]
    assert {path.name for path in (tmp_path / "kick").iterdir()} == {Path(r.id).name for r in read_manifest(tmp_path)}
