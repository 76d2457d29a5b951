"""`fsar compare` from the command line: the same episodes for all, what is reused, words, files, refusals."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from small_project import lively, small

from fsar_cli.config import dump
from fsar_cli.engine import whitening as evaluation
from fsar_cli.engine.checkpoint import save_weights
from fsar_cli.engine.runs import create_run
from fsar_cli.engine.statistics.paired import sign_flip_p

FSAR = [sys.executable, "-c", "from fsar_cli.cli.app import main; main()"]


def make_run(project: Path, folder: Path, method: str, seed: int = 0) -> Path:
    """A run folder as training leaves it, with weights that tell clips apart."""
    config = small(project, **{"model.method": method, "eval.episodes": 60, "train.seed": seed})
    made, generator = lively(config), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in made.parameters() if seed else ():
            weight += 0.1 * weight.std(correction=0) * torch.randn(weight.shape, generator=generator)
    run = create_run(config, folder)
    save_weights(made, run.model_file)
    return folder


@pytest.fixture(scope="module")
def trained(project, tmp_path_factory) -> Path:
    """`a [1]` (trx), `b`, `b1` and `b2` (keyregion, other seeds). Read only."""
    root = tmp_path_factory.mktemp("trained") / "runs"
    make_run(project, root / "a [1]", "trx")
    for seed, name in enumerate(("b", "b1", "b2")):
        make_run(project, root / name, "keyregion", seed)
    return root


@pytest.fixture
def runs(trained, project, fsar, tmp_path, monkeypatch) -> Path:
    """The current folder, with an fsar.yaml of the small project, those runs and a cache that the tests share."""
    monkeypatch.setenv("FSAR_CACHE", str(trained.parent / "cache"))
    (tmp_path / "fsar.yaml").write_text(dump(small(project, **{"eval.episodes": 60})))
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def own_cache(runs, monkeypatch) -> Path:
    """An empty cache, of the test's own."""
    monkeypatch.setenv("FSAR_CACHE", str(runs / "cache"))
    return runs / "cache"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_numbers_are_those_of_eval_on_the_same_episodes(runs, fsar):
    found = fsar("compare", "a [1]", "b", "--untrained", "prototype", "--json").json
    assert (found["schema"], found["command"], found["episodes"]) == (1, "compare", 60)
    assert [entry["name"] for entry in found["compared"]] == ["trx", "keyregion", "prototype (untrained)"]
    evaluated = [
        fsar("eval", *arguments, "--json", "--out", "e", "--force").json
        for arguments in (["a [1]"], ["b"], ["--untrained", "--set", "model.method=prototype"])
    ]
    for i, shot in enumerate((1, 2)):
        single = [one["results"][i] for one in evaluated]
        assert found["episode_digests"][str(shot)] == single[0]["episode_digest"]
        several = [score for score in found["results"] if score["shot"] == shot]
        assert [s["mean"] for s in several] == pytest.approx([s["accuracy"] for s in single])
        assert [s["ci95_episodes"] for s in several] == pytest.approx([s["ci95"] for s in single], rel=1e-4)
        for name, shares in found["per_class"][str(shot)].items():
            assert list(shares.values()) == pytest.approx([s["per_class"][name] for s in single])
    assert len(found["differences"]) == 6
    assert all(d["tests"] == 6 for d in found["differences"])


