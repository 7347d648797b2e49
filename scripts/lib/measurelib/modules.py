"""Builds the modules of each crate, and finds the imports between its files and their cycles.

An import is a path to an item in another file of the same crate, in a `use` or in the code (`problems::refused(…)`). It
counts for the file that defines the item: re-exports are followed. These are no imports: `mod child;`, a `use` of a
module from which the code takes nothing, and a re-export of an item of a child that the parent itself does not use.
"""

import posixpath
import re
from dataclasses import dataclass, field
from typing import Dict, Iterable, Iterator, List, Optional, Set, Tuple, Union

from . import items
from .tokens import IDENT, STRING, Source

_DEFINING = ("fn", "struct", "enum", "trait", "type", "const", "static", "union")
_CRATE_FOLDERS = ("tests", "benches", "examples", "src/bin")
_TARGET = re.compile(r'^\s*path\s*=\s*"([^"]+\.rs)"', re.MULTILINE)

# The files of each import, the names that it takes, and the line of each name.
Edges = Dict[Tuple[str, str], Dict[str, int]]


@dataclass
class Use:
    """One name of a `use`: `use crate::a::{b as c}` gives the name `c` for the path `crate::a::b`."""

    name: str
    path: List[str]
    line: int
    exported: bool
    for_tests: bool


@dataclass(eq=False)
class Module:
    """A module: a file, or a part of one."""

    name: str
    file: str
    parent: Optional["Module"]
    # Folder of the files of its children.
    folder: str
    start: int = 0
    end: int = 0
    for_tests: bool = False
    defined: Set[str] = field(default_factory=set)
    by_macros: Set[str] = field(default_factory=set)
    children: Dict[str, "Module"] = field(default_factory=dict)
    uses: Dict[str, List[Use]] = field(default_factory=dict)
    globs: List[Use] = field(default_factory=list)
    # Ranges of tokens that are no code of this module: its `use` items and its inline modules.
    apart: List[Tuple[int, int]] = field(default_factory=list)

    def root(self) -> "Module":
        return self if self.parent is None else self.parent.root()

    def is_inside(self, other: "Module") -> bool:
        return self is other or (self.parent is not None and self.parent.is_inside(other))

    def all(self) -> Iterator["Module"]:
        yield self
        for child in self.children.values():
            yield from child.all()


# A path leads to a module, or to an item (module that defines it, name).
Target = Union[Module, Tuple[Module, str]]


def roots(names: Iterable[str], manifests: Dict[str, str]) -> List[str]:
    """Returns the root files of all crates: of libraries, programs, tests and fuzz targets."""
    names = set(names)
    found = set()
    for manifest, text in manifests.items():
        folder = posixpath.dirname(manifest)
        prefix = folder + "/" if folder else ""
        found.update(prefix + name for name in ("src/lib.rs", "src/main.rs", "build.rs"))
        found.update(posixpath.normpath(prefix + path) for path in _TARGET.findall(text))
        for name in names:
            for place in _CRATE_FOLDERS:
                rest = name[len(prefix + place) + 1:] if name.startswith(f"{prefix}{place}/") else ""
                if rest and ("/" not in rest or (rest.endswith("/main.rs") and rest.count("/") == 1)):
                    found.add(name)
    return sorted(found & names)


