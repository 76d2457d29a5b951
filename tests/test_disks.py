"""Disks that are really full or read-only: what was there stays whole, and with room the work goes on from there."""

import errno
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from killing import files_of
from own_videos import BrightnessRecognizer, bright_film, encoder_of, small_support, tiny
from stores import extracted
from videos import make_video

from fsar_cli.cli.app import _explained
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.records import read_manifest
from fsar_cli.errors import DataError
from fsar_cli.recognise.calibration import AlarmLevel
from fsar_cli.recognise.events import EventRule
from fsar_cli.recognise.scan import ScanResult, scan_files
from fsar_cli.recognise.supportfile import read_support

LEVEL = AlarmLevel(EventRule(threshold=0.4, release=0.3, agree=2, among=2, merge=0.0), 1.0, 0, 1.0)
KIB = 1024


class SmallDisk:
    """A file system in memory of one MiB."""

    def __init__(self, place: Path) -> None:
        self.place, self._filler = place, place / "filler"

    def fill(self, left: int) -> None:
        """Leave so many bytes, or less than a page more."""
        with self._filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4 * KIB)):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC
            file.truncate(max(0, file.tell() - left))

    def free(self) -> None:
        self._filler.unlink()

    def protect(self) -> None:
        """Make it read-only, for everybody."""
        _mount("-o", "remount,ro", str(self.place))


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no disk can be mounted: {error}")
    if done.returncode:
        pytest.skip(f"no disk can be mounted: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    (place := tmp_path / "disk").mkdir()
    _mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place))
    yield SmallDisk(place)
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def told(work: Callable[[], object]) -> tuple[str, str, int]:
    """Message, hint and exit code of a command that does this."""
    with pytest.raises((OSError, DataError)) as caught:
        work()
    return _explained(caught.value)


def scanned(film: Path, folder: Path) -> ScanResult:
    folder.mkdir(exist_ok=True)
    return scan_files(BrightnessRecognizer(), [film], folder, LEVEL, resume=True)


def test_a_support_file_on_a_full_disk_stays_the_old_one(disk: SmallDisk) -> None:
    encoder, file = encoder_of(tiny()), disk.place / "support.fsar"
    small_support(encoder, (2, 2)).write(file)
    larger, before = small_support(encoder, (9, 2)), file.read_bytes()
    disk.fill(4 * KIB)
    assert told(lambda: larger.write(file)) == (
        f"{file}: No space left on device", "free some disk, or name a place on another one", 3
    )  # fmt: skip
    assert file.read_bytes() == before and {path.name for path in disk.place.iterdir()} == {"support.fsar", "filler"}
    disk.free()
    larger.write(file)
    assert len(read_support(file).examples) == 11


def test_a_scan_that_fills_the_disk_goes_on_once_there_is_room(disk: SmallDisk, tmp_path: Path) -> None:
    film = bright_film(tmp_path / "film.mp4")
    scanned(film, tmp_path / "whole")
    disk.fill(10 * KIB)
    message, hint, code = told(lambda: scanned(film, disk.place / "o"))
    assert message.startswith(f"{disk.place}/o/") and message.endswith(": No space left on device") and code == 3
    assert hint == "free some disk, or name a place on another one"
    disk.free()
    scanned(film, disk.place / "o")
    assert files_of(disk.place / "o") == files_of(tmp_path / "whole")


def test_a_packed_store_that_fills_the_disk_keeps_what_is_whole_and_goes_on(disk: SmallDisk, tmp_path: Path) -> None:
    for number in range(6):
        make_video(tmp_path / "v" / "k" / f"{number}.mp4", frames=12, content="noise", first=50 * number)
    extracted(tmp_path / "v", tmp_path / "whole", store="packed")
    out = disk.place / "store"
    disk.fill(120 * KIB)
    message, hint, code = told(lambda: extracted(tmp_path / "v", out, store="packed"))
    assert (message, hint, code) == (
        f"{out} takes no more: No space left on device", "free some space and run the same again", 3
    )  # fmt: skip
    store, kept = FrameStore(out), len(list(read_manifest(out)))
    assert 0 < kept < 6 and all(len(store.read(video, range(12), 32)) == 12 for video in store.ids)
    disk.free()
    assert extracted(tmp_path / "v", out, store="packed").skipped == kept
    assert files_of(out) == files_of(tmp_path / "whole")


def test_what_may_only_be_read_is_named_and_stays(disk: SmallDisk, tmp_path: Path) -> None:
    """Permissions do not hold for everybody, a read-only disk does."""
    encoder, film = encoder_of(tiny()), bright_film(tmp_path / "film.mp4")
    small_support(encoder, (2, 2)).write(disk.place / "support.fsar")
    extracted(film, disk.place / "store", store="packed")
    (disk.place / "o").mkdir()
    before = files_of(disk.place)
    disk.protect()
    remedy = "name a place that can be written to"
    for work in (
        lambda: small_support(encoder, (3, 2)).write(disk.place / "support.fsar"),
        lambda: scanned(film, disk.place / "o"),
        lambda: extracted(film, disk.place / "store", store="packed"),
    ):
        message, hint, code = told(work)
        assert message.startswith(f"{disk.place}/") and "Read-only file system" in message
        assert (hint, code) == (remedy, 3)
    assert files_of(disk.place) == before