def test_differences_are_paired_and_the_files_say_the_same(runs, fsar):
    result = fsar("compare", "x=a [1]", "y=b", "--json", "--out", "my [out]", "--shots", 2, "--shots", 2)
    assert result.code == 0, result.err
    found = result.json
    assert len(found["differences"]) == 1, "a number of shots given twice counts once"
    (difference,) = found["differences"]
    episodes = rows_of(runs / "my [out]" / "episodes-3w2s.csv")
    assert len(episodes) == 60
    paired = np.array([float(row["y"]) - float(row["x"]) for row in episodes])
    assert difference["mean"] == pytest.approx(paired.mean())
    assert difference["ci95_episodes"] == pytest.approx(1.96 * paired.std(ddof=1) / 60**0.5, rel=1e-4)
    there = {path.name for path in (runs / "my [out]").iterdir()}
    assert {Path(file).name for file in found["files"]} | {".lock"} == there
    written = json.loads((runs / "my [out]" / "compare.json").read_text())
    assert written.pop("sources") == [str(runs / name) for name in ("a [1]", "b")] and written.pop("frames")
    assert written == {key: value for key, value in found.items() if key not in ("command", "files")}
    text = (runs / "my [out]" / "compare.md").read_text()
    assert difference["words"] in text and "| 3-way 2-shot | x |" in text
    (row,) = rows_of(runs / "my [out]" / "differences.csv")
    assert float(row["mean"]) == difference["mean"] and row["first"] == "y"
    with Image.open(runs / "my [out]" / "compare.png") as picture:
        assert picture.width > 1000


def test_what_was_evaluated_before_is_not_evaluated_again(runs, own_cache, fsar, monkeypatch):
    assert fsar("eval", "b").code == 0
    encoded = []
    real = evaluation.encode_videos
    monkeypatch.setattr(evaluation, "encode_videos", lambda *a, **k: encoded.append(1) or real(*a, **k))
    first = fsar("compare", "a [1]", "b")
    assert first.code == 0, first.err
    assert len(encoded) == 1, "b is known from eval"
    assert "keyregion: 1-shot, 2-shot evaluated before" in first.err
    again = fsar("compare", "a [1]", "b", "--json")
    assert len(encoded) == 1
    other = fsar("compare", "a [1]", "b", "--seed", 1, "--json")
    assert len(encoded) == 3, "other episodes"
    assert other.json["episode_digests"] != again.json["episode_digests"]
    plain = fsar("compare", "a [1]", "b", "--json", "--no-cache")
    assert len(encoded) == 5
    assert plain.json["differences"] == again.json["differences"]
    fsar("compare", "a [1]", "b,model.match.temporal_test_weight=3.0")
    assert len(encoded) == 6, "another setting of the same weights"
    for file in own_cache.rglob("arrays.npz"):
        file.write_bytes(b"damaged")
    healed = fsar("compare", "a [1]", "b", "--json")
    assert healed.json["differences"] == again.json["differences"] and len(encoded) == 8
    weights = load_file(runs / "b" / "model.safetensors")
    head = next(name for name in weights if not name.startswith("features."))
    save_file(weights | {head: weights[head] + 1}, runs / "b" / "model.safetensors")
    fsar("compare", "a [1]", "b")
    assert len(encoded) == 9, "another head in the same place"


def test_the_same_weights_twice_are_told_to_be_the_same(runs, fsar):
    result = fsar("compare", "b", "same=b,train.seed=5", "--out", "c")
    assert result.code == 0, result.err
    assert "same and keyregion got as many right in each of 60 episodes" in result.out
    assert "no difference" in result.out


def test_untrained_methods_need_no_run_and_take_settings_of_their_own(runs, fsar):
    found = fsar("compare", "--untrained", "prototype", "--untrained", "wide=trx,model.match.cardinalities=[2,3]",
                 "--json")  # fmt: skip
    assert found.code == 0, found.err
    assert [c["name"] for c in found.json["compared"]] == ["prototype (untrained)", "wide"]
    assert found.json["compared"][1]["changes"] == ["model.match.cardinalities=[2,3]"]


def test_names_are_the_shortest_that_tell_apart(runs, fsar):
    shutil.copytree(runs / "b", runs / "other" / "b")
    found = fsar("compare", "a [1]", "b", "b1", "b,model.match.temporal_test_weight=2.5", "--json", "--shots", 1).json
    names = [entry["name"] for entry in found["compared"]]
    assert names == ["trx", "b", "b1", "keyregion match.temporal_test_weight=2.5"]
    twins = fsar("compare", "b", "other/b", "--json", "--shots", 1).json
    assert [entry["name"] for entry in twins["compared"]] == ["b", "other/b"]


