"""The directive `{quiz}` and the hook that moves sounds out of the pages."""

import base64

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat import v4

GOOD = """# A page

```{quiz} Which of them *keeps*?
:name: keeps

- [ ] A gate of 0.

  It erases: $0 \\cdot c$.
- [x] A gate of 1.

  Nothing is lost.

  A second paragraph.
```

````{quiz} Which are gates?
- [x] z

  Yes.
- [x] r

  Yes.
- [ ] h

  A state:

  ```python
  h = 0
  ```
````
"""

PYTHON = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}


@pytest.fixture(scope="module")
def quiz(load_script):
    return load_script("book/_ext/quiz.py")


@pytest.fixture(scope="module")
def sounds(load_script):
    return load_script("book/_ext/sounds.py")


EXTENSIONS = ("myst_parser", "quiz", "sounds", "interactive")


@pytest.fixture
def build(sphinx_pages):
    """Build one page of text; its soup, and the warnings."""

    def made(text: str, *extensions: str) -> tuple[BeautifulSoup, str]:
        name = "index.ipynb" if text.startswith("{") else "index.md"
        out, warnings = sphinx_pages({name: text}, *(extensions or EXTENSIONS))
        return BeautifulSoup((out / "index.html").read_text(), "html.parser"), warnings

    return made


@pytest.mark.filterwarnings("default")
def test_a_quiz_is_complete_without_a_script(build):
    page, warnings = build(GOOD)
    assert warnings == ""
    one, two = page.select("div.quiz")
    assert one["id"] == "keeps" and two["id"] == "quiz-2"
    assert one.select_one(".quiz-question em").text == "keeps"
    wrong, right = one.select(".quiz-choice")
    assert "right" in right["class"] and "right" not in wrong["class"]
    assert wrong.select_one(".quiz-text").text.strip() == "a) A gate of 0."
    assert wrong.select_one(".quiz-why").text.strip().startswith("Wrong. It erases") and wrong.select_one(".math")
    assert [p.text for p in right.select(".quiz-why p")] == ["Right. Nothing is lost.", "A second paragraph."]
    assert "more than one" in two.select_one(".quiz-label").text and "more" not in one.select_one(".quiz-label").text
    assert two.select(".quiz-choice")[2].select_one("pre").text.strip() == "h = 0"
    assert not page.select(".quiz .container, .quiz input")  # nothing of the theme's, nothing to press
    assert page.select('script[src*="panels.js"]') and page.select('link[href*="panels.css"]')


@pytest.mark.parametrize(
    "text, message",
    [
        ("Which?\n\n- [x] a\n- [ ] b\n\n  No.", "has no explanation"),
        ("Which?\n\n- [x] a\n\n  Yes.", "at least two choices"),
        ("Which?\n\n- [ ] a\n\n  No.\n- [ ] b\n\n  No.", "no choice of the quiz is right"),
        ("- [x] a\n\n  Yes.\n- [ ] b\n\n  No.", "has no question"),
        ("Which?", "at least two choices"),
    ],
)
def test_an_incomplete_quiz_says_what_to_do(quiz, text, message):
    with pytest.raises(ValueError, match=message):
        quiz.parse(text)


@pytest.mark.filterwarnings("default")
def test_an_incomplete_quiz_is_an_error_of_the_build(build):
    _, warnings = build("# A page\n\n```{quiz} Which?\n- [x] a\n\n  Yes.\n```\n")
    assert "quiz: a quiz needs at least two choices" in warnings and "index.md:3" in warnings


@pytest.mark.filterwarnings("default")
def test_sounds_lie_beside_the_page(build, tmp_path):
    mp3 = b"a sound"
    player = f'<audio src="data:audio/mpeg;base64,{base64.b64encode(mp3).decode()}"></audio>'
    page, warnings = build(f"# A page\n\n{player}\n\n{player}\n")
    assert warnings == ""
    sources = [audio["src"] for audio in page.find_all("audio")]
    assert not page.select('script[src*="panels.js"]')  # a page without panels does not load their script
    assert len(set(sources)) == 1 and (tmp_path / "out" / sources[0]).read_bytes() == mp3
    assert len(list((tmp_path / "out" / "_static" / "sounds").iterdir())) == 1


def test_other_embedded_data_stay(sounds):
    picture = '<img src="data:image/png;base64,AAAA">'
    assert sounds.move_sounds(picture, lambda name, mp3: "no") == picture


@pytest.mark.filterwarnings("default")
def test_a_notebook_carries_quiz_panel_and_figure_number(build, tmp_path, load_script):
    panel = load_script("tests/web/examples.py").make()["listen-to-two"]
    output = v4.new_output(
        "execute_result", {"text/html": panel._repr_html_(), "text/plain": repr(panel)}, execution_count=1
    )
    cell = v4.new_code_cell("panels.listen(...)", outputs=[output], execution_count=1)
    cell.metadata["mystnb"] = {"figure": {"caption": "Two voices.", "name": "fig-two"}}
    notebook = nbformat.writes(
        v4.new_notebook(cells=[v4.new_markdown_cell(GOOD + "\nSee {numref}`fig-two`."), cell], metadata=PYTHON)
    )
    page, warnings = build(notebook, "myst_nb", *EXTENSIONS[1:])
    assert warnings == "" and len(page.select("div.quiz")) == 2
    figure = page.select_one("figure#fig-two")
    assert figure.select_one(".panel#listen-to-two") and "Two voices." in figure.figcaption.text
    for audio in figure.find_all("audio"):
        assert (tmp_path / "out" / audio["src"]).read_bytes()[:2] in (b"ID", b"\xff\xfb", b"\xff\xf3")
    assert len(str(figure)) < 20_000  # light, now that the sounds are elsewhere
