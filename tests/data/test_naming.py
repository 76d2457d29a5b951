"""When two spellings are one class or one video: each line of the rule, and that no order or company changes it."""

import itertools
import random

import pytest

from fsar_cli.data import naming
from fsar_cli.data.naming import Matches, bare, fold, match_videos

YT = "-abcdefghij"
CLIP = f"{YT}_000086_000096"


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("hurling_(sport)", "HURLING  [sport]"),
        ("ｈurl!", "Hurl"),
        ("a_1_2", "A-1 2"),
        ("x (1)", "x1"),
    ],
)
def test_names_fold_together(one, same):
    assert fold(one) == fold(same)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("shoot ball", "shoot bow"),
        ("walk", "walking"),
        ("a_1_11", "a_11_1"),
        ("1_2", "12"),
        ("कि", "का"),
    ],
)
def test_other_names_stay_apart(one, other):
    assert fold(one) != fold(other)


def test_a_name_of_signs_alone_is_itself():
    assert fold("!!") == "!!" != fold("!")


def test_video_endings_are_no_part_of_a_name():
    assert [bare(name) for name in ("a.MP4", "a.b.webm", "a.b", ".mp4", "a.")] == ["a", "a.b", "a.b", ".mp4", "a."]


FOUND = [
    ("hurling (sport)/a", "Hurling_(sport)/a"),
    ("kick/a.avi", "kick/a"),
    ("kick/v_HandStandPushups_g01_c01", "kick/v_HandstandPushups_g01_c01"),
    ("kick/kick (1)", "Kick/Kick(1)"),
    (f"kick/{CLIP}", f"kick/{YT}_86_96"),
    (f"kick/{CLIP}", f"kick/{YT}"),
    (f"kick/{YT}", f"kick/{CLIP}"),
    (f"kick/{CLIP}.mkv", f"kick/{CLIP}"),
    (f"kick/{CLIP}", f"kick/{YT} (1)"),
    ("kick/a", "kick/a (1)"),
    ("kick/a", "kick/a - Copy"),
    ("kick/a", "kick/A copy 2"),
    ("kick/a", "kick/a - Copy (2)"),
    ("train8/78687", "videos/78687"),
    (f"kick/{CLIP}", f"val_256/{YT}"),
]


@pytest.mark.parametrize(("wanted", "file"), FOUND)
def test_one_file_is_the_video(wanted, file):
    matches = match_videos([wanted], [file, "other/b", "kicking/zzz"])
    apart = fold(wanted.split("/")[0]) != fold(file.split("/")[0])
    assert matches == Matches({wanted: file}, (), {}, {}, anywhere=apart)


@pytest.mark.parametrize(
    ("wanted", "file"),
    [
        ("kick/a_goo_11", "kick/a_goo_1 (1)"),
        (f"kick/{CLIP}", "kick/_abcdefghij_000086_000096"),
        (f"kick/{CLIP}", f"kick/{CLIP.upper()}"),
        ("kick/Abcdefghijk", "kick/abcdefghijk"),
        ("kick/a (1)", "kick/a"),
        ("kick/set1_04_seq01", "kick/set1_04_seq10"),
        ("kick/a", "kick/a (2009)"),
    ],
)
def test_another_file_is_not(wanted, file):
    assert match_videos([wanted], [file]).missing == (wanted,)


def test_other_time_stamps_are_another_clip_and_named():
    other, far = f"kick/{YT}_000010_000020", "kick/kbcdefghij-_000086_000096"
    matches = match_videos([f"kick/{CLIP}", far], [other])
    assert matches.missing == (f"kick/{CLIP}", far)
    assert matches.other_clips == {f"kick/{CLIP}": (other,)}


