"""RAR and other archives that Python cannot read, by an installed program: bsdtar, unrar, unar or 7-Zip.

bsdtar is asked for a tar on its standard output, so that nothing is written but by `unpacking.write_members`. The
others can only write files themselves: they are asked for a list first, an archive whose list is hostile or has links
is refused, and what they wrote goes through the same checks. Programs are called without a shell, with absolute paths,
without a terminal to ask for passwords on, and each in its own session, so that Ctrl-C reaches only fsar.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from fsar_cli.data.video import printable
from fsar_cli.errors import DataError
from fsar_cli.tools.prepare.archives import has_volumes
from fsar_cli.tools.prepare.members import Member, streamed_members
from fsar_cli.tools.prepare.programs import ANY, INSTALL, PROGRAMS, Program
from fsar_cli.tools.prepare.rar import Listed, rar_files
from fsar_cli.tools.prepare.unpacking import PROTECTED, Budget, Unpacked, Wanted, encrypted, safe_parts, write_members


def unpack_with_programs(
    archive: Path, folder: Path, wanted: Wanted, progress: Callable[[int], None] = lambda size: None
) -> Unpacked:
    """As `unpacking.unpack`, by the first installed program that can read the archive.

    Raises:
        DataError: there is none, or those that there are give up; the message says why the first one did.
    """
    listed = rar_files(archive)
    several = has_volumes(archive)  # bsdtar opens one file only and would take it for a damaged archive
    tries = [("bsdtar", _by_bsdtar)] if shutil.which("bsdtar") and not several else []
    tries += [(p.names[0], partial(_by_program, p)) for p in PROGRAMS if all(map(shutil.which, p.names))]
    reasons = []
    for name, attempt in tries:
        try:
            result = attempt(archive, folder, wanted, progress)
            _compare(name, result, listed)
            return result
        except _GaveUp as error:
            reasons.append((name, str(error)))
            shutil.rmtree(folder, ignore_errors=True)
    raise _unreadable(archive, reasons, several)


def _compare(name: str, result: Unpacked, listed: list[Listed] | None) -> None:
    """Raise _GaveUp where what came out of a RAR is not what its headers promise."""
    if listed is None:
        return
    if result.files + result.left_out != len(listed):
        raise _GaveUp(f"{name} found {result.files + result.left_out} of {len(listed)} files")
    promised = Counter((entry.size, entry.crc) for entry in listed)
    unknown = sum(entry.crc is None for entry in listed)
    wrong = sum((Counter(result.sums) - promised).values())
    if wrong > unknown:
        raise _GaveUp(f"the checksums of {wrong} files are wrong")


def _unreadable(archive: Path, reasons: list[tuple[str, str]], several: bool) -> DataError:
    where = next((text for name, text in INSTALL.items() if sys.platform.startswith(name)), INSTALL["linux"])
    if not reasons:
        needed = "unrar, unar or 7z (bsdtar reads no archive in several volumes)" if several else ANY
        return DataError(f"{printable(archive)} needs a program that unpacks it, and {needed} is not on PATH", where)
    if any(re.search(PROTECTED, reason, re.IGNORECASE) for _, reason in reasons):
        return encrypted(archive)
    tried = ", ".join(name for name, _ in reasons)
    return DataError(
        f"{printable(archive)} could not be unpacked by {tried} ({reasons[0][1]})",
        f"download it again; if it is whole, another program may read it: {where}",
    )


class _GaveUp(Exception):
    """A program could not read the archive; another may."""


def _by_bsdtar(archive: Path, folder: Path, wanted: Wanted, progress: Callable[[int], None]) -> Unpacked:
    command = ["bsdtar", "-cf", "-", "--format=pax", f"@{archive.absolute()}"]
    with _running(command) as (process, said):
        try:
            with streamed_members(process.stdout) as found:
                result = write_members(found, folder, wanted, Budget(archive, folder), progress)
            process.stdout.read()
        except tarfile.TarError as error:  # its output ended early: what it said tells more
            process.stdout.close()
            process.wait()
            raise _GaveUp(_last_words(said()) or str(error)) from error
        if process.wait():
            raise _GaveUp(_last_words(said()) or f"bsdtar ended with {process.returncode}")
    return result


@contextmanager
def _running(command: list[str]) -> Iterator[tuple[subprocess.Popen, Callable[[], str]]]:
    """A program at work, ended with the block, and what it said on stderr."""
    with tempfile.TemporaryFile() as stderr:  # a pipe nobody reads would stop it once it is full
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=_environment(),
            start_new_session=True,
        )

        def said() -> str:
            stderr.seek(0)
            return stderr.read().decode(errors="replace")

        try:
            yield process, said
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def _environment() -> dict[str, str]:
    # Names inside are Unicode: in a plain C locale bsdtar cannot write them.
    return os.environ | ({"LC_ALL": "C.UTF-8"} if sys.platform.startswith("linux") else {})


def _last_words(text: str) -> str:
    """The first line of a program's complaint that says something, without the program's and the file's name."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if "Error exit delayed" not in line] or lines
    return re.sub(r"^(?:bsdtar|ERROR): *(?:Error reading archive .+: )?", "", lines[0]) if lines else ""


def _by_program(
    program: Program, archive: Path, folder: Path, wanted: Wanted, progress: Callable[[int], None]
) -> Unpacked:
    listed = _listed(program, archive)
    Budget(archive, folder.parent).take(sum(member.size for member in listed))
    for member in listed:
        safe_parts(member.name)
        if member.kind == "link":
            raise DataError(
                f"its member '{printable(member.name)}' is a link, which {program.names[0]} might follow",
                "install bsdtar (libarchive-tools), with which links are looked at one by one",
            )
    raw = folder.with_name(f"{folder.name}.raw")
    try:
        raw.mkdir(parents=True)
        _run(program.extract, archive, raw)
        return write_members(_written(raw), folder, wanted, _Spent(archive, folder), progress)
    finally:
        shutil.rmtree(raw, ignore_errors=True)


def _listed(program: Program, archive: Path) -> list[Member]:
    text = _run(program.list, archive, archive.parent)
    try:
        listed = program.read_list(text)
    except (ValueError, KeyError, TypeError) as error:
        raise _GaveUp(f"{program.names[0]} gave a list that cannot be read") from error
    if not listed:
        raise _GaveUp(f"{program.names[0]} finds nothing in it")
    return listed


def _run(command: tuple[str, ...], archive: Path, folder: Path) -> str:
    filled = [part.format(archive=archive.absolute(), folder=folder.absolute()) for part in command]
    with _running(filled) as (process, said):
        text = process.stdout.read().decode(errors="surrogateescape")
        if process.wait():
            reason = _last_words(said()) or _last_words(text.partition("ERROR")[2])
            raise _GaveUp(reason or f"{command[0]} ended with {process.returncode}")
    return text


def _written(raw: Path) -> Iterator[Member]:
    """What a program wrote, as members; each file is given away when it is read."""
    for place, folders, names in os.walk(raw):
        for name in (*names, *(name for name in folders if Path(place, name).is_symlink())):
            path = Path(place, name)
            mode, inside = path.lstat().st_mode, path.relative_to(raw).as_posix()
            if stat.S_ISLNK(mode):
                yield Member(inside, "link", target=os.readlink(path))
            elif stat.S_ISREG(mode):
                yield Member(inside, "file", path.lstat().st_size, read=partial(path.open, "rb"))
                path.unlink()
            else:
                yield Member(inside, "other")


class _Spent(Budget):
    """The budget of files that are on the disk already and leave their old place one by one."""

    def take(self, size: int) -> None:
        pass
