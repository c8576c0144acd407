"""Check a built book: pages, links, anchors, figures, outputs.

`python scripts/check_book.py [_build/html [_toc.yml]]`
"""

import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup

OUTSIDE = ("http:", "https:", "mailto:", "data:", "javascript:")


def pages_of(toc_file: Path) -> list[str]:
    """Page names of a `_toc.yml`, root first."""
    toc = yaml.safe_load(toc_file.read_text(encoding="utf8"))
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def links(soup: BeautifulSoup) -> list[str]:
    """Everything a page points at."""
    pairs = (("a", "href"), ("link", "href"), ("img", "src"), ("script", "src"), ("source", "src"), ("audio", "src"))
    return [tag[attribute] for name, attribute in pairs for tag in soup.find_all(name, attrs={attribute: True})]


def check_links(html: Path, soups: dict[Path, BeautifulSoup]) -> list[str]:
    """Internal links whose file or anchor does not exist, and anything a page would load from outside."""
    anchors = {
        path: {tag.get("id") or tag.get("name") for tag in soup.find_all(lambda t: t.has_attr("id") or t.name == "a")}
        for path, soup in soups.items()
    }
    problems = []
    for path, soup in soups.items():
        page = path.relative_to(html)
        for link in links(soup):
            if link.startswith(OUTSIDE):
                continue
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                problems.append(f"{page}: broken link {link}")
            elif parts.fragment and target in anchors and unquote(parts.fragment) not in anchors[target]:
                problems.append(f"{page}: no such anchor {link}")
        for tag in soup.find_all(["img", "script", "audio", "source", "iframe"], src=True):
            if tag["src"].startswith(("http:", "https:", "//")):
                problems.append(f"{page}: loads {tag['src']} from outside")
        for tag in soup.find_all("link", href=True, rel=["stylesheet", "preload", "icon"]):
            if tag["href"].startswith(("http:", "https:", "//")):
                problems.append(f"{page}: loads {tag['href']} from outside")
    return problems


def check_page(name: str, soup: BeautifulSoup) -> list[str]:
    """Error outputs, images without a description, figures without a caption."""
    article = soup.find("article") or soup
    problems = []
    if article.select(".output.traceback, .output.stderr, .system-message, .problematic"):
        problems.append(f"{name}: an error or warning stands in the page")
    if "Traceback (most recent call last)" in article.get_text():
        problems.append(f"{name}: a traceback stands in the page")
    for image in soup.find_all("img"):
        if not image.get("alt", "").strip() or image["alt"].startswith(("_images/", "../_images/")):
            problems.append(f"{name}: image without alt text {image.get('src', '')[-60:]}")
    for image in article.select(".cell_output img"):
        figure = image.find_parent("figure")
        if figure is None or figure.find("figcaption") is None:
            problems.append(f"{name}: figure without caption {image.get('src', '')[-60:]}")
    return problems


def check(html: Path, toc_file: Path) -> list[str]:
    """All problems of a built book, one line each."""
    names = pages_of(toc_file)
    files = {name: (html / f"{name}.html").resolve() for name in names}
    problems = [f"{name}: the page is missing" for name, file in files.items() if not file.is_file()]
    if not (html / "index.html").is_file():
        problems.append("index.html is missing")
    paths = [path.resolve() for path in html.rglob("*.html") if "_static" not in path.parts]
    every = {path: BeautifulSoup(path.read_text(encoding="utf8"), "html.parser") for path in paths}
    for name, file in files.items():
        if file in every:
            problems += check_page(name, every[file])
    return problems + check_links(html.resolve(), every)


if __name__ == "__main__":
    found = check(Path(*sys.argv[1:2] or ["_build/html"]), Path(*sys.argv[2:3] or ["_toc.yml"]))
    print("\n".join(found) or "the built book has no broken link, no error and no figure without its text")
    sys.exit(bool(found))
