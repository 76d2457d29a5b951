"""`fsar init`: the file it writes means what the comments say."""

import re
from pathlib import Path

import yaml

from fsar_cli.config import Config, load
from fsar_cli.settings import resolve


def uncommented(text: str) -> str:
    """The file with every commented setting switched on."""
    return re.sub(r"^# (?= *\w+:(?: |$))(?!fsar\.yaml|preset)", "", text, flags=re.MULTILINE)


def test_init_writes_a_file_that_changes_nothing_but_the_name(fsar, tmp_path):
    result = fsar("init", "my clips")
    assert result.code == 0
    found = resolve(path=tmp_path / "my clips" / "fsar.yaml", environ={}).config
    assert found.model_copy(update={"data": Config().data}) == Config()
    assert found.data == Config().data.model_copy(update={"name": "my-clips"})


def test_every_setting_stands_in_the_file_with_its_present_value(fsar, tmp_path):
    fsar("init", "p")
    everything = load(uncommented((tmp_path / "p" / "fsar.yaml").read_text()))
    assert everything == resolve(path=tmp_path / "p" / "fsar.yaml", environ={}).config
    given = yaml.safe_load(uncommented((tmp_path / "p" / "fsar.yaml").read_text()))
    assert given == everything.model_dump(mode="json")


def test_with_a_preset_the_comments_show_its_values(fsar, tmp_path):
    fsar("init", "p", "--preset", "kinetics100")
    text = (tmp_path / "p" / "fsar.yaml").read_text()
    assert "preset: kinetics100\n" in text and "#   iterations: 30000 " in text
    assert resolve(path=tmp_path / "p" / "fsar.yaml", environ={}).config.data.name == "kinetics100"


def test_the_next_steps_are_in_order_and_fit(fsar, tmp_path):
    result = fsar("init", "--preset", "hmdb51")
    order = ["put your videos into videos", "fsar doctor", "fsar extract-frames", "fsar splits make hmdb51-arn"]
    order += ["fsar splits check", "fsar train", "fsar eval --shots 5", "fsar visualize-regions VIDEO"]
    lines = [line.strip() for line in result.out.splitlines()]
    assert [line for line in lines if any(line.startswith(start) for start in order)] == lines
    assert [next(i for i, line in enumerate(lines) if line.startswith(start)) for start in order] == list(range(8))
    document = fsar("init", "other place", "--json").json
    assert document["next"][0] == "cd 'other place'" and "fsar splits make arn" in document["next"]


def test_paths_are_written_as_seen_from_the_project_folder(fsar, tmp_path):
    (tmp_path / "clips: #1").mkdir()
    result = fsar("init", "deep/er", "--videos", "clips: #1", "--name", "yes")
    assert "put your videos" not in result.out
    found = resolve(path=tmp_path / "deep" / "er" / "fsar.yaml", environ={}).config
    assert found.data.videos == Path("../../clips: #1")
    assert found.data.name == "yes"
    fsar("init", "abs", "--videos", tmp_path / "v")
    assert resolve(path=tmp_path / "abs" / "fsar.yaml", environ={}).config.data.videos == tmp_path / "v"


def test_an_unknown_preset_writes_nothing(fsar, tmp_path):
    assert fsar("init", "p", "--preset", "nope").code == 2
    assert not (tmp_path / "p").exists()


def test_an_existing_file_is_kept_unless_forced(fsar, tmp_path):
    (tmp_path / "fsar.yaml").write_text("optim: {lr: 1}\n")
    refused = fsar("init")
    assert refused.code == 2 and "fsar.yaml exists" in refused.err and "--force" in refused.err
    assert (tmp_path / "fsar.yaml").read_text() == "optim: {lr: 1}\n"
    assert fsar("init", "--force").code == 0
    assert resolve(environ={}).config.optim.lr == 1e-3


def test_a_preset_that_trains_nothing_leads_to_its_evaluation(fsar, tmp_path):
    steps = fsar("init", "mine", "--preset", "own-cpu", "--json").json["next"]
    assert steps[-1] == "fsar eval --untrained --shots 5" and not any("train" in step.split() for step in steps)
    text = (tmp_path / "mine" / "fsar.yaml").read_text()
    assert "preset: own-cpu" in text and "#   frames: 16  # F:" in text, "with what the recipe of its network says"
    assert fsar("init", "other", "--json").json["next"][-1] == "fsar visualize-regions VIDEO"
