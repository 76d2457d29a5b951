"""Another data set for a run: how it is found and which of its settings count."""

from pathlib import Path

import pytest

from fsar_cli.engine.dataset import find_dataset
from fsar_cli.errors import DataError, UsageError


def project(folder: Path, text: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fsar.yaml").write_text(text)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    place = tmp_path / "work" / "here"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    monkeypatch.delenv("FSAR_DATA", raising=False)
    return place


def test_only_data_and_evaluation_settings_count_and_paths_are_those_of_the_project(here):
    other = project(here / "o", "data: {name: cams, splits: lists/s.csv}\nmodel: {method: trx}\neval: {way: 3}\n")
    found = find_dataset("o")
    assert found.name == "cams" and found.values["eval.way"] == 3
    assert {key.split(".")[0] for key in found.part("data.", "eval.")} == {"data", "eval"}
    assert found.values["data.splits"] == other / "lists" / "s.csv"
    assert found.values["data.frames"] == other / "frames"
    assert found.values["data.annotations"] is None
    assert "eval.shots" not in found.values, "what the project does not say stays the run's"


def test_the_settings_of_a_preset_count_as_the_project_s(here):
    project(here / "u", "preset: ucf-crime-v2\n")
    found = find_dataset("u")
    assert found.name == "ucf-crime-v2" and found.values["eval.way"] == 5
    assert not any(key.startswith("train.") for key in found.part("data.", "eval."))


@pytest.mark.parametrize("place", ["here/UCF Crime [v2]", "UCF Crime [v2]", "far/UCF Crime [v2]"])
def test_a_name_is_found_below_beside_and_in_fsar_data(here, tmp_path, monkeypatch, place):
    monkeypatch.setenv("FSAR_DATA", str(tmp_path / "work" / "far"))
    folder = project(tmp_path / "work" / place, "data: {name: other}\n")
    assert find_dataset("ucf-crime-v2").file == folder / "fsar.yaml"
    assert find_dataset("Other").file == folder / "fsar.yaml"
    assert find_dataset(str(folder)).file == find_dataset(str(folder / "fsar.yaml")).file == folder / "fsar.yaml"


def test_the_folder_s_name_goes_before_data_name(here):
    project(here / "a", "data: {name: b}\n")
    project(here / "b", "data: {name: a}\n")
    assert find_dataset("a").file.parent.name == "a"


def test_two_of_a_name_are_refused_and_none_says_what_to_do(here):
    project(here / "a", "data: {name: cams}\n")
    project(here / "b", "data: {name: cams}\n")
    with pytest.raises(UsageError, match=r"could be .*a or .*b"):
        find_dataset("cams")
    with pytest.raises(DataError, match="no data set 'camz'") as error:
        find_dataset("camz")
    assert "did you mean 'cams'" in error.value.hint
    with pytest.raises(DataError) as error:
        find_dataset("zzz")
    assert "FSAR_DATA" in error.value.hint


def test_a_broken_project_beside_stands_in_nobody_s_way_but_its_own(here):
    project(here / "good", "data: {name: good}\n")
    project(here / "bad", "data: {nme: x}\n")
    assert find_dataset("good").name == "good"
    with pytest.raises(UsageError, match=r"unknown configuration key 'data.nme'"):
        find_dataset("bad")
