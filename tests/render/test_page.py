"""A page says the same as Markdown and as HTML, whatever its texts hold."""

from html.parser import HTMLParser

import pytest

from fsar_cli.render.page import Bullets, Grid, Heading, Illustration, Text, as_html, as_markdown

NASTY = "<b>a</b> & | {{ 1 + 1 }} `x`"


class Reader(HTMLParser):
    """Tags and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.texts, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data.strip())


@pytest.mark.parametrize(
    "block", [Text(NASTY), Text(NASTY, notice=True), Heading(NASTY), Bullets([NASTY]), Bullets([NASTY], code=True),
              Grid([NASTY, "n"], [["r", NASTY]])], ids=lambda b: b.kind,
)  # fmt: skip
def test_what_a_text_holds_is_shown_and_not_obeyed(block):
    page = Reader(as_html("t", [block]))
    assert NASTY in page.texts
    assert "b" not in page.tags


def test_tables_keep_their_groups_and_bold_cells():
    grid = Grid(["row", "1-shot", "5-shot"], [["a", "1", "2"], ["b|c", "", "4"]], [("", 1), ("here", 2)],
                frozenset({(0, 2), (1, 1)}))  # fmt: skip
    page = Reader(as_html("t", [grid]))
    assert [a["colspan"] for tag, a in page.attributes if "colspan" in a] == ["1", "2"]
    cells = [a["class"].split() for tag, a in page.attributes if tag == "td"]
    assert ["b" in names for names in cells] == [False, False, True, False, True, False]
    lines = as_markdown("t", [grid]).splitlines()
    assert "| row | here 1-shot | here 5-shot |" in lines
    assert "| a | 1 | **2** |" in lines, "what stands out"
    assert "| b\\|c |  | 4 |" in lines, "an empty cell is not bold, a bar is no column"


def test_line_breaks_do_not_end_a_row_or_a_heading():
    text = as_markdown("one\ntwo", [Grid(["a"], [["x\ny"]]), Bullets(["p\nq"], code=True), Heading("h\ni")])
    assert text.splitlines()[0] == "# one two"
    assert {"| x y |", "- `p q`", "## h i"} <= set(text.splitlines())


def test_pictures_with_any_name_are_found():
    picture = Illustration("my file [1].png", "what it shows")
    page = Reader(as_html("t", [picture]))
    assert ("img", {"src": "my%20file%20%5B1%5D.png", "alt": "what it shows"}) in page.attributes
    assert "![what it shows](<my file [1].png>)" in as_markdown("t", [picture])
