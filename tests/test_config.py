"""The configuration: which layer wins, what is refused, and that nothing is lost on the way."""

from pathlib import Path

import pytest
import yaml

from fsar_cli.config import KEYS, Config, dump, flatten, load, validate
from fsar_cli.errors import UsageError
from fsar_cli.settings import presets, read_preset, resolve


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def project(text: str, name: str = "fsar.yaml") -> Path:
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


def test_without_anything_every_value_is_a_default():
    for path in (None, project("# nothing\n")):
        found = resolve(path=path, environ={})
        assert (found.config, found.origins) == (Config(), dict.fromkeys(KEYS, "default"))


def test_each_layer_wins_over_the_one_before():
    key, seen = "train.iterations", []
    layers = {
        "default": {},
        "preset kinetics100": {},
        "fsar.yaml": {},
        "environment FSAR_TRAIN__ITERATIONS": {"environ": {"FSAR_TRAIN__ITERATIONS": "3"}},
        "flag": {"flags": {key: 4}},
        "--set": {"assignments": [f"{key}=5"]},
    }
    options = {"environ": {}}
    for origin, more in layers.items():
        if origin == "preset kinetics100":
            project("preset: kinetics100\n")
        if origin == "fsar.yaml":
            project("preset: kinetics100\ntrain: {iterations: 2}\n")
        options |= more
        found = resolve(**options)
        assert found.origins[key] == origin
        seen.append(found.config.train.iterations)
    assert seen == [20_000, 30_000, 2, 3, 4, 5]


def test_a_value_of_a_lower_layer_stays_where_the_higher_is_silent():
    project("preset: kinetics100\noptim: {lr: 0.5}\n")
    found = resolve(environ={"FSAR_EPISODE__WAY": "7"}, flags={"episode.shot": 2, "episode.queries": None})
    assert (found.config.data.name, found.origins["data.name"]) == ("kinetics100", "preset kinetics100")
    assert (found.config.optim.lr, found.origins["optim.lr"]) == (0.5, "fsar.yaml")
    assert (found.config.episode.way, found.config.episode.shot, found.config.episode.queries) == (7, 2, 3)
    assert found.origins["episode.queries"] == "default"


def test_config_and_preset_options_take_the_place_of_the_project_file():
    project("optim: {lr: 0.5}\n")
    other = project("train: {seed: 9}\n", "other.yaml")
    assert resolve(path=other, environ={}).config.optim.lr == 1e-3
    assert resolve(path=other, environ={}).config.train.seed == 9
    assert resolve(preset="hmdb51", environ={}).config.optim.lr == 1e-3
    with pytest.raises(UsageError, match="--preset and --config exclude each other"):
        resolve(preset="hmdb51", path=other, environ={})


def test_a_run_takes_the_place_of_preset_and_file():
    project("optim: {lr: 0.5}\n")
    found = resolve(base={"episode.way": 3}, environ={}, assignments=["episode.shot=1"])
    assert (found.config.episode.way, found.origins["episode.way"]) == (3, "run")
    assert found.config.optim.lr == 1e-3 and found.config.episode.shot == 1


@pytest.mark.parametrize("text", ["1e-3", "0.001", "1.0e-03"])
def test_numbers_with_an_exponent_are_numbers_everywhere(text):
    project(f"optim: {{lr: {text}}}\n")
    assert resolve(environ={}).config.optim.lr == 0.001
    assert resolve(environ={"FSAR_OPTIM__LR": text}).config.optim.lr == 0.001
    assert resolve(environ={}, assignments=[f"optim.lr={text}"]).config.optim.lr == 0.001


def test_values_may_hold_lists_null_and_equals_signs():
    found = resolve(
        environ={}, assignments=["eval.shots=[1, 3]", "train.workers=null", "data.name=a=b", "optim.clip_norm=5"]
    ).config
    assert (found.eval.shots, found.train.workers, found.data.name, found.optim.clip_norm) == ((1, 3), None, "a=b", 5.0)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("optim.lrr", "did you mean 'optim.lr'?"),
        ("iterations", "did you mean 'train.iterations'?"),
        ("zzzz.qqqq", "`fsar config show` lists all keys"),
    ],
)
def test_unknown_keys_are_refused_with_a_suggestion(key, hint):
    with pytest.raises(UsageError, match=f"unknown configuration key '{key}' \\(--set\\)") as error:
        resolve(environ={}, assignments=[f"{key}=1"])
    assert error.value.hint == hint


