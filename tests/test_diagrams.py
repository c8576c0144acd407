"""The diagrams of the units: what is lit, what the lines join, and that every part has its strokes."""

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest

from gatedrnn.diagrams import SIZES, Diagram, cell_diagram, drawings, plain, spans
from gatedrnn.palette import DARK, DIM
from gatedrnn.units import UNITS

SVG = "{http://www.w3.org/2000/svg}"
ALL = [(unit, part) for unit, one in UNITS.items() for part in one.parts]


def parsed(diagram: Diagram) -> ElementTree.Element:
    return ElementTree.fromstring(diagram.svg)


def groups(root: ElementTree.Element) -> list[tuple[set[str], ElementTree.Element]]:
    """(parts, element) of every group."""
    return [
        ({name.removeprefix("part-") for name in g.get("class").split() if name.startswith("part-")}, g)
        for g in root.iter(f"{SVG}g")
    ]


def written(element: ElementTree.Element) -> str:
    return "".join(element.itertext())


def rows(unit: str, kind: str, part: str | None = None) -> list[list[tuple[float, float]]]:
    """The points of each element of a kind, of a part."""
    return [
        [tuple(map(float, point.split(","))) for point in points.split()]
        for k, parts, points, _ in drawings()[unit]
        if k == kind and (part is None or part in parts.replace("+", "").split())
    ]


@pytest.mark.parametrize("unit", UNITS)
def test_a_diagram_is_well_formed_and_says_what_it_shows(unit):
    root = parsed(cell_diagram(unit))
    width, height = map(float, root.get("viewBox").split()[2:])
    assert root.get("role") == "img" and (width, height) == (float(root.get("width")), float(root.get("height")))
    title, said = root.find(f"{SVG}title").text, root.find(f"{SVG}desc").text
    assert UNITS[unit].title in title == root.get("aria-label")
    assert said.count("=") == len(UNITS[unit].parts) and "\\" not in said


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("peepholes", [True, False])
def test_the_equations_are_those_of_the_units_and_complete(unit, peepholes):
    root = parsed(cell_diagram(unit, peepholes=peepholes))
    equations = {min(parts): written(g) for parts, g in groups(root) if "equation" in g.get("class")}
    assert set(equations) == set(UNITS[unit].parts)
    for part, text in equations.items():
        tex = UNITS[unit].equation(part, peepholes=peepholes)
        bare = re.sub(r"\\tilde\{(\w)\}", "\\1\u0303", tex).replace(r"\,", "").replace(r"\odot", "⊙")
        bare = bare.replace(r"\sigma", "σ").replace(r"\tanh", "tanh").replace("-", "−")
        assert re.sub(r"\s", "", text) == re.sub(r"[\s_{}]", "", bare)
    assert not groups(parsed(cell_diagram(unit, equations=False)))[-1][1].get("class").endswith("equation")


def test_tex_becomes_letters_with_subscripts():
    line = ElementTree.fromstring(f"<text>{spans(UNITS['gru'].equation('h_tilde'))}</text>")
    assert written(line) == "h\u0303t = tanh(W xt + U\u2009(rt ⊙ ht−1))"
    lowered = [span for span in line if span.get("font-size")]
    assert [span.text for span in lowered] == ["t", "t", "t", "t−1"]
    spans_ = list(line)  # what comes after a subscript goes up again
    assert all(b.get("dy") == "-.18em" for a, b in pairwise(spans_) if a in lowered)
    assert plain(UNITS["gru"].equation("r")) == "r_t = σ(W_r x_t + U_r h_t-1)"


@pytest.mark.parametrize(("unit", "part"), ALL)
def test_every_part_has_strokes_a_name_and_an_equation_and_a_rule_that_lights_it(unit, part):
    diagram = cell_diagram(unit, [part])
    root = parsed(diagram)
    assert {"cell-diagram", f"unit-{unit}", "lit", f"lit-{part}"} == set(root.get("class").split())
    own = [g for parts, g in groups(root) if part in parts]
    kinds = {child.tag.removeprefix(SVG) for g in own for child in g}
    assert {"path", "text"} <= kinds and ({"rect"} & kinds or part in ("c", "h"))
    assert f".cell-diagram.lit.lit-{part} .part.part-{part} *" in diagram.svg
    if unit != "tanh":
        assert any(part not in parts for parts, _ in groups(root))


def test_nothing_lit_is_everything_at_full_strength_and_dark_pages_have_their_colours():
    svg = cell_diagram("gru").svg
    assert 'class="cell-diagram unit-gru"' in svg and f"--dim: {DIM}" in svg and f"--dim: {DARK[DIM]}" in svg
    assert cell_diagram("gru")._repr_html_() == cell_diagram("gru")._repr_svg_() == svg


