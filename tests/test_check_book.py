"""The check of the built book finds what it is there to find."""

from pathlib import Path

import pytest

TOC = "format: jb-book\nroot: index\nparts:\n  - caption: Part\n    chapters:\n      - file: book/page\n"
FIGURE = (
    '<div class="cell_output"><figure id="f"><img src="../a.png" alt="A rising line">'
    "<figcaption>It rises.</figcaption></figure></div>"
)
GOOD = f'<article><h1 id="top">Page</h1><a href="#top">up</a> <a href="../index.html#here">home</a>{FIGURE}</article>'


@pytest.fixture(scope="module")
def check_book(load_script):
    """The module `scripts/check_book.py`."""
    return load_script("scripts/check_book.py")


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A book of two pages without a fault."""
    html = tmp_path / "html"
    (html / "book").mkdir(parents=True)
    (html / "index.html").write_text('<article><p id="here"><a href="book/page.html">page</a></p></article>')
    (html / "book" / "page.html").write_text(GOOD)
    (html / "a.png").touch()
    (tmp_path / "_toc.yml").write_text(TOC)
    return html


def problems(check_book, book: Path) -> list[str]:
    return check_book.check(book, book.parent / "_toc.yml")


def test_a_sound_book(check_book, book: Path):
    assert problems(check_book, book) == []


@pytest.mark.parametrize("name", ["index", "book/page"])
def test_a_missing_page(check_book, book: Path, name: str):
    (book / f"{name}.html").unlink()
    assert any("missing" in problem for problem in problems(check_book, book))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('href="#top"', 'href="#bottom"', "anchor"),
        ("index.html#here", "index.html#there", "anchor"),
        ("../index.html", "../contents.html", "broken link"),
        ("../a.png", "../b.png", "broken link"),
        ('alt="A rising line"', "", "alt text"),
        ("<figcaption>It rises.</figcaption>", "", "caption"),
        ("</article>", '<script src="https://cdn.example/x.js"></script></article>', "outside"),
        ("</article>", '<div class="output traceback">ValueError</div></article>', "error"),
        ("</article>", "<pre>Traceback (most recent call last)</pre></article>", "traceback"),
        ("</article>", '<div class="output stderr">careful</div></article>', "warning"),
    ],
)
def test_a_fault(check_book, book: Path, old: str, new: str, said: str):
    page = book / "book" / "page.html"
    assert old in GOOD
    page.write_text(GOOD.replace(old, new, 1))
    assert any(said in problem for problem in problems(check_book, book))
