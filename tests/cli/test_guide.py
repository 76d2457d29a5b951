"""`fsar guide` and the README that it goes on from."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fsar_cli.cli.guide import PAGES
from fsar_cli.cli.output import LazyConsole

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_without_a_name_every_page_is_a_line_with_its_title(fsar):
    result = fsar("guide")
    lines = result.out.splitlines()
    assert result.code == 0
    assert [line.split()[0] for line in lines] == sorted(path.stem for path in PAGES.glob("*.md"))
    assert {"data", "measurements", "paper"} <= {line.split()[0] for line in lines}
    assert all(re.fullmatch(r"\S+ +[^#\s].+", line) for line in lines)


def test_a_page_is_printed_as_it_is_written_where_nobody_watches(fsar):
    assert fsar("guide", "data").out == (PAGES / "data.md").read_text(encoding="utf-8")


def test_on_a_terminal_the_marks_of_markdown_become_its_looks(fsar, monkeypatch):
    monkeypatch.setattr(LazyConsole, "is_terminal", True)
    out = fsar("guide", "paper").out
    assert "All methods" in out
    assert "## " not in out
    assert "|---" not in out


def test_an_unknown_page_is_refused_with_a_suggestion(fsar):
    result = fsar("guide", "measurement")
    assert result.code == 2
    assert "did you mean 'measurements'?" in result.err
    assert "pages: " in fsar("guide", "xyz").err


def test_the_wheel_holds_the_pages(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    shipped = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    assert {f"fsar_cli/guide/{path.name}" for path in PAGES.iterdir()} <= shipped


def test_the_readme_is_short_and_shows_the_figure_of_the_method_as_the_guide_does():
    assert len(README.splitlines()) <= 160
    figure = README[README.index("clip [T=8") : README.index("/ 3\n")]
    assert figure in (PAGES / "paper.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(PAGES.glob("*.md"))], ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif "://" not in target:
            assert (page.parent / target).exists(), target
