"""Finds matches on enums of events with a wildcard. For these, the compiler does not demand an arm for a new event."""

from dataclasses import dataclass, field
from typing import Dict, Iterator, List, Optional, Set, Tuple

from .items import end_of_item
from .tokens import CHAR, IDENT, LIFETIME, NUMBER, STRING, Source

EVENTS = {
    "Event", "UploadEvent", "FileEvent", "LinkEvent", "ShareEvent", "TokenEvent", "ContentEvent", "SessionEvent", "QuotaEvent",
    "DirectoryEvent",
}
# A block as the body of an arm ends the arm without a comma.
_BLOCKS = {"if", "match", "loop", "while", "for", "unsafe", "async"}
# The constructors around a pattern, each with the name or the number of the field.
Place = Tuple[Tuple[str, str], ...]


@dataclass
class Pattern:
    """A pattern: a wildcard or binding, a literal, or a constructor with patterns of its fields.

    A tuple is a constructor without name. `rest` is True if the fields that are not listed match anything.
    """

    name: str = ""
    any: bool = False
    event: bool = False
    rest: bool = False
    fields: Dict[str, "Pattern"] = field(default_factory=dict)
    alternatives: List["Pattern"] = field(default_factory=list)

    def catches_all(self) -> bool:
        """Returns True if the pattern matches every value, or every value of its tuple."""
        if self.alternatives:
            return any(pattern.catches_all() for pattern in self.alternatives)
        return self.any or (self.name == "()" and all(each.catches_all() for each in self.fields.values()))

    def events(self, here: Place = ()) -> Iterator[Place]:
        """Yields the place of each variant of an event: the constructors and fields around it, outermost first."""
        if self.event:
            yield here
        for pattern in self.alternatives:
            yield from pattern.events(here)
        for key, pattern in self.fields.items():
            yield from pattern.events(here + ((self.name, key),))

    def catches(self, place: Place) -> bool:
        """Returns True if the pattern matches every value at this place."""
        if self.alternatives:
            return any(pattern.catches(place) for pattern in self.alternatives)
        if self.any:
            return True
        if not place or place[0][0] != self.name:
            return False
        key = place[0][1]
        others = all(each.catches_all() for name, each in self.fields.items() if name != key)
        return others and (self.fields[key].catches(place[1:]) if key in self.fields else self.rest)


@dataclass
class Arm:
    """An arm of a match: the range of its pattern, and whether it has a guard."""

    start: int
    end: int
    guarded: bool


def wildcard_matches(source: Source) -> List[int]:
    """Returns the index of `match` for each match that names a variant of an event and has a wildcard for others.

    A wildcard is `_`, a binding, or a pattern of wildcards in the same place, such as `Some(_)` or `Event::Upload(_)`
    after `Event::Upload(UploadEvent::FileVerified(_))`. An arm with a guard is no wildcard.
    """
    names = Names(source)
    found = []
    for index, token in enumerate(source.tokens):
        if not token.is_ident("match") or (index and source.tokens[index - 1].is_mark(".", "::")):
            continue
        body = _body(source, index + 1)
        if body is None:
            continue
        arms = [(arm, _parse(source, arm.start, arm.end, names)) for arm in arms_of(source, body)]
        places = {place for _, pattern in arms for place in pattern.events()}
        if any(pattern.catches(place) for arm, pattern in arms if not arm.guarded for place in places):
            found.append(index)
    return found


