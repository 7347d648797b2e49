"""Finds functions with their parameters, and the items that are only compiled for tests."""

from dataclasses import dataclass, field
from typing import Iterator, List, Optional, Set, Tuple

from .tokens import IDENT, LIFETIME, PUNCTUATION, STRING, Source

_ITEM_WORDS = {
    "fn", "mod", "use", "impl", "struct", "enum", "trait", "type", "const", "static", "unsafe", "async", "extern",
    "union", "macro_rules",
}


@dataclass
class Function:
    """A function. `end` is the index after its last token; a declaration in a trait has no body and 0 lines."""

    name: str
    line: int
    start: int
    end: int
    lines: int = 0
    parameters: List[Tuple[int, int]] = field(default_factory=list)


def functions(source: Source) -> List[Function]:
    """Returns all functions, also those in other functions and in macros, but no closures and no types of functions."""
    tokens, found = source.tokens, []
    for index, token in enumerate(tokens):
        if not token.is_ident("fn"):
            continue
        at = index + 1
        if at < len(tokens) and tokens[at].is_mark("$"):
            at += 1
        if at >= len(tokens) or tokens[at].kind != IDENT:
            continue
        name, at = tokens[at].text, at + 1
        if at < len(tokens) and tokens[at].is_mark("<"):
            at = source.after_angles(at)
        if at >= len(tokens) or not tokens[at].is_mark("("):
            continue
        function = Function(name, token.line, index, source.partner[at] + 1)
        function.parameters = list(split(source, at + 1, source.partner[at], ","))
        _add_body(source, function)
        found.append(function)
    return found


def _add_body(source: Source, function: Function) -> None:
    at = function.end
    while at < len(source.tokens) and not source.is_closing(at):
        token = source.tokens[at]
        if token.is_mark(";"):
            return
        if token.is_mark("{"):
            function.end = source.partner[at] + 1
            function.lines = source.tokens[function.end - 1].line - function.line + 1
            return
        at = source.partner[at] + 1 if source.is_opening(at) else at + 1


def split(source: Source, start: int, end: int, mark: str) -> Iterator[Tuple[int, int]]:
    """Yields the ranges between `mark` that are not empty. Ignores marks inside of brackets and angle brackets."""
    first, at = start, start
    while at < end:
        token = source.tokens[at]
        if source.is_opening(at):
            at = source.partner[at] + 1
        elif token.is_mark("<"):
            at = source.after_angles(at)
        else:
            if token.is_mark(mark):
                if first < at:
                    yield first, at
                first = at + 1
            at += 1
    if first < end:
        yield first, end


def is_tuple_parameter(source: Source, start: int, end: int) -> bool:
    """Returns True if the pattern or the type is a tuple of two or more, also after `&`, `mut` or `'a`."""
    start = _after_attributes(source, start, end)
    colon = _colon(source, start, end)
    if colon is None:
        return False
    return _is_tuple(source, start, colon) or _is_tuple(source, colon + 1, end)


def _colon(source: Source, start: int, end: int) -> Optional[int]:
    while start < end:
        if source.tokens[start].is_mark(":"):
            return start
        start = source.partner[start] + 1 if source.is_opening(start) else start + 1
    return None


def _is_tuple(source: Source, start: int, end: int) -> bool:
    tokens = source.tokens
    while start < end and (tokens[start].is_mark("&") or tokens[start].is_ident("mut")
                           or tokens[start].kind == LIFETIME):
        start += 1
    if start >= end or not tokens[start].is_mark("(") or source.partner[start] != end - 1:
        return False
    return len(list(split(source, start + 1, end - 1, ","))) >= 2


def _after_attributes(source: Source, start: int, end: int) -> int:
    while start + 1 < end and source.tokens[start].is_mark("#") and source.tokens[start + 1].is_mark("["):
        start = source.partner[start + 1] + 1
    return start


def attributes(source: Source) -> Iterator[Tuple[int, int, int]]:
    """Yields the index of `#` of each attribute, and the range inside its brackets."""
    tokens = source.tokens
    for index, token in enumerate(tokens):
        if token.is_mark("#"):
            at = index + 1
            if at < len(tokens) and tokens[at].is_mark("!"):
                at += 1
            if at < len(tokens) and tokens[at].is_mark("["):
                yield index, at + 1, source.partner[at]


