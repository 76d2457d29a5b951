"""train, eval and visualize-regions from the command line: exit codes, JSON, defaults, errors that say what to do."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file
from small_project import small
from videos import make_video

from fsar_cli.config import dump
from fsar_cli.core.build import build_method
from fsar_cli.data.video import probe
from fsar_cli.engine.checkpoint import save_weights
from fsar_cli.engine.runs import create_run

FSAR = [sys.executable, "-c", "from fsar_cli.cli.app import main; main()"]


@pytest.fixture
def folder(project, fsar, tmp_path) -> Path:
    """The current folder, with an fsar.yaml of the small project."""
    config = small(project, **{"train.iterations": 4, "train.val_every": 0, "eval.episodes": 50})
    (tmp_path / "fsar.yaml").write_text(dump(config))
    return tmp_path


@pytest.fixture(scope="module")
def weights(project, tmp_path_factory) -> Path:
    """A run folder of the small project with weights that nobody trained. Read only."""
    config = small(project, **{"eval.episodes": 50})
    run = create_run(config, tmp_path_factory.mktemp("runs") / "run")
    save_weights(build_method(config), run.model_file)
    return run.path


@pytest.fixture
def run(folder, weights) -> str:
    """The name of a copy of that run in the current folder."""
    shutil.copytree(weights, folder / "my run")
    return "my run"


def test_train_eval_and_visualize_work_with_no_further_flag(folder, fsar):
    result = fsar("train")
    assert result.code == 0, result.err
    runs = list((folder / "runs").iterdir())
    assert len(runs) == 1
    assert runs[0].name.endswith("-small-keyregion-3w2s")
    expected = {"config.yaml", "env.json", "model.safetensors", "state.pt", "metrics.csv", "log.txt"}
    assert expected <= {path.name for path in runs[0].iterdir()}
    assert "trained 4 episodes" in result.out

    result = fsar("eval", "--shots", "2")
    assert result.code == 0, result.err
    assert "3-way 2-shot" in result.out
    assert "1-shot" not in result.out
    assert "(the newest)" in result.err
    assert (runs[0] / "eval" / "episodes-3w2s.csv").is_file()

    video = folder / "a clip [1] (x).mp4"
    make_video(video, frames=20, width=65, height=49, pix_fmt="yuv444p", content="motion")
    result = fsar("visualize-regions", video)
    assert result.code == 0, result.err
    made = folder / "regions" / "a clip [1] (x)"
    names = {"overlay.mp4", "contact-sheet.png", "heat-maps.png", "regions.json"}
    assert {p.name for p in made.iterdir()} == names | {".lock"}
    info = probe(made / "overlay.mp4")
    assert (info.codec, info.pix_fmt, info.width, info.height) == ("h264", "yuv420p", 66, 50)
    assert info.frames == 20


def test_json_is_one_document_and_the_same_as_the_files(folder, fsar):
    trained = fsar("train", "--json", "--iterations", "2").json
    assert (trained["schema"], trained["command"], trained["iterations"]) == (1, "train", 2)
    found = fsar("eval", trained["run"], "--json", "--episodes", "30").json
    assert found["schema"] == 1
    assert [r["shot"] for r in found["results"]] == [1, 2]
    assert [r["episodes"] for r in found["results"]] == [30, 30]
    written = json.loads((Path(found["files"]) / "result.json").read_text())
    assert written["results"][0]["episode_digest"] == found["results"][0]["episode_digest"]
    assert written["results"][0]["accuracy"] == found["results"][0]["accuracy"]


def test_a_run_can_be_evaluated_from_another_folder(folder, run, fsar, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    result = fsar("eval", folder / run, "--shots", "1")
    assert result.code == 0, result.err


def test_dry_run_says_what_and_how_much_and_writes_nothing(folder, fsar):
    result = fsar("train", "--dry-run", "--json")
    assert result.code == 0, result.err
    plan = result.json
    assert plan["clips_per_episode"] == 9
    assert plan["optimiser_steps"] == 2
    assert plan["total_gib"] == pytest.approx(
        plan["parameters_gib"] + plan["gradients_and_optimiser_gib"] + plan["activations_gib"], abs=0.02
    )
    assert not (folder / "runs").exists()


def test_resume_continues_and_says_which_value_wins(folder, fsar):
    fsar("train", "--out", "run", "--iterations", "2")
    result = fsar("train", "--resume", "run", "--set", "train.iterations=4")
    assert result.code == 0, result.err
    assert "train.iterations comes from --set" in result.err
    assert "at episode 2" in result.err
    assert "trained 4 episodes" in result.out
    again = fsar("train", "--resume", "run", "--preset", "demo")
    assert again.code == 2


def test_a_run_without_a_checkpoint_is_begun_at_its_first_episode(folder, fsar, project):
    """As a process leaves it that is killed before its first one."""
    states = {}
    config = small(project, **{"train.iterations": 2, "train.val_every": 0, "eval.episodes": 50, "model.method": "trx"})
    for name, command in (("a", ["--out", "a"]), ("b", ["--resume", "b"]), ("c", ["--out", "c", "--go-on"])):
        if name != "a":
            create_run(config, folder / name)
        done = fsar("train", *command, "--method", "trx", "--iterations", "2")
        assert done.code == 0, done.err
        assert (f"resuming {name} at episode 0" in done.err) == (name != "a")
        states[name] = load_file(folder / name / "model.safetensors")
    assert all(torch.equal(states["a"][key], states[name][key]) for name in "bc" for key in states["a"])
    again = fsar("train", "--out", "c", "--go-on", "--method", "trx", "--iterations", "2", "--preset", "demo")
    assert again.code == 0 and "resuming c at episode 2" in again.err and "comes from" not in again.err
    assert fsar("train", "--go-on").code == 2


def test_an_existing_run_folder_is_never_overwritten(folder, run, fsar):
    before = (folder / run / "model.safetensors").read_bytes()
    result = fsar("train", "--out", run, "--iterations", "1", "--seed", "5")
    assert result.code == 2
    assert "holds a run already" in result.err
    assert (folder / run / "model.safetensors").read_bytes() == before


def test_untrained_evaluation_needs_no_run(folder, fsar):
    result = fsar("eval", "--untrained", "--set", "model.method=prototype", "--shots", "1", "--json")
    assert result.code == 0, result.err
    assert result.json["method"] == "prototype"
    assert result.json["run"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "--method", "trxx"], 2, "did you mean 'trx'"),
        (["train", "--backbone", "resnet500"], 2, "did you mean 'resnet50'"),
        (["train", "--set", "optim.lrate=1"], 2, "did you mean 'optim.lr'"),
        (["train", "--set", "optim.lr"], 2, "KEY=VALUE"),
        (["train", "--way", "9"], 3, "9"),
        (["train", "--shot", "4"], 3, "climb (4)"),
        (["train", "--frames", "nowhere"], 3, "nowhere"),
        (["train", "--splits", "nowhere.csv"], 3, "nowhere.csv"),
        (["train", "--weights", "nowhere.pth"], 3, "nowhere.pth"),
        (["train", "--device", "cuda:99"], 4, "cuda:99" if torch.cuda.is_available() else "no CUDA device"),
        (["train", "--device", "tpu"], 2, "unknown device 'tpu'"),
        (["train", "--resume", "nowhere"], 3, "no run folder"),
        (["train", "--set", "model.region.side=64"], 2, "smaller than clip.size"),
        (["eval"], 3, "no trained run"),
        (["eval", "nowhere"], 3, "no run folder"),
        (["eval", "--untrained", "--way", "4"], 3, "4"),
        (["eval", "--untrained", "--split", "tests"], 3, "tests"),
        (["visualize-regions", "nowhere.mp4"], 3, "nowhere.mp4"),
    ],
)
def test_wrong_input_is_named_with_its_exit_code(folder, fsar, arguments, code, words):
    result = fsar(*arguments)
    assert result.code == code, result.err
    assert words in result.err
    assert "Traceback" not in result.err
    assert not (folder / "runs").exists()


def test_a_checkpoint_of_another_number_of_frames_is_refused(run, fsar):
    result = fsar("eval", run, "--set", "clip.frames=6")
    assert result.code == 3
    assert "keep clip.frames" in result.err


def test_a_method_without_regions_cannot_be_visualised(folder, fsar):
    fsar("train", "--out", "run", "--iterations", "1", "--method", "trx")
    make_video(folder / "v.mp4", frames=10)
    result = fsar("visualize-regions", "v.mp4", "--run", "run")
    assert result.code == 2
    assert "--region" in result.err


@pytest.mark.parametrize("name", ["empty.mp4", "garbage.mp4"])
def test_a_broken_video_is_named_before_anything_is_written(folder, fsar, name):
    (folder / name).write_bytes(b"" if name == "empty.mp4" else b"no video" * 100)
    result = fsar("visualize-regions", name, "--untrained")
    assert result.code == 3
    assert name in result.err
    assert not (folder / "regions").exists()


def test_regions_of_a_turned_video_with_a_variable_rate_lie_inside_it_at_its_times(folder, fsar):
    stamps = np.cumsum([0, *([40, 110, 20] * 8)]).tolist()  # milliseconds
    make_video(folder / "v.mp4", width=60, height=80, rotation=90, pts=stamps, content="motion")
    result = fsar("visualize-regions", "v.mp4", "--untrained", "--json")
    assert result.code == 0, result.err
    document = json.loads(Path(result.json["regions"]).read_text())
    assert (document["width"], document["height"]) == (60, 80)
    frames = document["windows"][0]
    assert [f["seconds"] for f in frames] == pytest.approx([stamps[f["frame"]] / 1000 for f in frames], abs=1e-6)
    for frame in frames:
        x0, y0, x1, y1 = frame["box"]
        assert -0.01 <= x0 < x1 <= 60.01
        assert -0.01 <= y0 < y1 <= 80.01
        assert np.array(frame["weights"]).shape == (1, 1)


def test_long_videos_are_cut_into_windows(folder, fsar):
    make_video(folder / "v.mp4", frames=50, fps=10, content="motion")
    result = fsar("visualize-regions", "v.mp4", "--untrained", "--window", "2", "--sheets", "2", "--json")
    document = json.loads(Path(result.json["regions"]).read_text())
    assert len(document["windows"]) == result.json["windows"] == 3
    assert len(result.json["sheets"]) == 2
    starts = [window[0]["seconds"] for window in document["windows"]]
    assert starts == sorted(starts)
    assert starts[1] > document["windows"][0][-1]["seconds"]


def test_two_cameras_have_pictures_of_their_own_and_force_leaves_no_sheet_of_the_other(folder, fsar):
    for camera, frames in (("cam1", 20), ("cam2", 10)):
        make_video(folder / camera / "clip.mp4", frames=frames, fps=10, content="motion")
    draw = ("visualize-regions", "--untrained", "--window", 1)
    assert fsar(*draw, "cam1/clip.mp4").code == 0
    sheets = [folder / f"regions/clip/{name}-{n:02d}.png" for name in ("contact-sheet", "heat-maps") for n in (1, 2)]
    assert all(sheet.is_file() for sheet in sheets)
    second = fsar(*draw, "cam2/clip.mp4", "--sheets", 0)
    assert f"regions/clip holds results of {folder / 'cam1/clip.mp4'}; these go to regions/cam2-clip" in second.err
    assert "regions/cam2-clip/overlay.mp4" in second.out
    named = (*draw, "cam2/clip.mp4", "--out", "regions/clip", "--sheets", 0)
    refused = fsar(*named)
    assert refused.code == 2 and "--force replaces them" in refused.err and all(sheet.is_file() for sheet in sheets)
    assert fsar(*named, "--force").code == 0
    assert not any(sheet.exists() for sheet in sheets)


def test_a_run_is_neither_tested_on_what_it_was_trained_on_nor_trained_on_another_split(folder, fsar, project):
    lines = (project / "splits.csv").read_text()
    (folder / "own.csv").write_text(lines)
    assert fsar("train", "--out", "run", "--splits", "own.csv").code == 0
    rows = [line for line in lines.splitlines(keepends=True) if not line.startswith("#")]
    roles = {"train": "test", "test": "train"}
    changed = [",".join([roles.get(part, part), rest]) for part, _, rest in (row.partition(",") for row in rows)]
    (folder / "own.csv").write_text("".join(changed))
    for arguments in (
        ["eval", "run"],
        ["eval", "run", "--splits", "own.csv", "--out", "e"],
        ["support", "check", "run"],
    ):
        result = fsar(*arguments)
        assert result.code == 3 and "was trained on climb, fall, wave" in result.err and result.out == ""
        assert "--accept-overlap" in result.err
    resumed = fsar("train", "--resume", "run", "--iterations", 6)
    assert resumed.code == 3 and "own.csv is not what run was trained on: train: 3 classes gone" in resumed.err
    assert fsar("train", "--resume", "run", "--iterations", 6, "--splits", "run/trained-on.csv").code == 0
    shown = fsar("eval", "run", "--accept-overlap", "--shots", 1)
    assert "some classes are not new to the run, which was trained on climb, fall, wave" in shown.out
    written = json.loads((folder / "run/eval/result.json").read_text())
    assert [known["class"] for known in written["overlap"]] == ["climb", "fall", "wave"]
    assert written["split_digest"] != written["trained_split_digest"]


def started(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([*FSAR, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)


def test_ctrl_c_on_the_real_process_saves_and_resume_finishes(folder, fsar):
    process = started(folder, "train", "--out", "run", "--iterations", "4000")
    wait_for(folder / "run" / "state.pt", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume 'run'" in err
    step = int(err.split("episodes up to ")[1].split()[0])
    result = fsar("train", "--resume", "run", "--set", f"train.iterations={step + 1}")
    assert result.code == 0, result.err
    assert f"at episode {step}" in result.err


def test_kill_9_leaves_a_run_that_resumes(folder, fsar):
    process = started(folder, "train", "--out", "run", "--iterations", "4000")
    wait_for(folder / "run" / "state.pt", process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    result = fsar("train", "--resume", "run", "--set", "train.iterations=2")
    assert result.code == 0, result.err
    assert fsar("eval", "run", "--shots", "1").code == 0


def test_another_data_set_brings_its_data_and_evaluation_and_nothing_else(folder, run, fsar, project):
    other = folder / "other cams"
    other.mkdir()
    text = {"data": {"name": "cams", "frames": str(project / "frames"), "splits": str(project / "splits.csv")}}
    text |= {"eval": {"split": "train", "shots": [1]}, "model": {"method": "trx"}}
    (other / "fsar.yaml").write_text(json.dumps(text))
    found = fsar("eval", run, "--dataset", "cams", "--json").json
    assert (found["dataset"], found["split"], found["method"]) == ("cams", "train", "keyregion")
    assert found["files"] == str(Path(run) / "eval-cams")
    by_hand = fsar("eval", run, "--split", "train", "--shots", 1, "--json").json
    same = ("accuracy", "episode_digest", "confusion")
    assert [found["results"][0][key] for key in same] == [by_hand["results"][0][key] for key in same]
    flag = fsar("eval", run, "--dataset", "other cams", "--split", "test", "--json").json
    assert flag["split"] == "test", "flags win over the data set"
    assert fsar("eval", "--untrained", "--dataset", "cams", "--json").json["dataset"] == "cams"
    missing = fsar("eval", run, "--dataset", "camz")
    assert missing.code == 3 and "did you mean 'cams'" in missing.err


def test_freeze_backbone_trains_the_heads_on_views_encoded_once(folder, fsar, tmp_path, monkeypatch):
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path / "cache of its own"))  # other tests encode the same videos
    result = fsar("train", "--freeze-backbone", "--out", "run", "--iterations", "2", "--verbose")
    assert result.code == 0, result.err
    config = (folder / "run" / "config.yaml").read_text()
    assert "freeze_backbone: true" in config and "views: 4" in config
    other = fsar("train", "--freeze-backbone", "--out", "other", "--iterations", "2", "--set", "train.views=2")
    assert other.code == 0 and "views: 2" in (folder / "other" / "config.yaml").read_text()
    assert fsar("eval", "run", "--shots", 1, "--json").json["features_cached"] is False
    assert fsar("eval", "run", "--shots", 2, "--json").json["features_cached"] is True, "another number of shots"
    assert fsar("eval", "run", "--shots", 2, "--json", "--no-cache").json["features_cached"] is False


def test_a_repeated_evaluation_matches_nothing_and_says_so(folder, fsar, tmp_path, monkeypatch):
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path / "cache of its own"))
    untrained = ("eval", "--untrained", "--shots", 1)
    alone = fsar(*untrained, "--json", "--no-cache").json
    assert not (tmp_path / "cache of its own").exists()
    first = fsar(*untrained, "--json").json
    again = fsar(*untrained, "--json").json
    assert (alone["evaluated_before"], first["evaluated_before"], again["evaluated_before"]) == ([], [], [1])
    for name in ("accuracy", "per_class", "episode_digest", "parts"):
        assert alone["results"][0][name] == first["results"][0][name] == again["results"][0][name]
    assert alone["regions"] == first["regions"] == again["regions"]
    shown = fsar(*untrained)
    assert "1-shot evaluated before" in shown.err and "12 videos evaluated before" in shown.out
    assert fsar(*untrained, "--json", "--no-cache").json["evaluated_before"] == []


WHITE = ("--set", "model.match.root=true", "--set", "model.match.whiten=train")


def test_whitened_evaluation_says_by_what(folder, fsar):
    result = fsar("eval", "--untrained", "--set", "model.method=prototype", *WHITE)
    assert result.code == 0 and "whitened by 12 clips of 3 train classes; without groups" in result.out
    document = json.loads((folder / "eval" / "result.json").read_text())
    assert document["whitening"]["clips"] == 12 and document["precision"] == "float32"
    plain = fsar("eval", "--untrained", "--force", "--set", "model.method=prototype", "--json").json
    assert plain["whitening"] is None and plain["results"][0]["accuracy"] != document["results"][0]["accuracy"]


def test_heads_are_trained_behind_a_whitening_which_the_run_keeps(folder, fsar):
    refused = fsar("train", "--method", "trx", *WHITE)
    assert (refused.code, refused.out) == (2, "") and "to features that are not trained" in refused.err
    assert fsar("train", "--method", "trx", "--freeze-backbone", *WHITE, "--out", "white").code == 0
    found = fsar("eval", "white", "--json").json
    assert found["whitening"]["clips"] == 12 and found["whitening"]["shared_groups"] is None
    other = fsar("eval", "white", "--set", "model.match.whiten=none")
    assert other.code == 3 and "'preparation.frames_matrix' is unknown" in other.err


def test_compare_says_what_each_was_whitened_by(folder, fsar):
    arguments = ("--untrained", "plain=prototype", "--untrained", "white=prototype,model.match.whiten=train")
    result = fsar("compare", *arguments, "--shots", "1", "--episodes", "50")
    assert result.code == 0 and "white: whitened by 12 clips of 3 train classes" in result.out
    compared = json.loads((folder / "compare" / "compare.json").read_text())["compared"]
    assert [one["whitening"] and one["whitening"]["clips"] for one in compared] == [None, 12]


def test_a_file_of_weights_says_how_frames_reach_it(folder, fsar):
    torch.save(torchvision.models.mobilenet_v3_small(weights=None).state_dict(), "w.pth")
    said = "frames are not normalised for the weights of w.pth: model.normalize=true"
    eval_untrained = ["eval", "--untrained", "--episodes", "5", "--set", "model.weights=w.pth", "--force", "--out", "e"]
    assert said in fsar(*eval_untrained).err
    assert said not in fsar(*eval_untrained, "--set", "model.normalize=true").err
