"""What somebody removes in the middle of the work is named, costs no more than itself, and what is saved stays."""

import shutil
from pathlib import Path

import pytest
import torch
from killing import files_of
from own_videos import BrightnessRecognizer, bright_film, encoder_of, small_support, tiny
from small_project import Listener, small
from videos import make_video

from fsar_cli.cli import support as commands
from fsar_cli.data.store.clip import ClipFrames
from fsar_cli.data.store.records import read_manifest
from fsar_cli.engine import train as train_module
from fsar_cli.engine.checkpoint import load_state
from fsar_cli.engine.runs import Run, create_run
from fsar_cli.engine.steps import episode_loss
from fsar_cli.engine.train import Trainer
from fsar_cli.errors import DataError, DeviceError
from fsar_cli.recognise import recognizer as recognising
from fsar_cli.recognise.calibration import AlarmLevel
from fsar_cli.recognise.events import EventRule
from fsar_cli.recognise.recognizer import Recognizer
from fsar_cli.recognise.scan import ScanResult, scan_files
from fsar_cli.recognise.supportfile import read_support

CPU = torch.device("cpu")
LEVEL = AlarmLevel(EventRule(threshold=0.4, release=0.3, agree=2, among=2, merge=0.0), 1.0, 0, 1.0)
PLAIN = {"model.method": "trx", "train.val_every": 0, "train.frame_cache": "off"}


@pytest.mark.parametrize("when", ["before it is opened", "before its state is asked for"])
def test_a_video_that_is_removed_during_its_extraction_is_named(fsar, tmp_path: Path, monkeypatch, when: str) -> None:
    for number in range(3):
        make_video(tmp_path / f"v/kick/{number}.mp4", frames=3)
    gone, measure = tmp_path / "v/kick/1.mp4", ClipFrames.measure

    def measured(clip: ClipFrames) -> tuple:
        if clip.source.path == gone and when == "before it is opened":
            gone.unlink()
        found = measure(clip)
        if clip.source.path == gone:
            gone.unlink()
        return found

    monkeypatch.setattr(ClipFrames, "measure", measured)
    done = fsar("extract-frames", tmp_path / "v", tmp_path / "o", "--workers", 0)
    assert done.code == 3 and "1 of 3 videos could not be extracted" in done.err
    reasons = {"before it is opened": "no such file", "before its state is asked for": "it cannot be read (No such"}
    assert f"{gone}: {reasons[when]}" in done.err
    assert [record.id for record in read_manifest(tmp_path / "o")] == ["kick/0", "kick/2"]


def scanned(folder: Path, *films: Path, reporter: Listener | None = None) -> ScanResult:
    folder.mkdir(exist_ok=True)
    return scan_files(BrightnessRecognizer(), films, folder, LEVEL, reporter=reporter or Listener())


def test_a_film_that_is_removed_before_its_turn_is_named_and_one_that_is_open_is_read_to_its_end(
    tmp_path: Path, monkeypatch
) -> None:
    first, second = bright_film(tmp_path / "first.mp4"), tmp_path / "second.mp4"
    shutil.copy(first, second)
    whole, told, score = scanned(tmp_path / "whole", first), Listener(), BrightnessRecognizer.scored

    def scored(self, windows: list) -> list:
        first.unlink(missing_ok=True), second.unlink(missing_ok=True)
        return score(self, windows)

    monkeypatch.setattr(BrightnessRecognizer, "scored", scored)
    result = scanned(tmp_path / "o", first, second, reporter=told)
    assert result.videos[0].failed == "" and result.videos[0].windows == whole.videos[0].windows == 37
    assert len(result.events) == len(whole.events) and result.videos[1].failed == f"{second}: no such file"
    assert any(str(second) in line for line in told.warnings)


def test_a_film_that_is_removed_between_two_looks_at_it_is_named(tmp_path: Path, monkeypatch) -> None:
    from fsar_cli.recognise import scan

    film, other = bright_film(tmp_path / "film.mp4"), bright_film(tmp_path / "other.mp4")
    crop_of = scan.crop_of

    def looked(path: Path, clip: object) -> tuple:
        found = crop_of(path, clip)
        film.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(scan, "crop_of", looked)
    result = scanned(tmp_path / "o", film, other)
    assert result.videos[0].failed == f"{film} cannot be read: No such file or directory"
    assert result.videos[1].failed == "" and result.events


