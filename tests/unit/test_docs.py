"""The documentation holds together: every link leads somewhere, and every page can be found from the map."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.processes import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    found: list[str] = _LINK.findall(_FENCE.sub("", page.read_text("utf-8")))
    return [link for link in found if not link.startswith(("http://", "https://", "mailto:"))]


def anchors(page: Path) -> set[str]:
    """As the usual renderers make them of headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_on_the_map() -> None:
    mapped = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "README.md")}
    assert [str(page.relative_to(ROOT)) for page in PAGES if page.name != "README.md" and page not in mapped] == []


def test_the_readme_opens_with_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert [line.split("  ")[0] for line in lines[3:5]] == ["make demo", "make test"]


def test_pages_that_code_points_to_exist() -> None:
    missing = set()
    for folder in ("napd", "napctl", "tests", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            for named in re.findall(r"docs/[\w/.-]+\.md", path.read_text("utf-8")):
                if not (ROOT / named).exists():
                    missing.add(f"{path.relative_to(ROOT)}: {named}")
    assert sorted(missing) == []
