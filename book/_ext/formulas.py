"""Sphinx extension: formulas become MathML when the book is built, so that no page has to run a typesetter.

MathJax's own TeX parser, from the package `sphinx-mathjax-offline`, runs once per page in an embedded JavaScript engine
(`mini-racer`). Browsers set MathML themselves; what they need is a font with a MATH table: a part
of STIX Two Math (SIL Open Font Licence), which the package `ziamath` brings, is carried in the book.
"""

import base64
import io
import json
from functools import cache
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from xml.etree import ElementTree

from docutils import nodes
from fontTools import subset
from py_mini_racer import MiniRacer
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

MATHML = "http://www.w3.org/1998/Math/MathML"
STYLE = "formulas.css"
PARTS = ("core.js", "adaptors/liteDOM.js", "input/tex-base.js", "input/tex/extensions/ams.js")
ENGINE = """
const _ = MathJax._, adaptor = _.adaptors.liteAdaptor.liteAdaptor();
_.handlers.html_ts.RegisterHTMLHandler(adaptor);
const page = _.mathjax.mathjax.document('', {InputJax: new _.input.tex_ts.TeX({packages: ['base', 'ams']})});
const visitor = new _.core.MmlTree.SerializedMmlVisitor.SerializedMmlVisitor();
const mathml = ([tex, display]) => visitor.visitTree(page.convert(tex, {display, end: _.core.MathItem.STATE.CONVERT}));
"""
SCRIPT = str.maketrans("BEFHILMRegoABCDGJKNOPQSTUVWXYZ", "ℬℰℱℋℐℒℳℛℯℊℴ𝒜ℬ𝒞𝒟𝒢𝒥𝒦𝒩𝒪𝒫𝒬𝒮𝒯𝒰𝒱𝒲𝒳𝒴𝒵")
# What the font keeps of Unicode: ASCII, Greek, accents, arrows, operators, braces that stretch, mathematical letters.
LETTERS = (
    (0x20, 0x7E), (0xAC, 0xD7), (0x2C6, 0x2DC), (0x370, 0x3F6), (0x2016, 0x2044), (0x2057, 0x2064), (0x20D0, 0x20D7),
    (0x2100, 0x2134), (0x2190, 0x21D5), (0x2200, 0x22EF), (0x2308, 0x230B), (0x239B, 0x23B7), (0x23DC, 0x23E1),
    (0x27E6, 0x27EB), (0x1D49C, 0x1D4B5), (0x1D434, 0x1D467), (0x1D6E2, 0x1D71B),
)  # fmt: skip
OPEN = ("(", "[", "{", "|", "‖")


@cache
def mathjax() -> str:
    """The source of MathJax's TeX parser, and the function `mathml` that uses it."""
    package = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    source = "".join((package / part).read_text(encoding="utf8") + ";\n" for part in PARTS)
    return "globalThis.MathJax = {version: '3.2.2'};\n" + source + ENGINE


DONE: dict[tuple[str, bool], str] = {}  # (TeX, on a line of its own) -> MathML


def convert(formulas: list[tuple[str, bool]]) -> None:
    """Add formulas to DONE. Raises ExtensionError where the TeX is broken."""
    new = sorted(set(formulas) - DONE.keys())
    if not new:
        return
    with MiniRacer() as engine:
        engine.eval(mathjax() + "''")
        answers = json.loads(engine.eval(f"JSON.stringify({json.dumps(new)}.map(mathml))"))
    for formula, answer in zip(new, answers, strict=True):
        if "<merror" in answer:
            raise ExtensionError(f"this formula cannot be read, mend its TeX: {formula[0]}")
        DONE[formula] = polish(answer)


def space(mo: ElementTree.Element, before: str, after: str) -> None:
    """Set the space around an operator."""
    mo.set("lspace", before)
    mo.set("rspace", after)


def polish(text: str) -> str:
    """Say in attributes what TeX knows about spacing and a browser does not; leave out MathJax's own."""
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        children = list(parent)
        parent.tag = parent.tag.removeprefix(f"{{{MATHML}}}")
        parent.text = (parent.text or "").strip() if children else parent.text
        for child in children:
            child.tail = None
        kind = parent.get("data-mjx-texclass")
        if parent.tag == "mo" and kind in ("ORD", "OPEN", "CLOSE"):
            space(parent, "0", "0")
        if parent.get("mathvariant") == "-tex-calligraphic":
            parent.text = parent.text.translate(SCRIPT)
            parent.set("mathvariant", "normal")
        for name in [name for name in parent.attrib if name.startswith("data-")]:
            del parent.attrib[name]
    for parent in root.iter():
        children = list(parent)
        if parent.tag in ("msub", "msup", "msubsup"):  # TeX sets no space around relations and sums in a script
            for mo in (mo for script in children[1:] for mo in script.iter("mo")):
                space(mo, "0", "0")
        if parent.tag == "mover" and children[1].text in ("~", "^", "¯", "―"):
            parent.set("accent", "true")
            children[1].text = {"~": "\u02dc", "^": "\u02c6"}.get(children[1].text, "\u00af")
        for name, following in zip_longest(children, children[1:]):
            if name.text == "\u2061":  # a function applied: a thin space, unless a bracket follows
                first = next(following.iter("mo"), None) if following is not None else None
                bracket = first is not None and first.text in OPEN and following.tag in ("mo", "mrow")
                space(name, "0", "0" if bracket or following is None else "0.1667em")
    return ElementTree.tostring(root, encoding="unicode")


def convert_page(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Convert every formula of a page at once: the engine starts once."""
    if app.builder.format == "html":
        blocks = [(block_source(node), True) for node in doctree.findall(nodes.math_block)]
        convert(blocks + [(node.astext(), False) for node in doctree.findall(nodes.math)])


def block_source(node: nodes.math_block) -> str:
    """TeX of a displayed formula; several lines without an environment are stacked."""
    text = node.astext()
    return rf"\begin{{gathered}}{text}\end{{gathered}}" if r"\\" in text and r"\begin" not in text else text


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula in a line."""
    formula = (node.astext(), False)
    convert([formula])
    self.body.append(f'<span class="math">{DONE[formula]}</span>')
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a displayed formula; its number stands beside the part that scrolls."""
    formula = (block_source(node), True)
    convert([formula])
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(f'<div class="formula">{DONE[formula]}</div>')
    if node["number"]:
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def write_style(app: Sphinx, exception: Exception | None) -> None:
    """Write the font, cut to the letters of formulas, as a style sheet: a page on a disk may not load a font file."""
    if exception is not None or app.builder.format != "html":
        return
    used = {code for first, last in LETTERS for code in range(first, last + 1)}
    options = subset.Options(
        flavor="woff2", layout_features=["ssty", "dtls", "flac"], hinting=False, notdef_outline=True
    )
    font = subset.load_font(Path(find_spec("ziamath").origin).parent / "fonts" / "STIXTwoMath-Regular.ttf", options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=used)
    cutter.subset(font)
    file = io.BytesIO()
    subset.save_font(font, file, options)
    data = base64.b64encode(file.getvalue()).decode()
    rule = f'@font-face{{font-family:"Book Math";src:url(data:font/woff2;base64,{data}) format("woff2")}}\n'
    (Path(app.outdir) / "_static" / STYLE).write_text(rule, encoding="utf8")


def add_style(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """The font goes to pages with formulas only."""
    if "<math" in context.get("body", ""):
        app.add_css_file(STYLE)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer; `html_math_renderer: mathml` chooses it."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("doctree-resolved", convert_page)
    app.connect("html-page-context", add_style)
    app.connect("build-finished", write_style)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
