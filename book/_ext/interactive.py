"""Sphinx extension: the script and the style of panels and quizzes, on the pages that have some."""

from sphinx.application import Sphinx


def on_page(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Add both files to a page with a panel or a quiz; what is added in this event is added to this page only."""
    body = context.get("body", "")
    if "data-panel=" in body or 'class="quiz"' in body:
        app.add_js_file("panels.js")
        app.add_css_file("panels.css")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hook."""
    app.connect("html-page-context", on_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