class Crate:
    """The modules of one crate. `sources` has the tokens of each file, and `tests` the parts only for tests."""

    def __init__(self, root: str, sources: Dict[str, Source], tests: Dict[str, Set[int]]):
        self._sources, self._tests = sources, tests
        self.files: Dict[str, Module] = {}
        self.root = self._file("crate", root, None, posixpath.dirname(root), False)

    def _file(self, name: str, file: str, parent: Optional[Module], folder: str, for_tests: bool) -> Module:
        source = self._sources[file]
        whole = bool(source.tokens) and len(self._tests[file]) == len(source.tokens)
        module = Module(name, file, parent, folder, 0, len(source.tokens), for_tests or whole)
        self.files[file] = module
        self._fill(module)
        return module

    def _fill(self, module: Module) -> None:
        source, tests = self._sources[module.file], self._tests[module.file]
        tokens, at = source.tokens, module.start
        path_attribute = None
        while at < module.end:
            token = tokens[at]
            following = tokens[at + 1] if at + 1 < module.end else None
            if token.is_mark("#") and following is not None and following.is_mark("["):
                end = source.partner[at + 1]
                if tokens[at + 2].is_ident("path") and tokens[at + 4].kind == STRING:
                    path_attribute = tokens[at + 4].text.strip('"')
                at = end + 1
                continue
            if token.is_ident("mod") and following is not None and following.kind == IDENT:
                at = self._add_child(module, at, path_attribute, module.for_tests or at in tests)
            elif token.is_ident("use"):
                at = self._add_use(module, at, at in tests)
            elif token.is_ident("macro_rules") and following is not None and following.is_mark("!"):
                module.defined.add(tokens[at + 2].text)
                at = source.partner[at + 3] + 1
            elif token.kind == IDENT and following is not None and following.is_mark("!") and source.is_opening(at + 2):
                end = source.partner[at + 2]
                module.by_macros.update(each.text for each in tokens[at + 3:end] if each.kind == IDENT)
                at = end + 1
            elif token.is_ident(*_DEFINING) and following is not None and following.kind == IDENT:
                if not (token.text == "const" and following.text == "fn"):
                    module.defined.add(following.text)
                at += 2
            elif source.is_opening(at):
                self._add_inner_uses(module, at, source.partner[at])
                at = source.partner[at] + 1
            else:
                at += 1
                continue
            path_attribute = None

    def _add_child(self, module: Module, at: int, path: Optional[str], for_tests: bool) -> int:
        source = self._sources[module.file]
        name = source.tokens[at + 1].text
        if source.tokens[at + 2].is_mark("{"):
            end = source.partner[at + 2]
            child = Module(name, module.file, module, f"{module.folder}/{name}", at + 3, end, for_tests)
            module.children[name] = child
            module.apart.append((at, end + 1))
            self._fill(child)
            return end + 1
        choices = [f"{module.folder}/{name}.rs", f"{module.folder}/{name}/mod.rs"]
        if path is not None:
            choices = [posixpath.normpath(f"{posixpath.dirname(module.file)}/{path}")]
        for file in choices:
            file = file.lstrip("/")
            if file in self._sources and file not in self.files:
                folder = posixpath.dirname(file)
                if path is None and not file.endswith("/mod.rs"):
                    folder = f"{module.folder}/{name}"
                module.children[name] = self._file(name, file, module, folder, for_tests)
                break
        return at + 2

    def _add_inner_uses(self, module: Module, start: int, end: int) -> None:
        """Adds the `use` items of functions. Their names count for the whole module."""
        tokens, at = self._sources[module.file].tokens, start
        while at < end:
            if tokens[at].is_ident("use"):
                at = self._add_use(module, at, at in self._tests[module.file])
            else:
                at += 1

    def _add_use(self, module: Module, at: int, for_tests: bool) -> int:
        source = self._sources[module.file]
        tokens = source.tokens
        if not (tokens[at + 1].kind == IDENT or tokens[at + 1].is_mark("::", "{", "$")):
            return at + 1  # `impl Trait + use<'a>`
        end = items.end_of_item(source, at)
        exported = at > module.start and (tokens[at - 1].is_ident("pub") or tokens[at - 1].is_mark(")"))
        for path, name, line in _expand(source, at + 1, end - 1, []):
            use = Use(name, path, line, exported, for_tests)
            if name == "*":
                module.globs.append(use)
            elif name:
                module.uses.setdefault(name, []).append(use)
        module.apart.append((at, end))
        return end

    def resolve(
        self, module: Module, path: List[str], wants_module: bool = False, seen: frozenset = frozenset()
    ) -> Optional[Target]:
        """Returns the module or the item to which a path in this module leads, or None if it leaves the crate."""
        here: Target
        first, rest = path[0], path[1:]
        if first in ("crate", "self", "super"):
            here = module.root() if first == "crate" else module if first == "self" else module.parent
            while rest and rest[0] == "super" and here is not None:
                here, rest = here.parent, rest[1:]
            if here is None:
                return None
        elif first == "":
            return None
        else:
            here, rest = module, path
            if self._lookup(module, first, bool(rest[1:]) or wants_module, seen, own=True) is None:
                return None
        for position, name in enumerate(rest):
            if not isinstance(here, Module):
                return here
            is_last = position == len(rest) - 1
            here = self._lookup(here, name, not is_last or wants_module, seen)
            if here is None:
                return None
        return here

    def _lookup(
        self, module: Module, name: str, wants_module: bool, seen: frozenset, own: bool = False
    ) -> Optional[Target]:
        """Finds a name in a module. An unknown name is an item of the module, but not if `own` is True.

        `own` is True for the first segment of a path, because it can be the name of another crate.
        """
        if (module, name, wants_module) in seen:
            return None
        seen = seen | {(module, name, wants_module)}
        if wants_module and name in module.children:
            return module.children[name]
        if name in module.defined:
            return module, name
        left_crate = False
        for use in module.uses.get(name, []):
            found = self.resolve(module, use.path, wants_module, seen)
            if found is not None:
                return found
            left_crate = True
        if name in module.children:
            return module.children[name]
        if left_crate:
            return None
        for use in module.globs:
            found = self.resolve(module, use.path, True, seen)
            if isinstance(found, Module) and _is_visible(found, name, module):
                inner = self._lookup(found, name, wants_module, seen, own=True)
                if inner is not None:
                    return inner
        if name in module.by_macros or not own:
            return module, name
        return None

    def imports(self, with_tests: bool) -> Edges:
        """Returns the imports from file to file. Without `with_tests`, leaves out tests."""
        edges: Edges = {}
        for module in self.root.all():
            if with_tests or not module.for_tests:
                self._add_imports(module, with_tests, edges)
        return edges

    def _add_imports(self, module: Module, with_tests: bool, edges: Edges) -> None:
        source = self._sources[module.file]
        skip = set() if with_tests else self._tests[module.file]
        code = _code(module, skip)
        tokens = source.tokens

        def add(target: Optional[Target], line: int) -> None:
            if not isinstance(target, tuple) or target[0].file == module.file:
                return
            if target[0].for_tests and not with_tests:
                return
            edges.setdefault((module.file, target[0].file), {}).setdefault(target[1], line)

        mentioned = {tokens[at].text for at in code if _is_mention(source, at)}
        for uses in module.uses.values():
            for use in uses:
                if use.for_tests and not with_tests:
                    continue
                target = self.resolve(module, use.path)
                is_facade = use.exported and isinstance(target, tuple) and target[0].is_inside(module)
                if not is_facade or use.name in mentioned:
                    add(target, use.line)
        for use in module.globs:
            if not (use.for_tests and not with_tests):
                self._add_glob(module, use, mentioned, add)
        for at in code:
            path = _path_at(source, at)
            if len(path) > 1:
                add(self.resolve(module, path), tokens[at].line)
        if module.start == 0:
            for line, path in items.paths_in_attributes(source):
                add(self.resolve(module, path), line)

    def _add_glob(self, module: Module, use: Use, mentioned: Set[str], add) -> None:
        target = self.resolve(module, use.path, True)
        if not isinstance(target, Module):
            add(target, use.line)
            return
        known = target.defined | target.by_macros | set(target.uses)
        known = {name for name in known if _is_visible(target, name, module)}
        for name in sorted(mentioned & known - module.defined):
            add(self._lookup(target, name, False, frozenset()), use.line)