def test_peepholes_are_dashed_and_can_be_left_out():
    def dashed(diagram):
        return [g for _, g in groups(parsed(diagram)) if "peep" in g.get("class").split()]

    arrows = [g for g in dashed(cell_diagram("lstm")) if any(child.get("class") == "line" for child in g)]
    assert len(arrows) == 4
    assert not dashed(cell_diagram("lstm", peepholes=False)) and not dashed(cell_diagram("gru"))
    with_, without = (cell_diagram("lstm", peepholes=p).svg for p in (True, False))
    assert ">V<" in with_ and ">V<" not in without
    memory = {frozenset(parts) for parts, g in groups(parsed(cell_diagram("lstm", peepholes=False))) if parts >= {"f"}}
    assert memory and not any("c" in parts for parts in memory)  # without them the memory is not part of a gate


def test_input_and_forget_gate_see_the_old_memory_and_the_output_gate_the_new():
    boxes = {part: at[0][0] for part in ("f", "i", "o") for at in rows("lstm", "box", part)}
    (((sum_x, memory),),) = [rows("lstm", "sum")[0]]
    (old,), (new,) = rows("lstm", "peep line"), rows("lstm", "peep arrow", "o")
    assert old[0][1] == new[0][1] == memory and old[0][0] < boxes["f"] < sum_x < new[0][0]
    ends = [rows("lstm", kind, part)[0][-1][0] for kind, part in
            (("peep arrow", "f"), ("peep bridge", "i"), ("peep arrow", "o"))]  # fmt: skip
    for end, gate in zip(ends, "fio", strict=True):
        assert abs(end - boxes[gate]) < 1.15 / 2  # over the gate's box


def test_the_reset_gate_acts_before_the_matrix_product():
    product, box = (6.0, 2.2), {part: rows("gru", "box", part)[0][0] for part in ("r", "h_tilde")}
    assert [product] in rows("gru", "product", "h_tilde")
    tips = [at[-1] for at in rows("gru", "arrow", "h_tilde")]
    assert (5.76, 2.2) in tips and (6.0, 1.96) in tips  # r and the old state go into the product ...
    (u,) = (points for kind, _, points, text in drawings()["gru"] if text == "U")
    assert box["r"][0] < product[0] < float(u.split(",")[0]) < box["h_tilde"][0]  # ... and U stands where it leaves


@pytest.mark.parametrize("unit", UNITS)
def test_what_a_line_joins_it_meets(unit):
    """Every end of a line is a name, a box, a node, a fork, or another line's end; none hangs in the air."""
    width, top, _ = SIZES[unit]
    elements = [(kind.removeprefix("peep "), [tuple(map(float, p.split(","))) for p in points.split()], text)
                for kind, _, points, text in drawings()[unit]]  # fmt: skip
    places = [at[0] for kind, at, _ in elements if kind not in ("frame", "line", "arrow", "bridge")]
    ends = [end for kind, at, _ in elements if kind in ("line", "arrow", "bridge") for end in (at[0], at[-1])]
    for k, (x, y) in enumerate(ends):
        near = [(a, b) for a, b in places if abs(a - x) <= 0.62 and abs(b - y) <= 0.52]
        assert near or (x, y) in ends[:k] + ends[k + 1 :], (x, y)
        assert -0.15 <= x <= width and -0.7 <= y <= top


@pytest.mark.parametrize("unit", UNITS)
def test_no_text_touches_another(unit):
    """By a width of 0.45 of the type size a letter, less for subscripts; a tilde above one has none."""
    boxes = []
    for text in parsed(cell_diagram(unit)).iter(f"{SVG}text"):
        size, x, y = (float(text.get(name)) for name in ("font-size", "x", "y"))
        wide = sum(
            0.45 * size * len(span.text.replace("\u0303", "")) * (0.72 if span.get("font-size") else 1) for span in text
        )
        left = x - {"start": 0, "middle": wide / 2, "end": wide}[text.get("text-anchor")]
        boxes.append((written(text), left, y - 0.7 * size, left + wide, y + 0.25 * size))
    width, height = cell_diagram(unit).size
    assert all(a >= 0 and b >= 0 and c <= width and d <= height for _, a, b, c, d in boxes)
    for one, other in combinations(boxes, 2):
        apart = one[3] <= other[1] or other[3] <= one[1] or one[4] <= other[2] or other[4] <= one[2]
        assert apart, (one, other)


def test_what_is_unknown_is_refused_with_what_is_known():
    with pytest.raises(ValueError, match="unknown unit 'rnn': the known units are tanh, gru, lstm"):
        cell_diagram("rnn")
    with pytest.raises(ValueError, match="unknown part f of gru: the known parts are z, r, h_tilde, h"):
        cell_diagram("gru", ["f", "z"])
