"""Builds the book of docs/ with mdBook, and checks the links between its pages."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Dict, Iterator, List, Set
from urllib.parse import unquote

from stacklib import process, wheels
from stacklib.console import StackError
from stacklib.home import REPOSITORY

from . import markdown

_DOCS = REPOSITORY / "docs"
# print.html has all pages in one. In 404.html, links begin at the root of a server.
_NOT_PAGES = ("print.html", "404.html", "toc.html")


def build(target: Path) -> None:
    """Builds the book in this folder. Raises an error with the output of mdBook if it fails or warns."""
    installed = wheels.installed(REPOSITORY / "scripts" / "requirements-docs.txt", "mdBook", "scripts/check-docs needs it.")
    command = [str(installed / "bin" / "mdbook"), "build", str(_DOCS), "--dest-dir", str(target)]
    result = process.run(command, stdin="", capture=True)
    if result.returncode != 0 or "WARN" in result.stdout or "ERROR" in result.stdout:
        raise StackError(f"mdbook build failed:\n{result.stdout.strip()}")


def unlisted() -> Iterator[str]:
    """Yields a line for each page that the table of contents does not name. mdBook would leave such a page out."""
    summary = _DOCS / "SUMMARY.md"
    listed = {_DOCS / link.target for link in markdown.links(summary.read_text())}
    for page in sorted(_DOCS.glob("**/*.md")):
        if page != summary and page not in listed:
            yield f"{page.relative_to(REPOSITORY)}: docs/SUMMARY.md does not name this page"


def faults(target: Path) -> Iterator[str]:
    """Yields a line for each link in the book whose file or place does not exist."""
    pages = {path: _Page(path) for path in sorted(target.glob("**/*.html")) if path.name not in _NOT_PAGES}
    for path, page in pages.items():
        for link in page.links:
            fault = _fault(path, link, pages)
            if fault:
                yield f"book: {path.relative_to(target)}: {link}: {fault}"


def _fault(path: Path, link: str, pages: Dict[Path, "_Page"]) -> str:
    name, _, fragment = unquote(link).partition("#")
    goal = (path.parent / name).resolve() if name else path
    if not goal.is_file():
        return "the file does not exist"
    if fragment and goal in pages and fragment not in pages[goal].ids:
        return "the page has no such heading"
    return ""


class _Page(HTMLParser):
    """Links and ids of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: List[str] = []
        self.ids: Set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if values.get("id"):
            self.ids.add(values["id"])
        link = values.get("href") if tag == "a" else values.get("src") if tag == "img" else None
        if link and ":" not in link and not link.endswith("print.html"):
            self.links.append(link)
