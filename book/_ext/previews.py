"""Sphinx extension: the text of the book as scripts, for what a page on a disk cannot fetch.

`search_text.js` holds the prose of every page for the excerpts of the search page; `previews.js` holds the definitions
and equations that `book.js` shows when a link to another page is pointed at. Both are read as classic scripts.
"""

import json
from pathlib import Path

from bs4 import BeautifulSoup, NavigableString, Tag
from docutils import nodes
from markupsafe import escape
from sphinx.application import Sphinx

NOT_PROSE = ".headerlink, .eqno, script, style, .cell_input, .cell_output, svg, details.hide > summary"
# The search page asks for a page to make an excerpt; it is answered from what is stored here.
ANSWER = """
window.fetch = (address) => {
  const page = new URL(address, location).href.replace(/[?#].*/, "");
  const root = new URL(document.documentElement.dataset.content_root, location).href;
  return Promise.resolve({ text: () => `<div role="main">${bookText[page.slice(root.length)] || ""}</div>` });
};
"""


def prose(tag: Tag) -> str:
    """The text of a page, with the sections it stands in as the only markup."""
    parts = []
    for child in tag.children:
        if isinstance(child, NavigableString):
            parts.append(str(escape(child)))
        elif child.name == "section" or child.get("id"):
            parts.append(f'<section id="{escape(child.get("id", ""))}">{prose(child)}</section>')
        else:
            parts.append(prose(child))
    return " ".join("".join(parts).split())


def targets(soup: BeautifulSoup) -> dict[str, str]:
    """What a link to this page can be shown by: anchor -> HTML of a definition or of an equation."""
    found = {}
    for term in soup.select("dl.glossary dt[id]"):
        definition = term.find_next_sibling("dd")
        heading = "".join(str(child) for child in term.children if getattr(child, "name", "") != "a")
        found[term["id"]] = f"<strong>{heading.strip()}</strong> {definition.decode_contents().strip()}"
    for block in soup.select("div.math[id]"):
        found[block["id"]] = block.decode_contents()
    return found


def collect(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Note the text of a page, its targets, and which targets of other pages it points at."""
    if doctree is None:
        return
    soup = context.pop("soup")
    links = [link["href"] for link in soup.select("a.reference.internal[href*='#']")]
    for tag in soup.select(".headerlink"):
        tag.decompose()
    shown = targets(soup)
    for tag in soup.select(NOT_PROSE):
        tag.decompose()
    name = app.builder.get_target_uri(page)
    app.book_notes[name] = {"text": prose(soup), "targets": shown, "links": links}


def notes_file(app: Sphinx) -> Path:
    """Where the notes of pages that are not written again are kept between builds."""
    return Path(app.doctreedir) / "book_notes.json"


def read_notes(app: Sphinx) -> None:
    """Start from the notes of the last build."""
    file = notes_file(app)
    app.book_notes = json.loads(file.read_text(encoding="utf8")) if file.is_file() else {}


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the two scripts."""
    if exception is not None or app.builder.format != "html":
        return
    pages = {app.builder.get_target_uri(page) for page in app.env.found_docs}
    notes = {name: note for name, note in app.book_notes.items() if name in pages}
    notes_file(app).write_text(json.dumps(notes), encoding="utf8")
    asked = {link.rsplit("/", 1)[-1] for note in notes.values() for link in note["links"] if not link.startswith("#")}
    shown = {
        f"{name}#{anchor}": html
        for name, note in notes.items()
        for anchor, html in note["targets"].items()
        if f"{name.rsplit('/', 1)[-1]}#{anchor}" in asked
    }
    texts = {name: note["text"] for name, note in notes.items()}
    static = Path(app.outdir) / "_static"
    previews = f"window.bookPreviews = {json.dumps(shown, ensure_ascii=False)};\n"
    (static / "previews.js").write_text(previews, encoding="utf8")
    search = f"const bookText = {json.dumps(texts, ensure_ascii=False)};{ANSWER}"
    (static / "search_text.js").write_text(search, encoding="utf8")


def add_search_text(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """The search page, and no other, reads the text of the book."""
    if page == "search":
        app.add_js_file("search_text.js")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hooks."""
    app.connect("builder-inited", read_notes)
    app.connect("html-page-context", collect, priority=700)
    app.connect("html-page-context", add_search_text, priority=700)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
