"""Reads the headings and links of a Markdown file, as far as the files of this repository use Markdown."""

import re
from typing import Iterator, List, NamedTuple, Set

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})")
_HEADING = re.compile(r"^#{1,6} +(.*?) *#*$")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
# The text of a link may contain an image or brackets one level deep, and may continue on the next line.
_INLINE = re.compile(r"\[(?:[^\[\]]|\[[^\[\]]*\](?:\([^()]*\))?)*\]\(\s*<?([^()\s<>]*)>?(?:\s+\"[^\"]*\")?\s*\)")
_IMAGE = re.compile(r"!\[[^\[\]]*\]\(\s*<?([^()\s<>]*)>?(?:\s+\"[^\"]*\")?\s*\)")
_DEFINITION = re.compile(r"^ {0,3}\[[^\[\]]+\]: +<?([^\s<>]+)>?", re.MULTILINE)
_HTML = re.compile(r"<(?:a|img)\b[^>]*\b(?:href|src)=\"([^\"]*)\"", re.IGNORECASE)
_ANCHOR = re.compile(r"<[a-z]+\b[^>]*\b(?:id|name)=\"([^\"]*)\"", re.IGNORECASE)


class Link(NamedTuple):
    """Target of a link and its line, which begins with 1."""

    target: str
    line: int


def links(text: str) -> List[Link]:
    """Returns all links in the order of their lines."""
    text = _blank(_blank(without_fences(text), _COMMENT), _CODE)
    found = [Link(match[1], text.count("\n", 0, match.start()) + 1)
             for pattern in (_INLINE, _IMAGE, _DEFINITION, _HTML) for match in pattern.finditer(text)]
    # A link around an image contains the image, which matches on its own.
    return sorted(set(found), key=lambda link: (link.line, link.target))


def anchors(text: str) -> Set[str]:
    """Returns the fragments by which links can name places in this file, as GitHub and mdBook compute them."""
    text = _blank(without_fences(text), _COMMENT)
    found = set(_ANCHOR.findall(text))
    for heading in _headings(text):
        slug = plain = _slug(heading)
        number = 0
        while slug in found:
            number += 1
            slug = f"{plain}-{number}"
        found.add(slug)
    return found


def without_fences(text: str) -> str:
    """Returns the text with empty lines in place of fenced code blocks."""
    lines, fence = [], None
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if fence is None and match:
            fence = match[2]
            lines.append("")
        elif fence is not None:
            if match and match[2].startswith(fence) and not line.strip().strip(fence[0]):
                fence = None
            lines.append("")
        else:
            lines.append(line)
    return "\n".join(lines)


def _headings(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        match = _HEADING.match(line)
        if match:
            yield match[1]


def _slug(heading: str) -> str:
    """Returns the id of a heading: lower case, without punctuation, with hyphens in place of spaces."""
    heading = re.sub(r"!?\[([^\[\]]*)\]\([^()]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-")


def _blank(text: str, pattern: "re.Pattern[str]") -> str:
    """Returns the text without the matches, but with their line breaks, so that lines keep their numbers."""
    return pattern.sub(lambda match: "\n" * match[0].count("\n"), text)