class Names:
    """Names of enums of events in a file, with aliases, with `Self` in their impls, and with imported variants."""

    def __init__(self, source: Source):
        tokens = source.tokens
        self.enums: Set[str] = set(EVENTS)
        self.variants: Set[str] = set()
        self._impls: List[Tuple[int, int]] = []
        for index, token in enumerate(tokens):
            following = tokens[index + 1:index + 3]
            if token.is_ident("type") and len(following) == 2 and following[1].is_mark("="):
                end = end_of_item(source, index)
                if tokens[end - 2].text in self.enums:
                    self.enums.add(following[0].text)
            elif token.is_ident("use"):
                self._add_imports(source, index)
            elif token.is_ident("impl") and (index == 0 or tokens[index - 1].is_mark("}", "{", ";", "]")):
                self._add_impl(source, index)

    def _add_imports(self, source: Source, start: int) -> None:
        tokens, end = source.tokens, end_of_item(source, start)
        for at in range(start + 1, end - 1):
            if not tokens[at].is_ident(*EVENTS):
                continue
            if tokens[at + 1].is_ident("as"):
                self.enums.add(tokens[at + 2].text)
            elif tokens[at + 1].is_mark("::") and tokens[at + 2].is_mark("{"):
                inside = tokens[at + 3:source.partner[at + 2]]
                self.variants.update(token.text for token in inside if token.kind == IDENT and token.text[0].isupper())
            elif tokens[at + 1].is_mark("::") and tokens[at + 2].kind == IDENT:
                self.variants.add(tokens[at + 2].text)
            elif tokens[at + 1].is_mark("::") and tokens[at + 2].is_mark("*"):
                self.variants.add("*")

    def _add_impl(self, source: Source, start: int) -> None:
        tokens, at, name = source.tokens, start + 1, ""
        if at < len(tokens) and tokens[at].is_mark("<"):
            at = source.after_angles(at)
        while at < len(tokens) and not tokens[at].is_mark("{", ";") and not tokens[at].is_ident("where"):
            if source.is_opening(at):
                at = source.partner[at]
            elif tokens[at].is_mark("<"):
                at = source.after_angles(at) - 1
            elif source.is_closing(at) or tokens[at].is_mark(",", "="):
                return
            elif tokens[at].kind == IDENT:
                name = tokens[at].text
            at += 1
        while at < len(tokens) and not tokens[at].is_mark("{"):
            at = source.partner[at] + 1 if source.is_opening(at) else at + 1
        if name in self.enums and at < len(tokens):
            self._impls.append((at, source.partner[at]))

    def is_event(self, path: List[str], index: int) -> bool:
        """Returns True if the path at this index names a variant of an event."""
        if len(path) == 1:
            return path[0] in self.variants or ("*" in self.variants and path[0][0].isupper() and path[0] not in
                                                ("None", "Some", "Ok", "Err"))
        if path[-2] == "Self":
            return any(start < index < end for start, end in self._impls)
        return path[-2] in self.enums


def _body(source: Source, at: int) -> Optional[int]:
    """Returns the index of the `{` of a match whose value begins at `at`."""
    while at < len(source.tokens) and not source.is_closing(at):
        token = source.tokens[at]
        if token.is_mark("{"):
            return at
        if token.is_mark(";", "=>", ","):
            return None
        if token.is_ident("match", "if", "unsafe", "loop"):
            # The block of this expression is a part of the value.
            inner = _body(source, at + 1)
            if inner is None:
                return None
            at = source.partner[inner]
            while source.tokens[at + 1].is_ident("else"):
                inner = _body(source, at + 2)
                if inner is None:
                    return None
                at = source.partner[inner]
        elif token.is_mark("<") and source.tokens[at - 1].is_mark("::"):
            at = source.after_angles(at) - 1
        elif source.is_opening(at):
            at = source.partner[at]
        at += 1
    return None


def arms_of(source: Source, body: int) -> List[Arm]:
    """Returns the arms of the match with this `{`."""
    tokens, at, end = source.tokens, body + 1, source.partner[body]
    arms = []
    while at < end:
        while at + 1 < end and tokens[at].is_mark("#") and tokens[at + 1].is_mark("["):
            at = source.partner[at + 1] + 1
        if tokens[at].is_mark("|"):
            at += 1
        start, guard = at, None
        while at < end and not tokens[at].is_mark("=>"):
            if tokens[at].is_ident("if") and guard is None:
                guard = at
            at = source.partner[at] + 1 if source.is_opening(at) else at + 1
        if at >= end:
            # A macro has repetitions in place of arms.
            break
        arms.append(Arm(start, at if guard is None else guard, guard is not None))
        at = _after_arm(source, at + 1, end)
    return arms