@pytest.mark.parametrize(
    ("wanted", "files"),
    [
        (["x/a"], ["x/a.avi", "x/a.mp4"]),
        (["x/snap-clap!_0"], ["x/Snap_Clap_0", "x/snapclap_0"]),
        (["x/snap-clap!_0", "x/snap_clap!_0"], ["x/snap clap 0"]),
        (["x/a"], ["x/a (1)", "x/a (2)"]),
        ([f"x/{YT}"], [f"x/{YT}_1_11", f"x/{YT}_20_30"]),
        ([f"x/{YT}_1_11", f"x/{YT}_20_30"], [f"x/{YT}"]),
        (["run_up/a"], ["run up/a", "RunUp/a"]),
        (["train1/7", "val1/7"], ["v/7"]),
        (["train1/7"], ["v/7", "w/7"]),
    ],
)
def test_what_several_answer_to_is_never_guessed(wanted, files):
    matches = match_videos(wanted, files)
    assert matches.ambiguous == dict.fromkeys(sorted(wanted), tuple(sorted(files)))
    assert not matches.found and not matches.missing


@pytest.mark.parametrize(
    ("wanted", "files", "found"),
    [
        (["x/snap-clap!_0"], ["x/snap-clap!_0", "x/Snap_Clap_0"], {"x/snap-clap!_0": "x/snap-clap!_0"}),
        (["x/a.avi"], ["x/a.avi", "x/a.mp4"], {"x/a.avi": "x/a.avi"}),
        (["X/a.avi"], ["x/a.avi", "x/a.mp4"], {"X/a.avi": "x/a.avi"}),
        (["x/a"], ["x/a", "x/a (1)", "x/a - Copy", "x/A"], {"x/a": "x/a"}),
        (["x/a"], ["x/A", "x/a (1)"], {"x/a": "x/A"}),
        (["x/a", "x/a (1)"], ["x/a (1)"], {"x/a (1)": "x/a (1)"}),
        ([f"x/{CLIP}"], [f"x/{CLIP}", f"x/{YT}", f"x/{YT}_86_96"], {f"x/{CLIP}": f"x/{CLIP}"}),
        ([f"x/{CLIP}"], [f"x/{YT}_86_96", f"x/{YT}"], {f"x/{CLIP}": f"x/{YT}_86_96"}),
        (["run_up/a"], ["run up/a", "run_up/a"], {"run_up/a": "run_up/a"}),
        # The name it shares with a video already found may be a second file of that one.
        (["x/a!b", "x/a-b"], ["x/a!b", "x/A b"], {"x/a!b": "x/a!b"}),
    ],
)
def test_the_closer_name_comes_first(wanted, files, found):
    assert match_videos(wanted, files).found == found


def test_a_name_that_could_be_a_kinetics_id_is_a_rival_all_the_same():
    matches = match_videos(["x/snap-clap_0", "x/snap_clap!_0"], ["x/snap clap 0"])
    assert (matches.found, matches.missing) == ({}, ("x/snap-clap_0",))
    assert matches.ambiguous == {"x/snap_clap!_0": ("x/snap clap 0",)}


def test_a_video_of_another_class_is_not_taken():
    tree = ["kick/1", "jump/2", "punch/3"]
    assert match_videos(["kick/1", "kick/2", "punch/3", "gone/3"], tree).missing == ("gone/3", "kick/2")
    assert match_videos(["train0/1", "train0/2", "train4/3"], tree).missing == ()


def test_hmdb_names_that_fold_together_stay_the_clips_they_are(shared):
    lists = sorted((shared / "reference" / "splits" / "hmdb_ARN").glob("*.txt"))
    wanted = [line for path in lists for line in path.read_text().splitlines()]
    folded = {}
    for line in wanted:
        folded.setdefault(fold(line), []).append(line)
    twins = {line for lines in folded.values() if len(lines) > 1 for line in lines}
    assert len(twins) == 26 and any("boom-snap-clap" in line for line in twins)
    assert match_videos(wanted, wanted).found == {line: line for line in sorted(wanted)}
    # Names without capitals, brackets and signs: every clip is found but the twins, which are named.
    plain = {line: line.translate(str.maketrans("", "", "()[]!;&'#@~+,")).lower() for line in wanted}
    matches = match_videos(wanted, plain.values())
    assert set(matches.ambiguous) == {line for line in twins if line not in plain.values()}
    assert all(plain[line] == file for line, file in matches.found.items())
    assert len(matches.found) + len(matches.ambiguous) == len(wanted) and not matches.missing