def _is_visible(owner: Module, name: str, reader: Module) -> bool:
    """Returns False if the name is a private import of `owner`, which a glob of `reader` does not take."""
    uses = owner.uses.get(name, [])
    return not uses or name in owner.defined or reader.is_inside(owner) or any(use.exported for use in uses)


def _expand(source: Source, at: int, end: int, prefix: List[str]) -> Iterator[Tuple[List[str], str, int]]:
    """Yields the path, the name and the line of each part of a `use`. The name is `*` for a glob, and empty for `_`."""
    tokens, path = source.tokens, list(prefix)
    if at < end and tokens[at].is_mark("::"):
        path, at = [""], at + 1
    while at < end:
        token = tokens[at]
        if token.is_mark("{"):
            for part in items.split(source, at + 1, source.partner[at], ","):
                yield from _expand(source, *part, path)
            return
        if token.is_mark("*"):
            yield path, "*", token.line
            return
        if token.is_ident("as"):
            name = tokens[at + 1].text
            yield path, "" if name == "_" else name, token.line
            return
        if token.kind == IDENT and not (token.text == "self" and path):
            path = path + [token.text]
        at += 1
    if path:
        yield path, path[-1], tokens[end - 1].line


def _code(module: Module, skip: Set[int]) -> List[int]:
    apart = set(skip)
    for start, end in module.apart:
        apart.update(range(start, end))
    return [at for at in range(module.start, module.end) if at not in apart]


