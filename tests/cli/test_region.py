"""`--region` and `--no-region`: key regions for any method, from the command line to pictures."""

import pytest
from small_project import small
from videos import make_video

from fsar_cli.config import dump


@pytest.fixture
def folder(project, fsar, tmp_path):
    config = small(project, **{"train.iterations": 2, "train.val_every": 0, "eval.episodes": 10})
    (tmp_path / "fsar.yaml").write_text(dump(config))
    return tmp_path


def test_any_method_trains_evaluates_and_draws_with_regions(folder, fsar):
    trained = fsar("train", "--method", "otam", "--region", "--json").json
    assert "-otam+region-" in trained["run"]
    found = fsar("eval", trained["run"], "--shots", "1", "--json").json
    assert found["method"] == "otam+region" and 0 <= found["regions"]["saturated"] <= 1
    video = folder / "clip.mp4"
    make_video(video, frames=12, content="motion")
    assert fsar("visualize-regions", video).code == 0
    assert (folder / "regions" / "clip" / "overlay.mp4").is_file()


def test_without_the_flag_only_keyregion_has_regions(folder, fsar):
    found = [
        fsar("eval", "--untrained", "--json", "--shots", "1", "--set", f"model.method={method}", *flag).json["regions"]
        for method, flag in (("bimhm", []), ("bimhm", ["--region"]), ("keyregion", []), ("keyregion", ["--no-region"]))
    ]
    assert [regions is not None for regions in found] == [False, True, True, False]


def test_pictures_of_a_method_without_regions_name_the_flag(folder, fsar):
    make_video(folder / "clip.mp4", frames=12)
    result = fsar("visualize-regions", folder / "clip.mp4", "--untrained", "--set", "model.method=trx")
    assert result.code == 2
    assert "selects no key regions" in result.err and "--region" in result.err


def test_a_trained_run_has_the_regions_it_was_trained_with(folder, fsar):
    result = fsar("eval", "some-run", "--region")
    assert result.code == 2
    assert "--untrained" in result.err


def test_the_list_of_methods_says_whose_default_they_are(fsar):
    listed = fsar("methods", "--json").json["methods"]
    assert {m["name"] for m in listed if m["region"]} == {"keyregion"}
    assert {"otam", "bimhm", "trx", "prototype"} <= {m["name"] for m in listed if not m["region"]}
