"""The extensions that finish a page: folded parts, tables, formulas, the landing page's strip."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

body = pytest.importorskip("body")
formulas = pytest.importorskip("formulas")
landing = pytest.importorskip("landing")
page = pytest.importorskip("page")
previews = pytest.importorskip("previews")


def soup(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


def test_a_folded_cell_is_named_by_its_figure_or_its_first_line():
    bar = '<details class="hide above-input"><summary aria-label="Toggle hidden content"><p class="collapsed">a</p>'
    bar += '<p class="expanded">b</p></summary><pre># Draw it\nx = 1</pre></details>'
    tree = soup(
        f'<div class="cell">{bar}<span class="caption-number">Figure 2.1 </span></div><div class="cell">{bar}</div>'
    )
    body.name_toggles(tree)
    assert [label.string for label in tree.select(".collapsed")] == ["Show code: Figure 2.1", "Show code: Draw it"]
    assert [label.string for label in tree.select(".expanded")] == ["Hide code: Figure 2.1", "Hide code: Draw it"]
    assert not tree.select("[aria-label]")


def test_a_solution_becomes_details_and_keeps_its_id():
    tree = soup(
        '<div class="dropdown admonition" id="s"><p class="admonition-title">To <a href="#e">it</a></p><p>x</p></div>'
    )
    body.unfold_by_details(tree)
    assert str(tree) == (
        '<details class="dropdown admonition" id="s"><summary class="admonition-title">To it</summary>'
        "<p>x</p></details>"
    )


def test_exercises_share_no_id():
    tree = soup('<section id="exercise-content">a</section><section id="exercise-content">b</section>')
    body.drop_repeated_ids(tree)
    assert [tag.name for tag in tree.select(".exercise-content")] == ["div", "div"]
    assert not tree.select("[id]")


def test_numbers_stand_to_the_right_with_a_true_minus():
    tree = soup(
        "<table border='1'><thead><tr style='x'><th></th><th>set</th><th>gap</th></tr></thead>"
        "<tbody><tr><th rowspan='2'>GRU</th><td>A-4</td><td>-0.5 ± 0.1</td></tr>"
        "<tr><td>B</td><td>2</td></tr></tbody></table>"
    )
    body.set_tables(tree)
    assert [cell.get_text() for cell in tree.select(".number")] == ["gap", "−0.5 ± 0.1", "2"]
    assert tree.select_one("td[class!=number]:-soup-contains('A-4')") is not None
    assert [header["scope"] for header in tree.find_all("th")] == ["col", "col", "row"]
    assert all(header.get_text() for header in tree.find_all("th"))
    assert tree.select_one("div.scroll > table:not([border])") is not None


def test_formulas_become_mathml():
    formulas.convert([(r"\tilde h_t = \log p(x_{<t})", True)])
    math = ElementTree.fromstring(formulas.DONE[r"\tilde h_t = \log p(x_{<t})", True])
    assert math.get("display") == "block"
    assert math.find(".//mover").get("accent") == "true"
    less = next(mo for mo in math.iter("mo") if mo.text == "<")
    assert (less.get("lspace"), less.get("rspace")) == ("0", "0")
    assert not [name for tag in math.iter() for name in tag.attrib if name.startswith("data-")]


def test_broken_tex_stops_the_build():
    with pytest.raises(Exception, match="mend its TeX"):
        formulas.convert([(r"\frac{a", False)])


def test_the_strip_says_what_the_records_say():
    tree = soup(landing.strip(ROOT / "book" / "results"))
    assert [item.span.string for item in tree.find_all("li")] == list(landing.QUESTIONS.values())
    found = landing.comparison.read(ROOT / "book" / "results")
    judged = landing.claims.judged(found, "paper")
    for item, claim in zip(tree.find_all("li"), landing.QUESTIONS, strict=True):
        assert item.b.string == landing.ANSWERS[landing.claims.overall(judged[claim].values())][1]
        assert (
            item.select_one(".sets")["aria-label"].count(landing.claims.SUPPORTED) >= 1 or "0 of" in item.small.string
        )


def test_the_strip_needs_records(tmp_path: Path):
    with pytest.raises(ValueError, match="make study"):
        landing.strip(tmp_path)


def test_scripts_go_where_they_are_used():
    class File:
        filename = "copybutton.js"
        attributes = {"body": ""}

    assert page.is_needed(File, '<div class="highlight">') and not page.is_needed(File, "<p>")
    File.filename = "togglebutton.js"
    assert not page.is_needed(File, '<div class="toggle">')


def test_prose_keeps_the_sections_it_stands_in():
    tree = soup('<section id="a"><h1>One</h1><p>x &lt; y</p><section id="b"><p>two</p></section></section>')
    assert previews.prose(tree) == '<section id="a">Onex &lt; y<section id="b">two</section></section>'
