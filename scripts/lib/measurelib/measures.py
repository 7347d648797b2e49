"""Measures a tree: one group for the sources, and one for the tests."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Set

from . import items, modules, patterns
from .tokens import Source, SyntaxFault

# Sources that exist for tests only, in addition to the folders `tests/` and `benches/` of each crate.
TEST_FOLDERS = ("integration-tests/", "fuzz/", "shared/test-kit/")
# Inclusive limits.
LINES_OF_FILE = 400
PARAMETERS = 5


@dataclass
class Group:
    """Measures of the sources or of the tests.

    `line_count` of the tests also contains the `#[cfg(test)]` items of the sources, and that of the sources does not.
    """

    line_count: int = 0
    comment_count: int = 0
    file_lines: Dict[str, int] = field(default_factory=dict)
    function_lines: List[int] = field(default_factory=list)
    cycles: List[Dict[str, Any]] = field(default_factory=list)
    wildcard_matches: List[Dict[str, Any]] = field(default_factory=list)
    tuple_parameters: List[Dict[str, Any]] = field(default_factory=list)
    many_parameters: List[Dict[str, Any]] = field(default_factory=list)
    calls: Dict[str, int] = field(default_factory=lambda: dict.fromkeys(("unwrap(", "expect(", "unsafe", "#[allow"), 0))

    def long_files(self) -> Dict[str, int]:
        return {name: lines for name, lines in sorted(self.file_lines.items()) if lines > LINES_OF_FILE}

    def to_json(self) -> Dict[str, Any]:
        return {
            "files": len(self.file_lines),
            "lines": self.line_count,
            "lines_per_file": quantiles(self.file_lines.values(), (50, 90)),
            "functions": len(self.function_lines),
            "lines_per_function": quantiles(self.function_lines, (50, 90, 99)),
            "comment_lines_percent": round(100 * self.comment_count / max(self.line_count, 1), 1),
            "import_cycles": self.cycles,
            "wildcard_matches": self.wildcard_matches,
            "tuple_parameters": self.tuple_parameters,
            "files_above_400_lines": self.long_files(),
            "functions_with_six_or_more_parameters": self.many_parameters,
            **{name.strip("#[("): count for name, count in self.calls.items()},
        }


@dataclass
class Measures:
    """Measures of a tree. `orphans` are files that no crate contains."""

    sources: Group
    tests: Group
    orphans: List[str]


def quantiles(values: Iterable[int], percents: Iterable[int]) -> Dict[str, int]:
    """Returns the maximum and these percentiles, each of which is one of the values."""
    ordered = sorted(values) or [0]
    found = {f"p{percent}" if percent != 50 else "median": ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]
             for percent in percents}
    return {**found, "max": ordered[-1]}


def measure(files: Dict[str, Path]) -> Measures:
    """Measures these files.

    # Errors
    SyntaxFault if a file cannot be parsed.
    """
    sources, tests = {}, {}
    for name, path in files.items():
        if name.endswith(".rs"):
            try:
                sources[name] = Source(path.read_text())
                tests[name] = items.test_parts(sources[name])
            except SyntaxFault as fault:
                raise SyntaxFault(f"{name}: {fault}") from fault
    manifests = {name: path.read_text() for name, path in files.items() if name.endswith("Cargo.toml")}
    crates = [modules.Crate(root, sources, tests) for root in modules.roots(sources, manifests)]
    of_tests = _test_files(sources, crates)
    found = Measures(Group(), Group(), sorted(set(sources) - {file for crate in crates for file in crate.files}))
    for name in sorted(sources):
        _add_file(found, name, sources[name], tests[name], name in of_tests)
    for crate in crates:
        is_test = crate.root.file in of_tests
        _add_cycles(found.tests if is_test else found.sources, crate.imports(with_tests=is_test))
    return found


def _test_files(names: Iterable[str], crates: Iterable[modules.Crate]) -> Set[str]:
    found = {module.file for crate in crates for module in crate.root.all() if module.for_tests and module.start == 0}
    for name in names:
        folders = name.split("/")[:-1]
        if name.startswith(TEST_FOLDERS) or "tests" in folders or "benches" in folders:
            found.add(name)
    return found


def _add_file(found: Measures, name: str, source: Source, parts: Set[int], is_test: bool) -> None:
    if is_test:
        parts = set(range(len(source.tokens)))
    comments = source.comments_without_code()
    lines_of_tests = set(range(1, source.lines + 1)) if is_test else items.test_lines(source, parts)
    found.tests.line_count += len(lines_of_tests)
    found.tests.comment_count += len(comments & lines_of_tests)
    found.sources.line_count += source.lines - len(lines_of_tests)
    found.sources.comment_count += len(comments - lines_of_tests)
    (found.tests if is_test else found.sources).file_lines[name] = (
        source.lines if is_test else source.lines - len(lines_of_tests))

    functions = items.functions(source)
    for function in functions:
        _add_function(found.tests if function.start in parts else found.sources, name, source, function)
    for index in patterns.wildcard_matches(source):
        group = found.tests if index in parts else found.sources
        function = items.enclosing(functions, index)
        group.wildcard_matches.append({"file": name, "line": source.tokens[index].line, "function": function})
    _add_calls(found.sources, source, parts)
    _add_calls(found.tests, source, set(range(len(source.tokens))) - parts)


def _add_function(group: Group, name: str, source: Source, function: items.Function) -> None:
    if function.lines:
        group.function_lines.append(function.lines)
    for start, end in function.parameters:
        if items.is_tuple_parameter(source, start, end):
            text = source.text(start, end)
            group.tuple_parameters.append({"file": name, "line": source.tokens[start].line, "function": function.name,
                                           "parameter": text})
    if len(function.parameters) > PARAMETERS:
        group.many_parameters.append({"file": name, "line": function.line, "function": function.name,
                                      "parameters": len(function.parameters)})


def _add_calls(group: Group, source: Source, skip: Set[int]) -> None:
    group.calls["unwrap("] += items.count_calls(source, "unwrap", skip)
    group.calls["expect("] += items.count_calls(source, "expect", skip)
    group.calls["unsafe"] += sum(token.is_ident("unsafe") for at, token in enumerate(source.tokens) if at not in skip)
    group.calls["#[allow"] += sum(
        any(token.is_ident("allow") for token in source.tokens[start:end])
        for index, start, end in items.attributes(source) if index not in skip)


def _add_cycles(group: Group, edges: modules.Edges) -> None:
    for files in modules.cycles(edges):
        cut = set(modules.cuts(files, edges))
        imports = [
            {"from": edge[0], "to": edge[1], "names": dict(sorted(names.items())), "cut": edge in cut}
            for edge, names in sorted(edges.items()) if edge[0] in files and edge[1] in files
        ]
        group.cycles.append({"files": files, "imports": imports})