def test_parts(source: Source) -> Set[int]:
    """Returns the indexes of all tokens that are only compiled for tests, with the attributes that say so."""
    found: Set[int] = set()
    for index, start, end in attributes(source):
        if index in found or not _is_test(source, start, end):
            continue
        if source.tokens[index + 1].is_mark("!"):
            return set(range(len(source.tokens)))
        found.update(range(index, end_of_item(source, end + 1)))
    return found


def _is_test(source: Source, start: int, end: int) -> bool:
    """Returns True for `cfg(test)`, `cfg(all(test, …))`, and attributes named `test`, such as `tokio::test(…)`."""
    tokens, at = source.tokens, start
    while at + 1 < end and tokens[at].kind == IDENT and tokens[at + 1].is_mark("::"):
        at += 2
    if tokens[at].is_ident("test"):
        return True
    if not tokens[at].is_ident("cfg") or at != start:
        return False
    return _needs_test(source, start + 2, end - 1)


def _needs_test(source: Source, start: int, end: int) -> bool:
    tokens = source.tokens
    if end - start == 1:
        return tokens[start].is_ident("test")
    if tokens[start].is_ident("all"):
        return any(_needs_test(source, *part) for part in split(source, start + 2, end - 1, ","))
    return False


def end_of_item(source: Source, at: int) -> int:
    """Returns the index after the item, field, statement or arm that begins at `at` or after the attributes there."""
    tokens = source.tokens
    at = _after_attributes(source, at, len(tokens))
    if at + 1 < len(tokens) and tokens[at].is_ident("pub"):
        at = source.partner[at + 1] + 1 if tokens[at + 1].is_mark("(") else at + 1
    is_item = at < len(tokens) and tokens[at].is_ident(*_ITEM_WORDS)
    is_use = is_item and tokens[at].is_ident("use")
    while at < len(tokens) and not source.is_closing(at):
        token = tokens[at]
        if token.is_mark(";") or (token.is_mark(",") and not is_item):
            return at + 1
        if token.is_mark("{"):
            at = source.partner[at] + 1
            if not is_use:
                return at
        elif source.is_opening(at):
            at = source.partner[at] + 1
        else:
            at += 1
    return at


def test_lines(source: Source, parts: Set[int]) -> Set[int]:
    """Returns the lines of these tokens, with the lines in between, and with the comments directly above."""
    lines: Set[int] = set()
    run: List[int] = []
    for index in sorted(parts):
        if run and index != run[-1] + 1:
            lines.update(_lines_of(source, run))
            run = []
        run.append(index)
    if run:
        lines.update(_lines_of(source, run))
    comments = source.comments_without_code()
    for line in sorted(lines):
        above = line - 1
        while above in comments and above not in lines:
            lines.add(above)
            above -= 1
    return lines


def _lines_of(source: Source, run: List[int]) -> range:
    last = source.tokens[run[-1]]
    return range(source.tokens[run[0]].line, last.line + last.text.count("\n") + 1)


def enclosing(found: List[Function], index: int) -> str:
    """Returns the name of the innermost function around the token, or `-`."""
    around = [function for function in found if function.start <= index < function.end]
    return max(around, key=lambda function: function.start).name if around else "-"


def paths_in_attributes(source: Source) -> Iterator[Tuple[int, List[str]]]:
    """Yields the line and the segments of paths in strings, for example `#[serde(with = "crate::json::present")]`."""
    for _, start, end in attributes(source):
        for token in source.tokens[start:end]:
            if token.kind == STRING and token.text.startswith(('"crate::', '"super::', '"self::')):
                segments = token.text.strip('"').split("::")
                if all(segment.isidentifier() for segment in segments):
                    yield token.line, segments


def count_calls(source: Source, name: str, skip: Set[int]) -> int:
    """Counts `.name(` and `::name(` outside of `skip`."""
    tokens, count = source.tokens, 0
    for index in range(1, len(tokens) - 1):
        if tokens[index].is_ident(name) and index not in skip and tokens[index + 1].is_mark("("):
            count += tokens[index - 1].kind == PUNCTUATION and tokens[index - 1].text in (".", "::")
    return count
