"""Folders of results: one writer at a time, and never what came of two inputs.

A folder's document (result.json, regions.json, ...) says by some of its keys what it was made from. Where that is
another input, results go to a folder with a name of its own; a folder that the user names is not taken without --force.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fsar_cli.errors import UsageError
from fsar_cli.files import lock
from fsar_cli.reporting import Reporter


@contextmanager
def result_folder(
    default: Path,
    out: Path | None,
    document: str,
    source: Mapping[str, object],
    reporter: Reporter,
    *,
    force: bool = False,
    prefix: str = "",
) -> Iterator[Path]:
    """The folder that results go to, made and kept to this process for the length of the block.

    Args:
        default: where they go if nothing else is there; else to `prefix`-name, then to name-2, name-3 ...
        out: where the user says; None: he does not.
        document: name of the file that says what results were made from.
        source: keys and plain values that it has for this input.
        force: take the folder, whatever it holds.

    Raises:
        UsageError: `out` holds results of another input, or another process writes into it.
        OSError: the folder cannot be written to.
    """
    reasons: list[str] = []
    with ExitStack() as claims:
        for folder in [out] if out else _names(default, prefix):
            try:
                claims.enter_context(_claimed(folder, document, source, force))
            except UsageError as error:
                if out:
                    raise
                reasons.append(error.message)
                continue
            if reasons:
                reporter.log(f"{reasons[0]}; these go to {folder}")
            yield folder
            return


def _names(default: Path, prefix: str) -> Iterator[Path]:
    names = [default.name, *([f"{prefix}-{default.name}"] if prefix else [])]
    yield from (default.with_name(name) for name in names)
    yield from (default.with_name(f"{names[-1]}-{number}") for number in itertools.count(2))


@contextmanager
def _claimed(folder: Path, document: str, source: Mapping[str, object], force: bool) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"another process is writing into {folder}", "wait for it, or --out takes another folder"
    with lock(folder / ".lock", busy):
        if not force and (other := other_source(folder / document, source)):
            raise UsageError(f"{folder} holds results of {other}", "--out takes another folder, --force replaces them")
        yield


def other_source(file: Path, source: Mapping[str, object]) -> str:
    """What a document was made from, if that is another input; empty where it is not, or does not tell."""
    try:
        stated = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    for key, own in source.items() if isinstance(stated, dict) else ():
        if (other := stated.get(key, own)) != own:
            return ", ".join(map(str, other)) if isinstance(other, list) else str(other or "initial weights")
    return ""


def remove_others(folder: Path, keep: set[str], *patterns: str) -> None:
    """Remove the files of an earlier result that a new one lacks: those of the patterns whose names are not kept."""
    for pattern in patterns:
        for file in folder.glob(pattern):
            if file.name not in keep:
                file.unlink(missing_ok=True)
