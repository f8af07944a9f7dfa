"""Every relative link of the documentation leads to a file that is there, and to a heading that is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT

PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def links_of(text: str) -> list[str]:
    """Targets of the links of a page that lead to no other site; code holds none."""
    targets = _LINK.findall(_CODE.sub("`code`", text))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors_of(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, text: str) -> list[str]:
    found = []
    for target in links_of(text):
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        there = place.exists() and place.is_relative_to(ROOT)
        if not there or (anchor and place.suffix == ".md" and anchor not in anchors_of(place.read_text())):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert broken(page, page.read_text()) == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    text = "[a](nowhere.md) [b](README.md#nothing) [c](https://elsewhere) `[d](code)` ![e](docs/pictures/episode.png)"
    assert links_of(text) == ["nowhere.md", "README.md#nothing", "docs/pictures/episode.png"]
    assert broken(ROOT / "README.md", text) == ["nowhere.md", "README.md#nothing"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        names = [target.partition("#")[0] for target in links_of(page.read_text())]
        waiting += [
            place for name in names if name.endswith(".md") and (place := (page.parent / name).resolve()).exists()
        ]
    assert set(PAGES) - reached == set()