def test_a_frame_store_that_is_removed_during_training_leaves_what_was_trained(project, tmp_path, monkeypatch) -> None:
    frames = Path(shutil.copytree(project / "frames", tmp_path / "frames"))
    config = small(project, **PLAIN | {"data.frames": frames, "train.checkpoint_every": 100})
    trainer = Trainer(config, create_run(config, tmp_path / "run"), CPU)
    train_on = trainer._train_on

    def removing(batch, waited) -> None:
        train_on(batch, waited)
        if batch.index == 2:
            shutil.rmtree(frames)

    monkeypatch.setattr(trainer, "_train_on", removing)
    with pytest.raises(DataError, match=r"the frame .* is missing") as caught:
        trainer.run()
    assert caught.value.hint.endswith(f"episodes up to 3 are saved, go on with: fsar train --resume '{tmp_path}/run'")
    assert load_state(tmp_path / "run/state.pt")["step"] == 3


def test_a_run_folder_that_is_removed_during_training_is_named(project, tmp_path, monkeypatch) -> None:
    config, run = small(project, **PLAIN), tmp_path / "run"
    trainer = Trainer(config, create_run(config, run), CPU)
    train_on = trainer._train_on

    def removing(batch, waited) -> None:
        train_on(batch, waited)
        if batch.index == 2:
            shutil.rmtree(run)

    monkeypatch.setattr(trainer, "_train_on", removing)
    with pytest.raises(DataError, match=r"run/.*: No such file or directory; nothing was saved") as caught:
        trainer.run()
    assert caught.value.exit_code == 3 and f"remove {run} and start again" in caught.value.hint
    assert not run.exists()


def test_a_support_file_that_is_removed_while_it_is_changed_is_written_whole(fsar, tmp_path, monkeypatch) -> None:
    from fsar_cli.recognise import enrolment

    encoder, file = encoder_of(tiny()), tmp_path / "support.fsar"
    small_support(encoder, (3, 2)).write(file)
    without = enrolment.without

    def removing(*arguments):
        file.unlink()
        return without(*arguments)

    monkeypatch.setattr(enrolment, "without", removing)
    monkeypatch.setattr(recognising, "open_encoder", lambda *_, **__: encoder)
    assert isinstance(Recognizer.load(file), Recognizer) and commands.remove
    done = fsar("support", "remove", "kick/0", "--support", file, "--device", "cpu")
    assert done.code == 0, done.err
    assert [example.name for example in read_support(file).examples] == ["kick/1", "kick/2", "push it/3", "push it/4"]


def test_where_memory_runs_out_in_the_middle_the_last_checkpoint_stays_and_is_gone_on_from(
    project, tmp_path, monkeypatch
) -> None:
    config = small(project, **PLAIN | {"optim.accumulate": 3})
    whole = Trainer(config, create_run(config, tmp_path / "whole"), CPU)
    whole.run()
    trainer = Trainer(config, create_run(config, tmp_path / "run"), CPU)

    def scarce(method, batch, *arguments):
        if batch.index == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return episode_loss(method, batch, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "episode_loss", scarce)
        with pytest.raises(DeviceError, match="out of memory: an episode of 9 clips") as caught:
            trainer.run()
    assert caught.value.exit_code == 4 and "--memory-budget" in caught.value.hint
    assert caught.value.hint.endswith(f"episodes up to 2 are saved, go on with: fsar train --resume '{tmp_path}/run'")
    assert load_state(tmp_path / "run/state.pt")["step"] == 2 and not list((tmp_path / "run").glob(".fsar-*"))
    again = Trainer(config, Run(tmp_path / "run"), CPU, pretrained=False)
    again.resume()
    again.run()
    assert all(torch.equal(a, b) for a, b in zip(whole.method.state_dict().values(),
                                                 again.method.state_dict().values(), strict=True))  # fmt: skip
    assert {*files_of(tmp_path / "run")} >= {"model.safetensors", "state.pt", "metrics.csv"}


def test_a_loss_that_is_no_number_names_the_videos_of_its_episode(project, tmp_path, monkeypatch) -> None:
    config = small(project, **PLAIN)
    trainer = Trainer(config, create_run(config, tmp_path / "run"), CPU)

    def wrong_at_three(method, batch, *arguments):
        loss, accuracy, seen = episode_loss(method, batch, *arguments)
        return (loss * float("nan") if batch.index == 3 else loss), accuracy, seen

    monkeypatch.setattr(train_module, "episode_loss", wrong_at_three)
    with pytest.raises(DataError, match=r"the loss became nan at episode 3, of (\w+), (\w+), (\w+): ") as caught:
        trainer.run()
    episode, sampler = trainer.sampler(3), trainer.sampler
    videos = [sampler.videos[i] for i in (*episode.support.flat, *episode.query.flat)]
    assert caught.value.message.endswith(f": {', '.join(videos[:8])} and 1 more")
    assert "log.txt has the whole list" in caught.value.hint and "optim.lr" in caught.value.hint
    assert f"the loss became nan at episode 3, of the videos {', '.join(videos)}" in trainer.folder.log_file.read_text()
    assert load_state(trainer.folder.state_file)["step"] == 2
