"""Compares the measures of the sources with the limits and with the baseline of today's exceptions.

The baseline, scripts/lib/measure-baseline.json, names files and functions instead of lines, so that it changes only if
an exception ends or moves. Each exception that has ended must be removed, so that their number can only fall.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Tuple

from .measures import Group, Measures

BASELINE = Path(__file__).resolve().parent.parent / "measure-baseline.json"
_COUNTED = {
    "wildcard_matches": "match on events with a wildcard: name all variants, so that the compiler lists this match",
    "tuple_parameters": "parameter that is a tuple: define a struct",
}
_SHRINK = "run `scripts/measure --shrink` and commit the baseline"


def read() -> Dict[str, Any]:
    return json.loads(BASELINE.read_text())


def write(baseline: Dict[str, Any]) -> None:
    BASELINE.write_text(json.dumps(baseline, indent=2) + "\n")


def exceptions(group: Group) -> Dict[str, Any]:
    """Returns the baseline that allows exactly what the group has."""
    return {
        "import_cycles": [cycle["files"] for cycle in group.cycles],
        "files_above_400_lines": group.long_files(),
        **{key: dict(sorted(Counter(f"{place['file']} {place['function']}" for place in getattr(group, key)).items()))
           for key in _COUNTED},
    }


def check(found: Measures, baseline: Dict[str, Any]) -> Tuple[List[str], List[str]]:
    """Returns the places that exceed the limits, and the exceptions that have ended."""
    now = exceptions(found.sources)
    faults = [f"{name}: no crate contains this file" for name in found.orphans]
    for cycle in found.sources.cycles:
        faults += _faults_of_cycle(cycle, baseline["import_cycles"])
    for name, lines in now["files_above_400_lines"].items():
        allowed = baseline["files_above_400_lines"].get(name)
        if allowed is None:
            faults.append(f"{name} has {lines} lines without tests; a file may have at most 400 lines")
        elif lines > allowed:
            faults.append(f"{name} has {lines} lines without tests; the baseline allows at most {allowed} lines")
    for key, wrong in _COUNTED.items():
        for place, count in now[key].items():
            allowed = baseline[key].get(place, 0)
            if count > allowed:
                lines = [str(each["line"]) for each in getattr(found.sources, key)
                         if f"{each['file']} {each['function']}" == place]
                file, function = place.split(" ")
                faults.append(f"{file}:{','.join(lines)} {function}: {count} (allowed: {allowed}) × {wrong}")
    return faults, _ended(now, baseline)


def _faults_of_cycle(cycle: Dict[str, Any], allowed: List[List[str]]) -> List[str]:
    files = set(cycle["files"])
    if any(files <= set(known) for known in allowed):
        return []
    known = max((set(each) & files for each in allowed), key=len, default=set())
    new = sorted(files - known)
    ties = [each for each in cycle["imports"] if (each["from"] in new) or (each["to"] in new)]
    rest = f" together with {len(known)} files of a known cycle" if known else ""
    lines = [f"import cycle of {', '.join(new)}{rest}; its imports:"]
    lines += [f"    {each['from']}:{min(each['names'].values())} -> {each['to']} ({', '.join(each['names'])})"
              for each in ties]
    return ["\n".join(lines)]


def _ended(now: Dict[str, Any], baseline: Dict[str, Any]) -> List[str]:
    ended = []
    for known in baseline["import_cycles"]:
        if not any(_share_a_cycle(files, known) for files in now["import_cycles"]):
            ended.append(f"the baseline names an import cycle of {known[0]} that has ended: {_SHRINK}")
    for key in ("files_above_400_lines", *_COUNTED):
        for place, allowed in baseline[key].items():
            has_less = place not in now[key] or (key in _COUNTED and now[key][place] < allowed)
            if has_less:
                ended.append(f"the baseline allows {key} of {place} that have ended: {_SHRINK}")
    return ended


def _share_a_cycle(files: List[str], known: List[str]) -> bool:
    return len(set(files) & set(known)) > 1


def shrunk(found: Measures, baseline: Dict[str, Any]) -> Dict[str, Any]:
    """Returns the baseline without the exceptions that have ended. It never allows more than before."""
    now = exceptions(found.sources)
    cycles = [files for files in now["import_cycles"]
              if any(set(files) <= set(known) for known in baseline["import_cycles"])]
    # Cycles that have grown keep the exception that they had.
    grown = [known for known in baseline["import_cycles"]
             if any(_share_a_cycle(files, known) and not set(files) <= set(known) for files in now["import_cycles"])]
    counted = {}
    for key in ("files_above_400_lines", *_COUNTED):
        counted[key] = {place: min(allowed, now[key][place])
                        for place, allowed in baseline[key].items() if place in now[key]}
    return {"import_cycles": cycles + grown, **counted}