def _is_mention(source: Source, at: int) -> bool:
    """Returns True for an identifier that is no method, no field and not the name of a definition."""
    if source.tokens[at].kind != IDENT:
        return False
    if at == 0:
        return True
    before = source.tokens[at - 1]
    return not (before.is_mark(".", "::") or before.is_ident(*_DEFINING, "mod"))


def _path_at(source: Source, at: int) -> List[str]:
    """Returns the segments of the path that begins at this token. Generic arguments end it."""
    tokens = source.tokens
    if tokens[at].kind != IDENT or (at and tokens[at - 1].is_mark("::", ".")):
        return []
    if at > 1 and tokens[at - 1].is_ident("in") and tokens[at - 2].is_mark("("):
        return []  # `pub(in crate::a)`
    path = [tokens[at].text]
    while at + 2 < len(tokens) and tokens[at + 1].is_mark("::") and tokens[at + 2].kind == IDENT:
        path.append(tokens[at + 2].text)
        at += 2
    return path


def cycles(edges: Iterable[Tuple[str, str]]) -> List[List[str]]:
    """Returns the strongly connected components of more than one file, each sorted, the largest first."""
    graph: Dict[str, List[str]] = {}
    for start, end in edges:
        graph.setdefault(start, []).append(end)
        graph.setdefault(end, [])
    order: List[str] = []
    seen: Set[str] = set()
    for name in sorted(graph):
        _visit(graph, name, seen, order)
    reverse: Dict[str, List[str]] = {name: [] for name in graph}
    for start, ends in graph.items():
        for end in ends:
            reverse[end].append(start)
    seen, found = set(), []
    for name in reversed(order):
        component: List[str] = []
        _visit(reverse, name, seen, component)
        if len(component) > 1:
            found.append(sorted(component))
    return sorted(found, key=lambda component: (-len(component), component))


def _visit(graph: Dict[str, List[str]], start: str, seen: Set[str], order: List[str]) -> None:
    """Appends the names that can be reached from `start` and were not seen, each after those that it reaches."""
    if start in seen:
        return
    seen.add(start)
    stack = [(start, iter(graph[start]))]
    while stack:
        name, ends = stack[-1]
        following = next((end for end in ends if end not in seen), None)
        if following is None:
            stack.pop()
            order.append(name)
        else:
            seen.add(following)
            stack.append((following, iter(graph[following])))


def cuts(files: List[str], edges: Edges) -> List[Tuple[str, str]]:
    """Returns a small set of imports without which these files have no cycle.

    Orders the files so that few names are imported from later files: begins with the files that import most and are
    imported least, and then moves each file to its best place until nothing improves. The smallest set may be smaller.
    """
    weights = {edge: len(names) for edge, names in edges.items() if edge[0] in files and edge[1] in files}
    rest, order = sorted(files), []
    while rest:
        def surplus(name: str) -> int:
            out = sum(weight for edge, weight in weights.items() if edge[0] == name and edge[1] in rest)
            return out - sum(weight for edge, weight in weights.items() if edge[1] == name and edge[0] in rest)
        order.append(max(rest, key=surplus))
        rest.remove(order[-1])
    improved = True
    while improved:
        improved = False
        for name in sorted(files):
            at = order.index(name)
            order.remove(name)
            best = min(range(len(order) + 1), key=lambda place: (_cost(weights, name, order, place), place != at))
            improved = improved or _cost(weights, name, order, best) < _cost(weights, name, order, at)
            order.insert(best, name)
    return sorted(edge for edge in weights if order.index(edge[0]) > order.index(edge[1]))


def _cost(weights: Dict[Tuple[str, str], int], name: str, order: List[str], place: int) -> int:
    earlier, later = order[:place], order[place:]
    return (sum(weights.get((name, other), 0) for other in earlier)
            + sum(weights.get((other, name), 0) for other in later))
