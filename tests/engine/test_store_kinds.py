"""From videos to an evaluation on each kind of frame store."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_project import small
from stores import stored
from videos import make_video

from fsar_cli.engine.evaluate import evaluate, write_results
from fsar_cli.engine.runs import create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.tools.doctor.data import check_project

CPU = torch.device("cpu")


def _run(project: Path, kind: str, out: Path, workers: int = 0) -> tuple[dict, dict]:
    """(weights after two episodes, result of the evaluation) on a store of a kind."""
    changes = {"data.frames": stored(project / "videos", out / kind, kind, short_side=36).root, "eval.episodes": 10}
    changes |= {"train.iterations": 2, "train.val_every": 0, "train.workers": workers, "optim.accumulate": 1}
    config = small(project, **changes)
    trainer = Trainer(config, create_run(config, out / f"run-{kind}"), CPU)
    trainer.run()
    result = evaluate(trainer.method.eval(), config, CPU)
    write_results(result, config, out)
    document = json.loads((out / "result.json").read_text())
    for shot in document["results"]:
        del shot["seconds"], shot["seconds_per_episode"]
    return trainer.method.state_dict(), document["results"]


def test_files_and_packed_give_the_same_bits_and_videos_train_and_evaluate(project: Path, tmp_path: Path) -> None:
    weights, results = _run(project, "files", tmp_path)
    others, same = _run(project, "packed", tmp_path, workers=2)
    assert all(torch.equal(others[name], value) for name, value in weights.items())
    assert same == results
    others, found = _run(project, "videos", tmp_path)
    episodes = ("way", "shot", "episodes", "episode_digest")
    assert [[r[key] for key in episodes] for r in found] == [[r[key] for key in episodes] for r in results]
    assert all(np.isfinite(r["accuracy"]) for r in found)
    assert not all(torch.equal(others[name], value) for name, value in weights.items()), "no JPEG in between"


@pytest.mark.parametrize("kind", ["packed", "videos"])
def test_doctor_counts_the_clips_of_each_kind(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    stored(project / "videos", tmp_path / "frames", kind)
    (tmp_path / "fsar.yaml").write_text(
        f"data: {{videos: {project / 'videos'}, frames: frames, splits: {project / 'splits.csv'}}}\n"
    )
    monkeypatch.chdir(tmp_path)
    findings = {finding.name: finding for finding in check_project()}
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert "frames: 8 classes, 32 videos" in findings["frames"].text


def test_doctor_misses_the_videos_that_a_store_reads_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        make_video(tmp_path / f"videos/kick/{name}.mp4", frames=5)
    stored(tmp_path / "videos", tmp_path / "frames", "videos")
    (tmp_path / "videos/kick/b.mp4").unlink()
    monkeypatch.chdir(tmp_path)
    Path("fsar.yaml").write_text("data: {name: x}\n")
    finding = next(finding for finding in check_project() if finding.name == "frames")
    assert finding.status == "problem"
    assert finding.text == "frames: 1 of 2 videos are away or have changed, such as 'kick/b'"
    (tmp_path / "videos").rename(tmp_path / "elsewhere")
    videos = next(finding for finding in check_project() if finding.name == "videos")
    assert videos.text.endswith("frames reads them where they were indexed")
