"""The extension of the book that gives every SVG figure a twin for a dark page."""

import subprocess
import sys

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="432pt" height="216pt"><path stroke="#222222" d="M0 0"/></svg>'


def test_a_figure_is_shown_in_the_mode_of_the_page(tmp_path, root):
    (tmp_path / "conf.py").write_text(f"import sys; sys.path.insert(0, {str(root / 'book' / '_ext')!r})\n"
                                      "extensions = ['figures']\n")  # fmt: skip
    (tmp_path / "one.svg").write_text(SVG)
    (tmp_path / "index.rst").write_text("Page\n====\n\n.. figure:: one.svg\n   :alt: a line\n\n   Caption\n")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "index.html").read_text()
    images = [tag for tag in page.split("<img ")[1:] if "one" in tag.split(">")[0]]
    light, dark = (tag.split(">")[0] for tag in images)
    assert "only-light" in light and "one.svg" in light and "only-dark" in dark and "one-dark.svg" in dark
    for tag in (light, dark):
        assert 'alt="a line"' in tag and 'width="576"' in tag and 'height="288"' in tag
    assert "#E4E4E4" in (tmp_path / "out" / "_images" / "one-dark.svg").read_text()
