"""Sphinx extension: what stands around the text of a page.

Scripts and styles only where they are used, none for icons; a title, a description and the authors for those who find
the page; names for the theme's controls. `book/_templates/layout.html` calls the two functions that it is given here.
"""

import re
from itertools import islice
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

# A script or style whose name or text contains the key stays on pages that match the value; None: on no page.
NEEDED_BY = {
    "thebe": None,  # runs cells on a server, which a page on a disk does not have
    "togglebutton": None,  # book/_ext/body.py folds with <details>
    "toggleHint": None,
    "toggleOpenOnPrint": None,
    "design-tabs": "sd-tab-set",
    "sphinx-design": 'class="sd-',
    "proof.css": 'class="proof',
    "exercise.css": 'class="exercise',
    "mystnb": "cell_",
    "clipboard": 'class="highlight',
    "copybutton": 'class="highlight',
}
# Controls of the theme whose name does not contain what they show, and a landmark for the logo.
NAMES = (
    (re.compile(r'(<button class="btn search-button-field[^>]*?) title="Search" aria-label="Search"'), r"\1"),
    (re.compile(r'(<input type="search"[^>]*?)aria-label="[^"]*"'), r'\1aria-label="Search this book..."'),
    (re.compile(r'<div id="pst-primary-sidebar"'), '<div role="navigation" aria-label="Book" id="pst-primary-sidebar"'),
    (re.compile(r'title="Toggle primary sidebar"'), 'title="Chapters" aria-label="Chapters"'),
    (re.compile(r'title="Toggle secondary sidebar"'), 'title="Contents" aria-label="Contents"'),
    (re.compile(r'title="Fullscreen mode"'), 'title="Fullscreen mode" aria-label="Fullscreen mode"'),
    (re.compile(r'<button class="btn btn-sm nav-link pst-navbar-icon theme-switch-button pst-js-only" '),
     '<button class="btn btn-sm nav-link pst-navbar-icon theme-switch-button pst-js-only" type="button" '),
    (re.compile(r'(<i class="[^"]*fa-[^"]*"[^>]*?)(?: title="[^"]*")?>'), r'\1 aria-hidden="true">'),
)  # fmt: skip
ICONS = re.compile(r"\s*<!-- So that users can add custom icons -->\s*<script[^>]*fontawesome[^>]*></script>")


def citation(app: Sphinx) -> dict:
    """The content of CITATION.cff."""
    return yaml.safe_load((Path(app.srcdir) / "CITATION.cff").read_text(encoding="utf8"))


def authors(cff: dict) -> str:
    """The authors' names, in a row."""
    return ", ".join(a.get("name") or f"{a['given-names']} {a['family-names']}" for a in cff["authors"])


def name_authors(app: Sphinx, config: Config) -> None:
    """The authors of the book are those whom CITATION.cff names."""
    config.author = authors(citation(app))


def is_needed(file: object, body: str) -> bool:
    """Whether a page uses a script or a style sheet."""
    text = f"{getattr(file, 'filename', '')} {getattr(file, 'attributes', {}).get('body') or ''}"
    marks = [mark for key, mark in NEEDED_BY.items() if key in text]
    return all(mark is not None and re.search(mark, body) for mark in marks)


def described(doctree: nodes.document) -> str:
    """The first sentences of a page's text, up to about 160 characters."""
    paragraphs = (p for p in doctree.findall(nodes.paragraph) if isinstance(p.parent, nodes.section))
    text = " ".join(" ".join(p.astext() for p in islice(paragraphs, 3)).split())
    return text if len(text) <= 160 else text[:160].rsplit(" ", 1)[0] + " …"


def name_controls(html: str) -> str:
    """Give the theme's controls the names that they show."""
    for pattern, replacement in NAMES:
        html = pattern.sub(replacement, html)
    return html


def without_icon_script(html: str) -> str:
    """book.css draws the dozen icons in use; the theme's script for them weighs 1.4 MB."""
    return ICONS.sub("", html)


def dress(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Choose scripts and styles, and hand the template what it needs."""
    body = context.get("body", "")
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context.get(kind, ()) if is_needed(file, body)]
    context["name_controls"], context["without_icon_script"] = name_controls, without_icon_script
    abstract = " ".join(citation(app)["abstract"].split())
    context["description"] = abstract if page == app.config.root_doc or doctree is None else described(doctree)
    context["is_home"] = page == app.config.root_doc


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hooks."""
    app.connect("config-inited", name_authors)
    app.connect("html-page-context", dress, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
