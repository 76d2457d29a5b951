"""`fsar guide faults`: what it says is refused is refused with these words, and a test shows it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "fsar_cli/guide/faults.md"
ROWS = [
    [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| fault |"))
]


@cache
def sentences() -> str:
    """Every text in the source, a line each; `…` stands for the values in it."""
    found = []
    for file in (ROOT / "fsar_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                found.append("".join(map(str, parts)))
    return "\n".join(text.replace("\n", " ") for text in found)


def test_there_are_many_and_each_row_is_complete():
    assert len(ROWS) >= 60
    assert all(len(row) == 4 and all(row) for row in ROWS)
    assert {row[2] for row in ROWS} <= {"0", "2", "3", "4", "130", "141"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_the_words_and_the_test_of_a_row_exist(row):
    _, says, _, test = row
    for words in re.findall(r'"([^"]+)"', says):
        pattern = ".*?".join(re.escape(part) for part in words.split("…"))
        assert re.search(pattern, sentences()), f"no message reads: {words}"
    for file, name in re.findall(r"`(tests/[^:`]+)::(\w+)`", test):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {name}"
    assert "::" in test
