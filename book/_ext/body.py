"""Sphinx extension: finish the HTML of a page's text.

One gesture for everything folded (`<details>`, with a name), tables that scroll in a box of their own with numbers set
as numbers, ids that occur once. Works on the text alone: what the theme puts around it is the business of `page.py`.
"""

import json
import re

from bs4 import BeautifulSoup, Tag
from docutils import nodes
from sphinx.application import Sphinx

from gatedrnn.panels.words import number

NUMBER = re.compile(r"[−+±-]?\s?[\d,.]+(e[-−+]?\d+)?\s?%?(\s?±\s?[\d.]+)?|[-–—−]|nan|inf|")
MINUS = re.compile(r"(?<![\w.)])-(?=\.?\d)")


def name_of(cell: Tag) -> str:
    """What a hidden cell shows or does: the number of its figure or table, else its first line of code."""
    caption = cell.select_one(".caption-number")
    if caption is not None:
        return caption.get_text().strip().rstrip(".")
    lines = [line.strip().removeprefix("#").strip() for line in cell.select_one("pre").get_text().splitlines()]
    line = next(filter(None, lines), "")
    return line if len(line) <= 60 else line[:59].rsplit(" ", 1)[0] + " …"


def name_toggles(soup: BeautifulSoup) -> None:
    """Say in the bar of a folded cell what is folded."""
    for summary in soup.select("div.cell details.hide > summary"):
        kind = "output" if "above-output" in summary.parent["class"] else "code"
        name = name_of(summary.find_parent("div", class_="cell"))
        del summary["aria-label"]
        for state, verb in (("collapsed", "Show"), ("expanded", "Hide")):
            label = summary.select_one(f".{state}")
            label.name = "span"
            label.string = f"{verb} {kind}: {name}"


def unfold_by_details(soup: BeautifulSoup) -> None:
    """Make each admonition of class `dropdown` a `<details>`: it needs no script and opens by keyboard."""
    for box in soup.select("div.admonition.dropdown"):
        title = box.select_one(".admonition-title")
        for link in title.find_all("a"):
            link.unwrap()
        title.name, box.name = "summary", "details"
        box.insert(0, title.extract())


def drop_repeated_ids(soup: BeautifulSoup) -> None:
    """sphinx-exercise gives the content of every exercise the same id."""
    for section in soup.select("section#exercise-content, section#solution-content"):
        section.name, section["class"] = "div", section["id"]
        del section["id"]


def drop_broken_roles(soup: BeautifulSoup) -> None:
    """Sphinx calls citations a list of entries by roles that are deprecated and do not fit each other."""
    for tag in soup.select("div.citation-list[role], div.citation[role]"):
        del tag["role"]


def grid(rows: list[Tag]) -> list[tuple[Tag, int]]:
    """The column in which each cell of some rows begins, spans counted."""
    columns, taken = [], set()
    for y, row in enumerate(rows):
        x = 0
        for cell in row.find_all(["td", "th"], recursive=False):
            while (y, x) in taken:
                x += 1
            columns.append((cell, x))
            wide, high = int(cell.get("colspan", 1)), int(cell.get("rowspan", 1))
            taken |= {(y + dy, x + dx) for dy in range(high) for dx in range(wide)}
            x += wide
    return columns


def set_table(table: Tag) -> None:
    """Numbers to the right with a true minus, headers with a scope, no empty header."""
    del table["border"]
    for row in table.find_all("tr"):
        del row["style"]
    head = table.thead.find_all("tr") if table.thead else []
    body = [row for part in table.find_all("tbody") for row in part.find_all("tr")]
    for header in table.find_all("th"):
        if not header.get_text(strip=True) and header.find("img") is None:
            header.name = "td"
        else:
            header["scope"] = "col" if header.find_parent("thead") else "row"
    cells = {id(cell): (cell, x) for rows in (head, body) for cell, x in grid(rows)}
    values: dict[int, list[str]] = {}
    for row in body:
        for cell in row.find_all("td", recursive=False):
            for text in cell.find_all(string=MINUS):
                if text.find_parent("code") is None:
                    text.replace_with(MINUS.sub("−", text))
            values.setdefault(cells[id(cell)][1], []).append(cell.get_text(strip=True))
    numeric = {x for x, column in values.items() if any(column) and all(NUMBER.fullmatch(text) for text in column)}
    for cell, x in cells.values():
        if x in numeric and int(cell.get("colspan", 1)) == 1 and cell.get("scope") != "row":
            cell["class"] = [*cell.get("class", []), "number"]


def set_tables(soup: BeautifulSoup) -> None:
    """Set every table and put it into a box that scrolls; its caption stays outside of what scrolls."""
    for table in soup.find_all("table"):
        if table.find_parent(class_="highlight") or table.find_parent(class_="scroll"):
            continue
        set_table(table)
        caption = table.find("caption")
        box = table.wrap(soup.new_tag("div", attrs={"class": "scroll"}))
        box["data-name"] = caption.get_text(" ", strip=True).rstrip("#").strip() if caption else "Table"


def say_settings(soup: BeautifulSoup) -> None:
    """Say in words what the controls of a panel begin with: without a script there are none."""
    for panel in soup.select("div.panel"):
        data = json.loads(panel.find("script").string)
        if "controls" not in data:
            continue
        chosen = {c["label"]: c["options"][k] for c, k in zip(data["controls"], data["start"], strict=True)}
        line = soup.new_tag("p", attrs={"class": "setting"})
        line.string = "; ".join(f"{key}: {at if isinstance(at, str) else number(at)}" for key, at in chosen.items())
        panel.select_one(".panel-body").insert_before(line)


def finish(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Finish the text of a page."""
    if doctree is None:
        return
    soup = BeautifulSoup(context["body"], "html.parser")
    for step in (name_toggles, unfold_by_details, drop_repeated_ids, drop_broken_roles, set_tables, say_settings):
        step(soup)
    context["body"] = str(soup)
    context["soup"] = soup  # for previews.py: a chapter takes a second to parse


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hook, before those that read the finished text."""
    app.connect("html-page-context", finish, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
