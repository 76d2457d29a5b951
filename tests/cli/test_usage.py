"""Usage is judged before files: in an empty folder a wrong option is told as such, not as data that are missing."""

import pytest

WRONG = [
    (["--set", "eval.way=1"], "eval.way"),
    (["--set", "optim.lrate=1"], "did you mean 'optim.lr'"),
    (["--set", "optim.lr"], "KEY=VALUE"),
    (["--set", "clip.frames=0"], "clip.frames"),
    (["--set", "train.amp=half"], "train.amp"),
    (["--set", "model.method=trxx"], "did you mean 'trx'"),
    (["--device", "tpu"], "unknown device 'tpu'"),
]
OF_EPISODES = [
    (["--shots", "0"], "eval.shots"),
    (["--shots", "1", "--shots", "-1"], "eval.shots"),
    (["--way", "1"], "eval.way"),
    (["--queries", "0"], "eval.queries"),
    (["--episodes", "0"], "eval.episodes"),
    (["--episodes", "1"], "eval.episodes"),
    (["--seed", "-1"], "eval.seed"),
]
CASES = [
    *[(["eval", *options], words) for options, words in [*WRONG, *OF_EPISODES]],
    *[(["eval", "nowhere", *options], words) for options, words in OF_EPISODES[:2]],
    (["eval", "nowhere", "--untrained"], "takes no run folder"),
    (["eval", "--preset", "hmdb51"], "own configuration"),
    (["eval", "--untrained", "--dataset", "nowhere", "--preset", "hmdb52"], "did you mean 'hmdb51'"),
    (["eval", "--dataset", "nowhere", "--way", "1"], "eval.way"),
    *[(["compare", "nowhere", "nowhere too", *options], words) for options, words in [*WRONG[-2:], *OF_EPISODES[:2]]],
    (["compare", "nowhere"], "needs two or more"),
    (["compare", "nowhere", "nowhere too", "--group", "seed"], "takes method or name"),
    (["compare", "nowhere", "--untrained", "trx,clip.frames=0"], "clip.frames"),
    (["compare", "nowhere", "b,model.match.key_dims=3"], "did you mean 'model.match.key_dim'"),
    *[(["visualize-regions", "nowhere.mp4", *options], words) for options, words in WRONG[-3:]],
    (["visualize-regions", "nowhere.mp4", "--window", "0"], "--window"),
    (["visualize-regions", "nowhere.mp4", "--sheets", "-1"], "--sheets"),
    *[(["train", *options], words) for options, words in WRONG],
    *[(["train", "--resume", "nowhere", *options], words) for options, words in WRONG[-3:]],
    (["train", "--way", "1"], "episode.way"),
    (["train", "--shot", "0"], "episode.shot"),
    (["train", "--queries", "0"], "episode.queries"),
    (["train", "--iterations", "0"], "train.iterations"),
    (["train", "--memory-budget", "0"], "train.memory_budget"),
    (["train", "--workers", "-1"], "train.workers"),
    (["train", "--seed", "-1"], "train.seed"),
    (["train", "--method", "trxx"], "did you mean 'trx'"),
]


@pytest.mark.parametrize(("arguments", "words"), CASES, ids=[" ".join(arguments) for arguments, _ in CASES])
def test_a_wrong_option_is_refused_before_any_file_is_looked_for(fsar, tmp_path, arguments, words):
    result = fsar(*arguments)
    assert result.code == 2, result.err
    assert words in result.err
    assert list(tmp_path.iterdir()) == []


def test_what_fits_only_the_values_of_a_run_is_not_refused_before_it_is_read(fsar):
    """Three-frame tuples do not fit two frames, but the run may have other tuples."""
    assert fsar("eval", "nowhere", "--set", "clip.frames=2").code == 3
    assert fsar("eval", "nowhere", "--set", "clip.size=300").code == 3
