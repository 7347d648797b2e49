"""Splits Rust source text into tokens."""

import re
from dataclasses import dataclass
from typing import Dict, List, Set

IDENT, NUMBER, STRING, CHAR, LIFETIME, PUNCTUATION = "ident", "number", "string", "char", "lifetime", "punctuation"

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<line_comment>//[^\n]*)
  | (?P<block_comment>/\*)
  | (?P<raw_string>(?:b|c)?r(?P<hashes>\#*)")
  | (?P<string>(?:b|c)?"(?:[^"\\]|\\.)*")
  | (?P<char>b?'(?:[^'\\\n]|\\u\{[^}]*\}|\\x[0-9A-Fa-f]{2}|\\.)')
  | (?P<lifetime>'[^\W\d]\w*)
  | (?P<ident>r\#[^\W\d]\w*|[^\W\d]\w*)
  | (?P<number>\d\w*(?:\.\d\w*)?)
  | (?P<punctuation>::|->|=>|==|!=|<=|>=|\.\.\.|\.\.=|\.\.|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_COMMENT_MARK = re.compile(r"/\*|\*/")
_OPENING, _CLOSING = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}


class SyntaxFault(Exception):
    """The text is not Rust that these parsers understand."""


@dataclass(frozen=True)
class Token:
    """A token. `text` of a string includes its quotes; `line` counts from 1."""

    kind: str
    text: str
    line: int

    def is_ident(self, *names: str) -> bool:
        return self.kind == IDENT and (not names or self.text in names)

    def is_mark(self, *marks: str) -> bool:
        return self.kind == PUNCTUATION and self.text in marks


class Source:
    """Tokens of one file, the partner of each bracket, and the lines that contain code or comments."""

    def __init__(self, text: str):
        self.lines = len(text.splitlines())
        self.tokens: List[Token] = []
        self.comment_lines: Set[int] = set()
        self.code_lines: Set[int] = set()
        self._scan(text)
        self.partner: Dict[int, int] = {}
        self._pair_brackets()

    def _scan(self, text: str) -> None:
        at, line = 0, 1
        while at < len(text):
            found = _TOKEN.match(text, at)
            kind, end = found.lastgroup, found.end()
            if kind == "block_comment":
                end = _end_of_block_comment(text, end, line)
            elif found.group("raw_string") is not None:
                kind, end = STRING, _end_of_raw_string(text, end, found.group("hashes"), line)
            spanned = text[at:end]
            last_line = line + spanned.count("\n")
            if kind in ("line_comment", "block_comment"):
                self.comment_lines.update(range(line, last_line + 1))
            elif kind != "space":
                self.tokens.append(Token(kind, spanned, line))
                self.code_lines.update(range(line, last_line + 1))
            at, line = end, last_line

    def _pair_brackets(self) -> None:
        opened: List[int] = []
        for index, token in enumerate(self.tokens):
            if token.kind != PUNCTUATION:
                continue
            if token.text in _OPENING:
                opened.append(index)
            elif token.text in _CLOSING:
                if not opened or _OPENING[self.tokens[opened[-1]].text] != token.text:
                    raise SyntaxFault(f"line {token.line}: {token.text} closes no bracket")
                start = opened.pop()
                self.partner[start], self.partner[index] = index, start
        if opened:
            raise SyntaxFault(f"line {self.tokens[opened[-1]].line}: a bracket is not closed")

    def is_opening(self, index: int) -> bool:
        return self.partner.get(index, -1) > index

    def is_closing(self, index: int) -> bool:
        return self.partner.get(index, index) < index

    def after_angles(self, index: int) -> int:
        """Returns the index after the `>` that closes the `<` at `index`. Brackets inside are skipped."""
        depth = 0
        while index < len(self.tokens):
            token = self.tokens[index]
            if self.is_opening(index):
                index = self.partner[index]
            elif token.is_mark("<"):
                depth += 1
            elif token.is_mark(">"):
                depth -= 1
                if depth == 0:
                    return index + 1
            index += 1
        raise SyntaxFault("an angle bracket is not closed")

    def text(self, start: int, end: int) -> str:
        """Returns the text of these tokens on one line, with the spaces that `cargo fmt` would set between types."""
        text = ""
        for token in self.tokens[start:end]:
            if text and (text[-1] in ",:=+" or text.endswith(("->", "=>")) or token.is_mark("->", "=>", "=", "+")):
                text += "" if text.endswith("::") else " "
            elif text and text[-1].isalnum() and (token.kind == IDENT or token.kind == LIFETIME):
                text += " "
            text += token.text
        return text

    def comments_without_code(self) -> Set[int]:
        return self.comment_lines - self.code_lines


def _end_of_block_comment(text: str, at: int, line: int) -> int:
    depth = 1
    while depth:
        mark = _BLOCK_COMMENT_MARK.search(text, at)
        if mark is None:
            raise SyntaxFault(f"line {line}: a comment is not closed")
        depth += 1 if mark.group() == "/*" else -1
        at = mark.end()
    return at


def _end_of_raw_string(text: str, at: int, hashes: str, line: int) -> int:
    end = text.find('"' + hashes, at)
    if end < 0:
        raise SyntaxFault(f"line {line}: a string is not closed")
    return end + 1 + len(hashes)
