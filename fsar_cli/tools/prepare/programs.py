"""The installed programs besides bsdtar that may read a RAR: their commands, and what they say of what is inside."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from fsar_cli.tools.prepare.members import Member

ANY = "bsdtar, unrar, unar or 7z"
INSTALL = {
    "linux": "apt install libarchive-tools (bsdtar), or unar, or unrar",
    "darwin": "bsdtar is part of macOS; brew install libarchive, or unar",
    "win32": "install 7-Zip or UnRAR and put it on PATH",
}


@dataclass(frozen=True)
class Program:
    """A program that lists and unpacks; `{archive}` and `{folder}` stand for absolute paths."""

    names: tuple[str, ...]
    list: tuple[str, ...]
    extract: tuple[str, ...]
    read_list: Callable[[str], list[Member]]


def _read_unrar(text: str) -> list[Member]:
    """`unrar lt`: blocks of `Name: value` lines."""
    return [
        Member(
            entry["Name"], "link" if "link" in entry.get("Type", "").lower() else "file", int(entry.get("Size") or 0)
        )
        for entry in _blocks(text, r"^ *(\w[\w ]*): (.*)$", "Name")
    ]


def _read_7z(text: str) -> list[Member]:
    """`7z l -slt`: after a line of hyphens, blocks of `Name = value` lines."""
    listed = text.partition("\n----------\n")[2]
    return [
        Member(
            entry["Path"],
            "link" if entry.get("Symbolic Link") or entry.get("Hard Link") else "file",
            int(entry.get("Size") or 0),
        )
        for entry in _blocks(listed, r"^(\w[\w ]*) = (.*)$", "Path")
    ]


def _blocks(text: str, line: str, first: str) -> list[dict[str, str]]:
    entries: list[dict[str, str]] = []
    for key, value in re.findall(line, text, re.MULTILINE):
        if key == first:
            entries.append({})
        if entries:
            entries[-1][key] = value
    return entries


def _read_lsar(text: str) -> list[Member]:
    """`lsar -j`: one JSON document."""
    entries = json.loads(text)["lsarContents"]
    return [
        Member(
            str(entry["XADFileName"]), "link" if entry.get("XADIsLink") else "file", int(entry.get("XADFileSize", 0))
        )
        for entry in entries
    ]


# fmt: off
PROGRAMS = (
    Program(("unrar",), ("unrar", "lt", "-p-", "--", "{archive}"),
            ("unrar", "x", "-o+", "-y", "-p-", "-inul", "--", "{archive}", "{folder}/"), _read_unrar),
    Program(("unar", "lsar"), ("lsar", "-j", "--", "{archive}"),
            ("unar", "-q", "-D", "-f", "-o", "{folder}", "--", "{archive}"), _read_lsar),
    *(Program((name,), (name, "l", "-slt", "-spd", "-pnone", "--", "{archive}"),
              (name, "x", "-y", "-bd", "-spd", "-pnone", "-o{folder}", "--", "{archive}"), _read_7z)
      for name in ("7zz", "7z")),
)
# fmt: on