def test_training_runs_of_a_method_are_taken_together(runs, fsar):
    alone = fsar("compare", "b", "b1", "b2", "--untrained", "prototype", "--json", "--shots", 1)
    means = [entry["accuracy"]["1"] for entry in alone.json["compared"]]
    grouped = fsar("compare", "b", "b1", "b2", "--untrained", "prototype", "--group", "method", "--shots", 1)
    assert grouped.code == 0, grouped.err
    assert "keyregion, 3 runs" in grouped.out and "± training" in grouped.out
    found = json.loads((runs / "compare" / "compare.json").read_text())
    score, fixed = found["results"]
    assert score["mean"] == pytest.approx(np.mean(means[:3]))
    assert score["ci95_training"] == pytest.approx(4.3027 * np.std(means[:3], ddof=1) / 3**0.5, rel=1e-4)
    assert fixed["ci95_training"] is None
    for name, shares in found["per_class"]["1"].items():
        single = [alone.json["per_class"]["1"][name][key] for key in ("b", "b1", "b2")]
        assert shares["keyregion"] == pytest.approx(np.mean(single))
    (difference,) = found["differences"]
    assert difference["mean"] == pytest.approx(means[3] - np.mean(means[:3]))
    assert difference["ci95_training"] == pytest.approx(score["ci95_training"])
    assert "between training runs" in difference["words"]
    rows = rows_of(runs / "compare" / "episodes-3w1s.csv")
    queries = [[round(3 * float(row[name])) for name in ("b", "b1", "b2", "prototype (untrained)")] for row in rows]
    whole = np.array([3 * single - sum(three) for *three, single in queries])
    assert difference["p"] == pytest.approx(sign_flip_p(whole)), "of the runs' mean, in thirds of a query"
    by_name = fsar("compare", "k=b", "k=b1", "l=b2", "--group", "name", "--json", "--shots", 1)
    assert [(s["name"], s["runs"]) for s in by_name.json["results"]] == [("k", 2), ("l", 1)]
    assert by_name.json["differences"][0]["ci95_training"] is None, "one run has no spread"


def test_a_method_with_regions_is_another_method(runs, fsar):
    options = ("--untrained", "prototype", "--untrained", "prototype,model.region.enabled=true", "--shots", 1)
    found = fsar("compare", "b", *options, "--group", "method", "--json").json
    expected = ["keyregion", "prototype (untrained)", "prototype+region (untrained)"]
    assert [(score["name"], score["runs"]) for score in found["results"]] == [(name, 1) for name in expected]


def test_evaluation_settings_are_those_of_the_first(runs, fsar):
    config = runs / "b" / "config.yaml"
    config.write_text(config.read_text().replace("episodes: 60", "episodes: 30").replace("seed: 0", "seed: 4"))
    found = fsar("compare", "a [1]", "b", "--json")
    assert found.code == 0, found.err
    assert (found.json["episodes"], found.json["seed"]) == (60, 0)
    turned = fsar("compare", "b", "a [1]", "--json").json
    assert (turned["episodes"], turned["seed"]) == (30, 4)


def test_against_compares_all_with_one(runs, fsar):
    arguments = ["compare", "a [1]", "b", "--untrained", "prototype", "--shots", 1, "--json"]
    found = fsar(*arguments, "--against", "keyregion").json["differences"]
    assert [(d["first"], d["second"]) for d in found] == [(x, "keyregion") for x in ("trx", "prototype (untrained)")]
    every = {(d["first"], d["second"]): d["mean"] for d in fsar(*arguments).json["differences"]}
    assert found[0]["mean"] == pytest.approx(-every["keyregion", "trx"])
    wrong = fsar(*arguments, "--against", "keyregon")
    assert wrong.code == 2 and "did you mean 'keyregion'" in wrong.err


