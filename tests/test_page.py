"""The extensions that finish a page: folded parts, tables, formulas, the landing page's strip."""

import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils import new_document

from gatedrnn import datasets, panels
from gatedrnn.datasets import Dataset
from gatedrnn.files import DataError

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

body = pytest.importorskip("body")
captions = pytest.importorskip("captions")
formulas = pytest.importorskip("formulas")
landing = pytest.importorskip("landing")
page = pytest.importorskip("page")
previews = pytest.importorskip("previews")
shipped = pytest.importorskip("shipped")


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


def test_citations_have_no_roles():
    tree = soup(
        '<div class="citation-list" role="list"><div class="citation" id="a" role="doc-biblioentry">A</div></div>'
    )
    body.drop_broken_roles(tree)
    assert str(tree) == '<div class="citation-list"><div class="citation" id="a">A</div></div>'


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


def test_a_panel_says_what_its_controls_begin_with():
    panel = panels.slider(
        [1, 2], {"a": np.zeros((2, 2, 2))}, {"set": ["x", "y"], "rate": [1e-6, 0.5]}, start={"set": "y"}
    )
    tree = soup(panel._repr_html_() + '<div class="panel"><script>{"voices": []}</script></div>')
    body.say_settings(tree)
    assert [line.string for line in tree.select(".setting")] == ["set: y; rate: 10⁻⁶"]


def test_a_table_gets_the_caption_of_its_cell():
    document = new_document("page")
    cell = nodes.container(cell_metadata={"caption": "Nats & more"})
    cell += nodes.raw("", "<p>x</p>", format="html")
    cell += nodes.raw("", '<table border="1"><tr><td>1</td></tr></table>', format="html")
    document += [cell, nodes.container(cell_metadata={}), nodes.container()]
    captions.TableCaptions(document).apply()
    assert cell[0].astext() == "<p>x</p>"
    assert cell[1].astext().startswith('<table border="1"><caption>Nats &amp; more</caption><tr>')


def test_a_table_without_a_label_is_not_counted():
    document = new_document("page")
    document += [nodes.table("", nodes.title("", "One"), ids=["tab"]), nodes.table("", nodes.title("", "Two"))]
    captions.TablesWithoutLabel(document).apply()
    assert [type(table) for table in document] == [nodes.table, captions.Unnumbered]
    assert document[1].astext() == "Two"


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


def test_the_strip_judges_no_pace_that_a_schedule_sets():
    for item in soup(landing.strip(ROOT / "book" / "results")).find_all("li"):
        asked = "updates" in item.span.string
        assert (landing.COLUMNS["best"] in item.get_text()) != asked and landing.COLUMNS["paper"] in item.get_text()


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


def test_a_script_is_shipped_without_comments_and_with_its_strings():
    source = """/* What it does */
const a = "// no comment",  b = `x  ${ 1 + 1 }`; // one
const c = a.replace(/[/"]  /g, '') ; /* two */
const f = (x) => {
  const y = x - -1;
  return y / 2 + ' a  b ';
};
"""
    slim = shipped.slim_script(source)
    assert slim == (
        """const a="// no comment",b=`x  ${ 1 + 1 }`,c=a.replace(/[/"]  /g,''),"""
        """f=(x)=>{const y=x - -1;return y/2+' a  b '};"""
    )


@pytest.mark.parametrize("name", ["book.js", "panels.js"])
def test_the_shipped_scripts_can_be_read(name: str):
    from py_mini_racer import MiniRacer

    source = (shipped.OWN / name).read_text(encoding="utf8")
    with MiniRacer() as engine:  # as the body of a function: read, and not run
        assert engine.eval(f"(() => {{{shipped.slim_script(source)}\n}}, 1)") == 1


def test_a_style_is_shipped_without_what_means_nothing():
    source = (
        'a  > b,\nc { /* no */ margin: -0.5rem 0 0.25em !important; font: 1rem "A  B"; }\n@media print { d { e: f; } }'
    )
    slim = 'a>b,c{margin:-.5rem 0 .25em!important;font:1rem "A B"}@media print{d{e:f}}'
    assert shipped.slim_style(source) == slim


def test_the_landing_page_lets_the_kept_networks_go_on(monkeypatch: pytest.MonkeyPatch):
    roll = np.zeros((48, 88), dtype=np.uint8)
    roll[:, [39, 43, 46]] = 1
    data = Dataset("bach_chorales", "music", (), (), (roll,) * 49, 0.5, "", "")
    monkeypatch.setattr(datasets, "load", lambda name, progress: data)
    monkeypatch.setattr(landing, "STEPS", 20)
    results = ROOT / "book" / "results" / "paper"
    panel = landing.continuations({unit: results / f"bach_chorales_{unit}.npz" for unit in ("tanh", "gru")})
    assert panel.data["voices"] == ["Bach", "tanh", "GRU"] and panel.data["seconds"] == [10, 10, 10]
    assert len(soup(panel.picture).select(".voice path.given")) == 3


def test_without_the_data_the_landing_page_is_built_without_music(monkeypatch: pytest.MonkeyPatch):
    def none(parameters):
        raise DataError("no chorales here")

    monkeypatch.setattr(landing, "continuations", none)
    directive = object.__new__(landing.Continuations)
    env = SimpleNamespace(app=SimpleNamespace(srcdir=ROOT), note_dependency=lambda path: None)
    directive.state = SimpleNamespace(document=SimpleNamespace(settings=SimpleNamespace(env=env)))
    assert directive.run() == []
