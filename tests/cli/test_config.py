"""`fsar config` and `fsar methods`: every value with its origin."""

from fsar_cli.config import KEYS
from fsar_cli.core.methods import METHODS
from fsar_cli.settings import presets


def test_show_lists_every_key_once(fsar):
    result = fsar("config", "show")
    assert result.code == 0
    shown = [word for line in result.out.splitlines() for word in line.split() if word in KEYS]
    assert shown == list(KEYS)


def test_show_tells_origins(fsar, tmp_path, monkeypatch):
    (tmp_path / "fsar.yaml").write_text("preset: kinetics100\nepisode: {way: 4}\n")
    monkeypatch.setenv("FSAR_TRAIN__SEED", "8")
    settings = fsar("config", "show", "--set", "optim.lr=1e-2", "--json").json["settings"]
    assert list(settings) == list(KEYS)
    assert settings["train.iterations"] == {"value": 30000, "origin": "preset kinetics100"}
    assert settings["episode.way"] == {"value": 4, "origin": "fsar.yaml"}
    assert settings["train.seed"] == {"value": 8, "origin": "environment FSAR_TRAIN__SEED"}
    assert settings["optim.lr"] == {"value": 0.01, "origin": "--set"}
    assert settings["eval.way"] == {"value": 5, "origin": "default"}


def test_show_changed_leaves_defaults_out(fsar):
    assert list(fsar("config", "show", "--changed", "-s", "eval.way=3", "--json").json["settings"]) == ["eval.way"]
    assert "every value is a default" in fsar("config", "show", "--changed").out


def test_show_explains_every_documented_setting(fsar):
    settings = fsar("config", "show", "--explain", "--json").json["settings"]
    assert settings["clip.frames"]["meaning"].startswith("F: frames sampled per video")
    assert "frames sampled per video" in fsar("config", "show", "--explain").out


def test_show_refuses_what_a_run_would_refuse(fsar):
    result = fsar("config", "show", "--set", "optim.lrr=1")
    assert (result.code, result.out) == (2, "")
    assert "did you mean 'optim.lr'?" in result.err


def test_presets_are_listed_with_what_they_set(fsar):
    listed = {entry["name"]: entry for entry in fsar("config", "presets", "--json").json["presets"]}
    assert list(listed) == presets()
    assert listed["hmdb51"]["sets"]["train.iterations"] == 20000
    assert listed["trx-original"]["title"].startswith("TRX as its own authors trained it")
    assert "model.normalize=false" in fsar("config", "presets").out


def test_methods_are_those_one_can_build(fsar):
    listed = fsar("methods", "--json").json["methods"]
    assert [entry["name"] for entry in listed] == list(METHODS)
    assert all(entry["title"] and entry["paper"] for entry in listed)
    assert "Perrett" in fsar("methods").out