def test_runs_for_different_test_videos_are_refused_and_a_common_set_is_taken(runs, fsar, project):
    lines = (project / "splits.csv").read_text().splitlines(keepends=True)
    shorter = runs / "shorter.csv"
    shorter.write_text("".join(line for line in lines if "kick_3" not in line))
    config = runs / "b" / "config.yaml"
    config.write_text(config.read_text().replace(str(project / "splits.csv"), str(shorter)))
    refused = fsar("compare", "a [1]", "b")
    assert refused.code == 3
    assert "different 'test' videos" in refused.err and "lists 12" in refused.err and "lists 11" in refused.err
    assert "--dataset" in refused.err
    assert fsar("compare", "a [1]", "b", "--splits", shorter, "--json").json["videos"] == 11
    other = runs / "cams"
    other.mkdir()
    text = {"data": {"name": "cams", "frames": str(project / "frames"), "splits": str(project / "splits.csv")}}
    (other / "fsar.yaml").write_text(json.dumps(text | {"eval": {"split": "train", "shots": [1]}}))
    found = fsar("compare", "a [1]", "b", "--dataset", "cams", "--json").json
    assert (found["split"], found["videos"], len(found["differences"])) == ("train", 12, 1)
    moved = runs / "moved.csv"
    shutil.copy(project / "splits.csv", moved)
    config.write_text(config.read_text().replace(str(shorter), str(moved)))
    assert fsar("compare", "a [1]", "b").code == 0, "the same list in another place"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "needs two or more, not 0"),
        (["b"], 2, "needs two or more, not 1"),
        (["b", "./b"], 2, "given twice"),
        (["b", "nowhere"], 3, "nowhere is no run folder"),
        (["b", "--untrained", "protoype"], 2, "did you mean 'prototype'"),
        (["b", "--untrained", "prototype,model.backbon=x"], 2, "did you mean 'model.backbone'"),
        (["x=b", "x=a [1]"], 2, "two are called 'x'"),
        (["b", "a [1]", "--group", "seed"], 2, "takes method or name"),
        (["b", "k=b,train.seed=1", "--group", "method"], 2, "all 2 belong to one group"),
        (["b", "a [1]", "--preset", "demo"], 2, "their own configuration"),
        (["b", "a [1]", "--way", "9"], 3, "9"),
        (["b", "a [1]", "--split", "tests"], 3, "tests"),
        (["b", "a [1]", "--device", "tpu"], 2, "unknown device"),
        (["b", "a [1]", "--out", "fsar.yaml"], 3, "fsar.yaml"),
        (["b", "a [1]", "--dataset", "nope"], 3, "no data set 'nope'"),
    ],
)
def test_wrong_input_is_named_with_its_exit_code(runs, fsar, monkeypatch, arguments, code, words):
    monkeypatch.setattr(evaluation, "encode_videos", lambda *_, **__: pytest.fail("refused too late"))
    result = fsar("compare", *arguments)
    assert result.code == code, result.err
    assert words in result.err and "Traceback" not in result.err
    assert result.out == "" and not (runs / "compare" / "compare.json").exists()


def test_a_run_without_weights_is_found_before_the_first_evaluation(runs, fsar, monkeypatch):
    (runs / "b" / "model.safetensors").unlink()
    monkeypatch.setattr(evaluation, "encode_videos", lambda *_, **__: pytest.fail("refused too late"))
    result = fsar("compare", "a [1]", "b")
    assert result.code == 3 and "no weights at" in result.err and "--resume" in result.err


def test_ctrl_c_keeps_what_is_evaluated(runs, own_cache):
    process = subprocess.Popen(
        [*FSAR, "compare", "a [1]", "b", "--episodes", "3000", "--shots", "1"],
        cwd=runs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    seen, end = "", time.monotonic() + 90
    while "keyregion: evaluating" not in seen and time.monotonic() < end and process.poll() is None:
        seen += process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, seen + err
    assert "1 of 2 are evaluated" in err and "goes on from there" in err and out == ""
    assert len(list(own_cache.rglob("arrays.npz"))) == 1
    assert not [path for path in (own_cache / "results").iterdir() if path.name.startswith(".") and path.is_dir()]


def test_the_tables_on_stdout_have_a_row_for_each(runs, fsar):
    result = fsar("compare", "a [1]", "b", "--quiet")
    assert result.err == ""
    assert result.out.count("keyregion − trx") == 2
    for words in ("± episodes", "± videos", "kick", "largest difference", "Each was trained once", "compare"):
        assert words in result.out