def test_the_message_about_an_unknown_key_names_its_origin():
    project("optim: {learning_rate: 1}\n")
    with pytest.raises(UsageError, match=r"'optim.learning_rate' \(fsar.yaml\)"):
        resolve(environ={})
    with pytest.raises(UsageError, match=r"'optim.rate' \(environment FSAR_OPTIM__RATE\)"):
        resolve(preset="hmdb51", environ={"FSAR_OPTIM__RATE": "1", "FSAR_DEBUG": "1", "OTHER__KEY": "1"})


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("episode.way=1", "episode.way (--set): Input should be greater than or equal to 2, not 1"),
        ("optim.lr=fast", "optim.lr (--set): Input should be a valid number"),
        ("optim.name=sdg", "optim.name (--set): Input should be 'sgd', 'adam' or 'adamw', not 'sdg'"),
        ("model.region.side=224", "model.region.side 224 must be smaller than clip.size 224"),
        ("model.region.side=[96, 240, 128]", "model.region.side 240 must be smaller than clip.size 224"),
        ("model.region.side=8", "model.region.side (--set): must be at least 16, or a list of different such numbers"),
        ("model.region.side=[96, 96]", "a list of different such numbers, not [96, 96]"),
        ("clip.size=300", "clip.size 300 is larger than clip.short_side 256"),
        ("clip.frames=2", "model.match.cardinalities (2, 3) exceed clip.frames 2"),
    ],
)
def test_wrong_values_are_refused_by_name_origin_and_value(assignment, message):
    with pytest.raises(UsageError) as error:
        resolve(environ={}, assignments=[assignment])
    assert message in error.value.message


@pytest.mark.parametrize("text", ["optim.lr", "optim.lr=["])
def test_malformed_assignments_are_refused(text):
    with pytest.raises(UsageError):
        resolve(environ={}, assignments=[text])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim: [", "fsar.yaml is not valid YAML"),
        ("- 1\n- 2\n", "fsar.yaml must hold a mapping of sections, not a list"),
        ("preset: hmdb\n", "unknown preset 'hmdb'"),
        ("optim: 3\n", "optim (fsar.yaml) is a section of settings and has no value of its own"),
    ],
)
def test_malformed_files_are_refused(text, message):
    project(text)
    with pytest.raises(UsageError) as error:
        resolve(environ={})
    assert message in error.value.message


def test_a_missing_file_says_how_to_write_one():
    with pytest.raises(UsageError, match=r"cannot read the configuration none.yaml") as error:
        resolve(path=Path("none.yaml"), environ={})
    assert "fsar init" in error.value.hint


def test_dump_and_load_round_trip():
    changed = resolve(
        environ={},
        assignments=["data.name=\"é: 'x' #1\"", "eval.shots=[2]", "model.region.gain=learnt", "optim.lr=3e-7"],
    ).config
    for config in (Config(), changed):
        assert load(dump(config)) == config
    assert yaml.safe_load(dump(changed))["eval"]["shots"] == [2]


def test_a_run_of_before_extract_had_a_section_is_read():
    text = "data: {name: old, store: packed, clips: longest}\nextract: {quality: 80}\n"
    stored = load(text).extract
    assert (stored.store, stored.clips, stored.quality) == ("packed", "longest", 80)


def test_a_project_file_of_then_is_told_the_new_name():
    with pytest.raises(UsageError, match=r"unknown configuration key 'data\.store'") as caught:
        resolve(path=project("data: {store: packed}\n"), environ={})
    assert "extract.store" in caught.value.hint


@pytest.mark.parametrize(
    ("side", "annotated", "expected"), [(None, None, (200, "whole")), (0, "a.json", (0, "longest"))]
)
def test_a_store_is_made_with_what_other_settings_decide(side, annotated, expected):
    values = {"clip.short_side": 200, "clip.size": 64, "model.region.side": 32, "data.annotations": annotated}
    stored = resolve(base=values | {"extract.short_side": side, "extract.clips": "longest"}, environ={}).config.stored
    assert (stored.short_side, stored.clips) == expected


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads_and_opens_with_what_it_is(name):
    text = (Path(resolve.__code__.co_filename).parent / "presets" / f"{name}.yaml").read_text()
    assert text.startswith("# ") and "# Departs from the paper:" in text
    found = resolve(preset=name, environ={})
    given = read_preset(name)
    said = {key: origin for key, origin in found.origins.items() if origin != "default"}
    recipe = f"recipe of {given.get('model.backbone')} "
    assert {key for key, origin in said.items() if not origin.startswith(recipe)} == set(given)
    values = flatten(found.config.model_dump(mode="json"))
    assert {key: values[key] for key in given} == given


def test_presets_of_the_paper_have_its_numbers():
    configs = {name: resolve(preset=name, environ={}).config for name in presets()}
    assert {"hmdb51", "kinetics100", "ucf-crime-v2", "trx-original"} <= set(configs)
    assert configs["hmdb51"].train.iterations == 20_000
    assert configs["kinetics100"].train.iterations == 30_000
    for name in ("hmdb51", "kinetics100", "ucf-crime-v2"):
        config = configs[name]
        assert (config.model.method, config.model.backbone, config.model.region.side) == ("keyregion", "resnet50", 128)
        assert (config.optim.name, config.optim.lr, config.optim.momentum, config.optim.accumulate) == (
            "sgd",
            1e-3,
            0,
            16,
        )
        assert (config.eval.episodes, config.eval.queries, config.eval.way, config.eval.shots) == (10_000, 1, 5, (1, 5))
    assert (configs["trx-original"].model.method, configs["trx-original"].model.normalize) == ("trx", False)