def _hard_names(seed: int) -> tuple[list[str], list[str]]:
    """Few stems in many spellings, so that all kinds of collision occur."""
    draw = random.Random(seed)
    stems = [
        "a b",
        "a_b",
        "A-b!",
        "a",
        "a1",
        "a 1",
        CLIP,
        YT,
        f"{YT}_86_96",
        f"{YT}_1_11",
        "Zbcdefghijk",
        "zbcdefghijk",
    ]
    marks = ["", "", "", " (1)", " - Copy", ".avi", ".mp4"]
    folders = draw.choice([["x", "X_", "y"], ["x", "y"], ["flat"]])
    wanted = {f"{draw.choice('xy')}/{draw.choice(stems)}{draw.choice(marks)}" for _ in range(draw.randint(1, 9))}
    files = {f"{draw.choice(folders)}/{draw.choice(stems)}{draw.choice(marks)}" for _ in range(draw.randint(1, 14))}
    return sorted(wanted), sorted(files)


@pytest.mark.parametrize("seed", range(50))
def test_what_is_found_is_one_to_one_complete_and_independent_of_order(seed):
    wanted, files = _hard_names(seed)
    matches = match_videos(wanted, files)
    assert sorted([*matches.found, *matches.missing, *matches.ambiguous]) == wanted
    assert len(set(matches.found.values())) == len(matches.found) and set(matches.found.values()) <= set(files)
    assert all(matches.found[name] == name for name in set(wanted) & set(files))
    assert all(set(candidates) <= set(files) and candidates for candidates in matches.ambiguous.values())
    assert not set(matches.found.values()) & {file for files in matches.ambiguous.values() for file in files}
    draw = random.Random(seed)
    for _ in range(3):
        draw.shuffle(wanted)
        draw.shuffle(files)
        assert repr(match_videos(iter(wanted), iter(files))) == repr(matches)


@pytest.mark.parametrize("seed", range(20))
def test_a_file_that_goes_never_lets_a_found_video_become_another_of_equal_rank(seed):
    wanted, files = _hard_names(seed)
    matches = match_videos(wanted, files)
    for name, file in matches.found.items():
        without = match_videos(wanted, [other for other in files if other != file])
        assert without.found.get(name) != file


def test_each_row_of_the_documented_table():
    rows = [line.strip("|").split("|") for line in naming.__doc__.splitlines() if line.startswith("| `")]
    assert len(rows) == 11
    for says, has, means in rows:
        wanted = says.strip().strip("`")
        files = list(itertools.chain(*(part.split(",") for part in has.split(" or "))))
        paths = [file.strip().strip("`") for file in files]
        choices = [paths] if "," in has else [[path] for path in paths]
        for names in choices:
            stems = [bare(name) for name in names]
            ids = [name if stems.count(stem) > 1 else stem for name, stem in zip(names, stems, strict=True)]
            matches = match_videos([wanted], ids)
            state = "found" if matches.found else "missing" if matches.missing else "ambiguous"
            expected = means.split()[0].rstrip(",")
            assert state == ("found" if expected == "the" else expected), says
            if "first" in means:
                assert matches.found == {wanted: ids[0]}
            if "another clip" in means:
                assert matches.other_clips == {wanted: (ids[0],)}
            if "unlike" in means:
                assert match_videos(["x/a.avi"], ids).found == {"x/a.avi": "x/a.avi"}


def test_thousands_of_names_in_one_folder_with_gaps():
    draw = random.Random(0)
    numbers = [str(number) for number in range(1, 12_000)]
    wanted = [f"train{draw.randrange(64)}/{number}" for number in draw.sample(numbers, 4_000)]
    matches = match_videos(wanted, [f"20bn/{number}" for number in numbers[500:]])
    gone = {name for name in wanted if int(name.split("/")[1]) <= 500}
    assert set(matches.missing) == gone and len(matches.found) == 4_000 - len(gone)
