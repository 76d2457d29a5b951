"""Folders of results hold those of one input, written by one process."""

import json

import pytest
from small_project import Listener

from fsar_cli.engine.outputs import remove_others, result_folder
from fsar_cli.errors import UsageError


def fill(default, out, video, said=None, **options):
    with result_folder(default, out, "regions.json", {"video": video}, said or Listener(), **options) as folder:
        (folder / "regions.json").write_text(json.dumps({"video": video}))
    return folder.name


def test_each_input_has_its_folder_and_finds_it_again(tmp_path):
    default, said = tmp_path / "clip", Listener()
    assert fill(default, None, "/cam1/clip.mp4", prefix="cam1") == "clip"
    assert fill(default, None, "/cam2/clip.mp4", said, prefix="cam2") == "cam2-clip"
    assert "holds results of /cam1/clip.mp4; these go to" in said.said[0]
    assert fill(default, None, "/b/cam2/clip.mp4", prefix="cam2") == "cam2-clip-2"
    assert fill(default, None, "/cam1/clip.mp4", prefix="cam1") == "clip"
    assert fill(default, None, "/b/cam2/clip.mp4", prefix="cam2") == "cam2-clip-2"


def test_a_named_folder_is_taken_only_by_force(tmp_path):
    out = tmp_path / "o"
    fill(out, out, "/a.mp4")
    with pytest.raises(UsageError, match=r"o holds results of /a\.mp4") as caught:
        fill(out, out, "/b.mp4")
    assert "--force" in caught.value.hint
    fill(out, out, "/b.mp4", force=True)
    assert json.loads((out / "regions.json").read_text())["video"] == "/b.mp4"


def test_a_second_writer_is_sent_elsewhere_or_refused_with_the_first_ones_name(tmp_path):
    default = tmp_path / "o"
    with result_folder(default, None, "r.json", {"a": 1}, Listener()):
        with pytest.raises(UsageError, match=r"another process is writing into .*: process \d+ on .* since 20"):
            fill(default, default, "/a.mp4")
        with result_folder(default, None, "r.json", {"a": 1}, Listener()) as other:
            assert other.name == "o-2"


@pytest.mark.parametrize("content", ["", "[]", "no json", '{"other": 1}'])
def test_a_document_that_does_not_say_is_no_other_input(tmp_path, content):
    (tmp_path / "regions.json").write_text(content)
    fill(tmp_path, tmp_path, "/a.mp4")


def test_what_the_new_result_lacks_goes_and_nothing_else(tmp_path):
    for name in ("sheet-01.png", "sheet-02.png", "notes.txt"):
        (tmp_path / name).touch()
    remove_others(tmp_path, {"sheet-01.png"}, "sheet-*.png")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["notes.txt", "sheet-01.png"]