def _after_arm(source: Source, at: int, end: int) -> int:
    tokens = source.tokens
    if at < end and tokens[at].is_mark("{"):
        at = source.partner[at] + 1
        return at + 1 if at < end and tokens[at].is_mark(",") else at
    is_block = tokens[at].is_ident(*_BLOCKS)
    before = "=>"
    while at < end:
        token = tokens[at]
        if token.is_mark(","):
            return at + 1
        if token.is_mark("{") and is_block:
            at = source.partner[at] + 1
            following = tokens[at] if at < end else None
            if following is None or following.is_ident("else", "as") or following.is_mark(".", "?", ","):
                continue
            if following.kind in (IDENT, STRING, NUMBER, CHAR) or following.is_mark("(", "[", "&", "#", "|"):
                return at
            continue
        if source.is_opening(at):
            at = source.partner[at] + 1
        elif token.is_mark("<") and before == "::":
            at = source.after_angles(at)
        elif token.is_mark("|") and before in ("=>", "=", "move", "return"):
            # The parameters of a closure.
            at += 1
            while at < end and not tokens[at].is_mark("|"):
                at = source.partner[at] + 1 if source.is_opening(at) else at + 1
            at += 1
        else:
            at += 1
        before = tokens[at - 1].text
    return at


def _parse(source: Source, start: int, end: int, names: Names) -> Pattern:
    parts = list(_split(source, start, end, "|"))
    if len(parts) > 1:
        return Pattern(alternatives=[_parse(source, *part, names) for part in parts])
    tokens = source.tokens
    while start < end and (tokens[start].is_mark("&") or tokens[start].is_ident("mut", "ref", "box")
                           or tokens[start].kind == LIFETIME):
        start += 1
    if start >= end:
        return Pattern(name="?")
    token = tokens[start]
    if token.is_mark("("):
        inside = _fields(source, start + 1, source.partner[start], names, "()")
        is_group = len(inside.fields) == 1 and not inside.rest and not tokens[source.partner[start] - 1].is_mark(",")
        return next(iter(inside.fields.values())) if is_group else inside
    if token.text == "_" and end - start == 1:
        return Pattern(any=True)
    if token.kind != IDENT:
        return Pattern(name=" ".join(each.text for each in tokens[start:end]))
    if start + 1 < end and tokens[start + 1].is_mark("@"):
        return _parse(source, start + 2, end, names)
    path, at = [token.text], start + 1
    while at < end and not tokens[at].is_mark("(", "{"):
        if tokens[at].is_mark("<"):
            at = source.after_angles(at)
            continue
        if tokens[at].kind == IDENT:
            path.append(tokens[at].text)
        elif not tokens[at].is_mark("::", "$"):
            return Pattern(name=" ".join(each.text for each in tokens[start:end]))
        at += 1
    if at == end and len(path) == 1 and (path[0][0].islower() or path[0][0] == "_"):
        return Pattern(any=path[0] not in ("true", "false"), name=path[0])
    inside = _fields(source, at + 1, source.partner[at], names, path[-1]) if at < end else Pattern(name=path[-1])
    inside.event = names.is_event(path, start)
    return inside


def _fields(source: Source, start: int, end: int, names: Names, name: str) -> Pattern:
    """Returns the pattern of a constructor with this name and the fields in this range."""
    tokens, found = source.tokens, Pattern(name=name)
    for position, (first, last) in enumerate(_split(source, start, end, ",")):
        if tokens[first].is_mark(".."):
            found.rest = True
        elif first + 1 < last and tokens[first].kind in (IDENT, NUMBER) and tokens[first + 1].is_mark(":"):
            found.fields[tokens[first].text] = _parse(source, first + 2, last, names)
        elif tokens[start - 1].is_mark("{"):
            found.fields[tokens[last - 1].text] = Pattern(any=True)
        else:
            found.fields[str(position)] = _parse(source, first, last, names)
    return found


def _split(source: Source, start: int, end: int, mark: str) -> Iterator[Tuple[int, int]]:
    first, at = start, start
    while at < end:
        if source.tokens[at].is_mark(mark):
            if first < at:
                yield first, at
            first = at + 1
        at = source.partner[at] + 1 if source.is_opening(at) else at + 1
    if first < end:
        yield first, end
