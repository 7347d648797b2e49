"""Preprocessor of the book: shows links that leave the book as text.

Pages also link to files of the repository that the book does not contain. Their text then names the file:
`[changelog](../../CHANGELOG.md)` becomes `changelog (CHANGELOG.md)`. mdBook calls this module with `supports RENDERER`, and
then with the book as JSON on standard input.
"""

import json
import posixpath
import re
import sys
from typing import Iterator, Set

_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s#]+)(#[^()\s]*)?\)")


def main() -> int:
    if sys.argv[1:2] == ["supports"]:
        return 0
    _, book = json.load(sys.stdin)
    chapters = list(_chapters(book.get("items") or book["sections"]))
    pages = {chapter["path"] for chapter in chapters}
    for chapter in chapters:
        chapter["content"] = shown(chapter["content"], chapter["path"], pages)
    json.dump(book, sys.stdout)
    return 0


def _chapters(items) -> Iterator[dict]:
    """Yields all chapters that have a page, with the chapters inside them."""
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter is None:
            continue
        if chapter["path"]:
            yield chapter
        yield from _chapters(chapter["sub_items"])


def shown(content: str, path: str, pages: Set[str]) -> str:
    """Returns the content of a page, with text in place of its links to files outside of the book."""
    def show(match: "re.Match[str]") -> str:
        text, target = match[1], match[2]
        goal = posixpath.normpath(posixpath.join("docs", posixpath.dirname(path), target))
        if ":" in target or goal.endswith("/openapi.json") or posixpath.relpath(goal, "docs") in pages:
            return match[0]
        return text if text.strip("`") == goal else f"{text} (`{goal}`)"

    return _LINK.sub(show, content)


if __name__ == "__main__":
    sys.exit(main())
