"""Prints the measures as a table and as lists."""

import posixpath
from typing import Any, Dict, Iterator, List

from .measures import Group, Measures


def table(found: Measures) -> str:
    """Returns a row for each measure, and a column each for the sources and the tests."""
    rows = list(zip(_rows(found.sources), _rows(found.tests)))
    lines = ["| measure | sources | tests |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {of_sources} | {of_tests} |" for (name, of_sources), (_, of_tests) in rows]
    return "\n".join(lines)


def _rows(group: Group) -> Iterator[Any]:
    values = group.to_json()
    yield "files", f"{values['files']:,}"
    yield "lines", f"{values['lines']:,}"
    yield "lines per file: median, p90, max", _joined(values["lines_per_file"])
    yield "functions", f"{values['functions']:,}"
    yield "lines per function: median, p90, p99, max", _joined(values["lines_per_function"])
    yield "comment lines", f"{values['comment_lines_percent']} %"
    sizes = [len(cycle["files"]) for cycle in group.cycles]
    yield "import cycles: number, files in cycles, largest", f"{len(sizes)}, {sum(sizes)}, {max(sizes, default=0)}"
    yield "matches on events with a wildcard", len(group.wildcard_matches)
    yield "parameters that are tuples", len(group.tuple_parameters)
    yield "files above 400 lines", len(group.long_files())
    yield "functions with six or more parameters", len(group.many_parameters)
    for name, count in group.calls.items():
        yield f"`{name}`", count


def _joined(values: Dict[str, int]) -> str:
    return ", ".join(str(value) for value in values.values())


def lists(found: Measures) -> str:
    """Returns the places that the limits concern: the cycles, matches, parameters and files of the sources."""
    group, lines = found.sources, []
    for cycle in group.cycles:
        lines += ["", *of_cycle(cycle)]
    lines += _places("Matches on events with a wildcard", group.wildcard_matches, "")
    lines += _places("Parameters that are tuples", group.tuple_parameters, "parameter")
    lines += _section("Files above 400 lines", [f"{name}: {count} lines" for name, count in group.long_files().items()])
    lines += _section("Files that no crate contains", found.orphans)
    return "\n".join(lines[1:] if lines[:1] == [""] else lines)


def of_cycle(cycle: Dict[str, Any]) -> List[str]:
    """Returns the files of a cycle, a small set of imports without which there is no cycle, and the other imports."""
    files = cycle["files"]
    folder = posixpath.commonpath([posixpath.dirname(file) for file in files])
    lines = [f"Import cycle of {len(files)} files in {folder}:"]
    lines += [f"  {name}" for name in wrapped([file[len(folder) + 1:] for file in files])]
    for title, is_cut in (("cut these to end it", True), ("its other imports", False)):
        chosen = [each for each in cycle["imports"] if each["cut"] == is_cut]
        lines.append(f"  {title} ({len(chosen)}):")
        lines += [f"    {of_import(each, folder)}" for each in chosen]
    return lines


def of_import(each: Dict[str, Any], folder: str) -> str:
    line = min(each["names"].values())
    names = ", ".join(each["names"])
    return f"{each['from'][len(folder) + 1:]}:{line} -> {each['to'][len(folder) + 1:]} ({names})"


def wrapped(names: List[str], width: int = 120) -> List[str]:
    """Joins names with spaces into lines."""
    lines = [""]
    for name in names:
        if lines[-1] and len(lines[-1]) + len(name) >= width:
            lines.append("")
        lines[-1] += f" {name}" if lines[-1] else name
    return lines


def _places(title: str, places: List[Dict[str, Any]], key: str) -> List[str]:
    return _section(title, [f"{place['file']}:{place['line']} {place['function']}"
                            + (f": `{place[key]}`" if key else "") for place in places])


def _section(title: str, lines: List[str]) -> List[str]:
    return ["", f"{title}: {len(lines)}", *(f"  {line}" for line in lines)]
