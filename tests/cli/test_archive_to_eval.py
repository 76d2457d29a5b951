"""From the archives a user downloads to an accuracy: HMDB51, and Kinetics for UCF Crime, with small real videos."""

import os
from pathlib import Path

import pytest
from archives import clip, make_hmdb51, make_tar, make_ucf_crime

TINY = {
    "clip.frames": 4, "clip.size": 32, "clip.short_side": 36, "clip.jitter": 1, "episode.way": 2, "episode.shot": 1,
    "episode.queries": 1, "model.backbone": "mobilenet_v3_small", "model.weights": "none", "model.region.side": 16,
    "model.match.key_dim": 8, "optim.accumulate": 1, "train.iterations": 2, "train.workers": 0, "train.val_every": 0,
    "eval.way": 2, "eval.shots": "[1]", "eval.episodes": 20,
}  # fmt: skip
SET = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture
def run(fsar):
    """`run("train", ...)` -> the JSON document of a command that must succeed, with the tiny configuration."""

    def call(*command: object, tiny: bool = True, code: int = 0) -> dict:
        done = fsar(*command, *(SET if tiny else ()), "--json")
        assert done.code == code, done.err
        return done.json

    return call


def train_and_eval(run) -> dict:
    """The last two of the commands, in the current folder."""
    run("extract-frames", "--workers", 0)
    trained = run("train")
    assert trained["iterations"] == 2
    return run("eval", trained["run"])


def assert_evaluated(found: dict, videos: int) -> None:
    (result,) = found["results"]
    assert (result["way"], result["shot"], result["episodes"]) == (2, 1, 20)
    assert 0 <= result["accuracy"] <= 1
    assert found["videos"] == videos


def ids(split: str) -> list[str]:
    """Video ids of a split of the current folder's split file."""
    rows = [line.split(",") for line in Path("splits.csv").read_text().splitlines()]
    return sorted(row[2] for row in rows if row[0] == split)


def test_hmdb51(run, tmp_path: Path) -> None:
    odd = "[Fan]_(1)!_&_'em';_{0}_f_cm_np1_le_med_{1}.avi"
    labels = ("catch", "ride_horse", "cartwheel", "draw_sword", "fencing", "kick")
    make_hmdb51(tmp_path / "down/hmdb51_org.rar", {c: [odd.format(c, n) for n in range(3)] for c in labels})
    prepared = run("prepare", "hmdb51", "down/hmdb51_org.rar", tiny=False)
    assert set(prepared["classes"].values()) == {3}
    os.chdir("hmdb51")
    run("splits", "make", "hmdb51-arn", "--allow-missing", tiny=False)
    assert ids("test") == sorted(f"{c}/{odd.format(c, n)[:-4]}" for c in ("fencing", "kick") for n in range(3))
    assert_evaluated(train_and_eval(run), videos=6)


KINETICS = ("hurling (sport)", "blasting sand", "cutting watermelon", "dancing ballet", "playing drums")


def kinetics(tmp_path: Path) -> Path:
    """Kinetics-400 as it is downloaded: parts with flat files, and the tables."""
    down, rows, names = tmp_path / "k400_targz", ["label,youtube_id,time_start,time_end,split"], []
    for c, label in enumerate(KINETICS):
        for n in range(3):
            names.append(f"./-_{c}{n:08}_{n:06}_{n + 10:06}.{'mp4' if n else 'MP4'}")
            rows.append(f"{label},-_{c}{n:08},{n},{n + 10},train")
    videos = {name: clip(n) for n, name in enumerate(names)}
    make_tar(down / "train/part_0.tar.gz", {name: videos[name] for name in names[::2]})
    make_tar(down / "train/part_1.tar.gz", {name: videos[name] for name in names[1::2]})
    (down / "annotations").mkdir()
    (down / "annotations/train.csv").write_text("\n".join(rows))
    return down


def test_ucf_crime_v2_with_a_model_trained_on_kinetics(run, tmp_path: Path) -> None:
    prepared = run("prepare", "ucf-crime-v2", make_ucf_crime(tmp_path / "crime", frames=90), tiny=False)
    assert prepared["classes"] == dict.fromkeys(
        ("Abuse", "Banner", "Explosion", "MolotovBomb", "Robbery", "Stealing"), 2
    )
    os.chdir("ucf-crime-v2")
    extracted = run("extract-frames", "--workers", 0, "--short-side", 36)
    assert extracted["done"] == 24  # two clips of each of 12 videos
    run("splits", "make", "ucf-crime-v2", "--root", "frames", "--allow-missing", tiny=False)
    os.chdir(tmp_path)
    run("prepare", "kinetics", kinetics(tmp_path), tiny=False)
    os.chdir("kinetics")
    run("extract-frames", "--workers", 0)
    run("splits", "make", "cmn", "--classes", "4/0/1", "--per-class", 3, tiny=False)
    trained = run("train")
    found = run("eval", trained["run"], "--dataset", tmp_path / "ucf-crime-v2")
    assert_evaluated(found, videos=24)