def test_unknown_preset_gets_a_suggestion():
    with pytest.raises(UsageError, match="unknown preset 'hmbd51'") as error:
        resolve(preset="hmbd51", environ={})
    assert error.value.hint == "did you mean 'hmdb51'?"


def test_the_configuration_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Config().optim.lr = 1.0


def test_off_is_a_word_wherever_yaml_takes_it_for_false(tmp_path):
    (tmp_path / "fsar.yaml").write_text("train: {amp: off, frame_cache: off}\n")
    for found in (
        resolve(assignments=["train.amp=off", "train.frame_cache=off"], environ={}).config.train,
        resolve(path=tmp_path / "fsar.yaml", environ={}).config.train,
    ):
        assert (found.amp, found.frame_cache) == ("off", "off")
    assert resolve(assignments=["train.frame_cache=2.5"], environ={}).config.train.frame_cache == 2.5
    for wrong in ("0", "-1", "on", "some"):
        with pytest.raises(UsageError, match=r"train\.frame_cache"):
            resolve(assignments=[f"train.frame_cache={wrong}"], environ={})


NASTY = {
    "NaN": float("nan"), "infinity": float("inf"), "below zero": -1, "nothing": 0, "huge": 10**20, "words": "x" * 5000,
    "an empty word": "", "an empty list": [], "null": None, "NUL": "a\0b", "true": True, "a mapping": {"a": 1},
    "a list of lists": [[1]], "a control character": "a\nb",
}  # fmt: skip


@pytest.mark.parametrize("nasty", NASTY)
def test_any_value_for_any_key_is_taken_and_kept_or_refused_by_the_keys_name(nasty):
    for key in KEYS:
        section, _, name = key.rpartition(".")
        tree = {name: NASTY[nasty]}
        for part in reversed(section.split(".")):
            tree = {part: tree}
        try:
            config = validate(tree)
        except UsageError as error:
            assert section.split(".")[0] in error.message and len(error.message) < 500, key
        else:
            assert load(dump(config)) == config, key


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("train.seed=99999999999999999999", "train.seed (--set): "),
        ("train.seed=-1", "train.seed (--set): "),
        ("eval.shots=[]", "eval.shots (--set): must be one or more numbers"),
        ("train.workers=100000", "train.workers (--set): "),
        ("model.region.gain=.nan", "model.region.gain (--set): "),
        ("optim.lr=inf", "optim.lr (--set): "),
        ("episode.way=true", "episode.way (--set): must not be true or false"),
        ("data.frames=", "data.frames (--set): must be a path"),
        ("data.name=a/b", "data.name (--set): must hold no slash and no control character"),
    ],
)
def test_values_beyond_their_ends_are_refused_with_key_and_origin(assignment, words):
    with pytest.raises(UsageError) as caught:
        resolve(environ={}, assignments=[assignment])
    assert words in caught.value.message


@pytest.mark.parametrize("where", ["file", "set", "environment"])
def test_home_and_variables_are_written_out_in_paths_wherever_they_are_given(where, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("DATA", str(tmp_path / "d"))
    for text, expected in {"~/frames": "me/frames", "$DATA/f": "d/f", "${DATA}/f": "d/f"}.items():
        (tmp_path / "fsar.yaml").write_text(f"data: {{frames: '{text}'}}" if where == "file" else "")
        found = resolve(
            path=tmp_path / "fsar.yaml",
            environ={"FSAR_DATA__FRAMES": text} if where == "environment" else {},
            assignments=[f"data.frames={text}"] if where == "set" else [],
        )
        assert found.config.data.frames == tmp_path / expected
    assert resolve(environ={}, assignments=["data.frames=a$$b[1]/x y"]).config.data.frames == Path("a$b[1]/x y")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("$NOWHERE_AT_ALL/x", "needs the variable 'NOWHERE_AT_ALL', which is not set"),
        ("~nobody-of-this-name/x", "is in the home of a user who is not known here"),
    ],
)
def test_a_path_that_cannot_be_written_out_is_refused(path, words):
    with pytest.raises(UsageError) as caught:
        resolve(environ={}, assignments=[f"data.frames={path}"])
    assert words in caught.value.message


def test_a_run_takes_its_own_paths_as_they_stand():
    config = validate({"data": {"frames": "/a/$b/~c"}})
    assert load(dump(config)).data.frames == Path("/a/$b/~c")
    assert resolve(base=flatten(config.model_dump()), environ={}).config.data.frames == Path("/a/$b/~c")
