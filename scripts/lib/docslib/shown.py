"""Compares the output of a command with the output that a page shows."""

import json
import re
from typing import Optional

# A page shows this in place of ids, times and long text.
_ANY = "…"


def difference(expected: str, printed: str) -> Optional[str]:
    """Returns what differs, or None. Compares line by line, and JSON by its members."""
    wanted, got = ([line for line in text.split("\n") if line.strip()] for text in (expected, printed))
    if len(wanted) != len(got):
        return f"the page shows {len(wanted)} lines, but the command prints {len(got)}:\n{printed}"
    for want, have in zip(wanted, got):
        if not _is_like(want, have):
            return f"the page shows\n    {want}\nbut the command prints\n    {have}"
    return None


def invalid(text: str) -> Optional[str]:
    """Returns why the text is not JSON, or None."""
    try:
        json.loads(text)
    except ValueError as error:
        return f"the block is not JSON: {error}"
    return None


def _is_like(want: str, have: str) -> bool:
    try:
        return _is_value_like(json.loads(want), json.loads(have))
    except ValueError:
        pattern = ".*".join(re.escape(part) for part in want.rstrip().split(_ANY))
        return re.fullmatch(pattern, have.rstrip()) is not None


def _is_value_like(want, have) -> bool:
    if isinstance(want, dict) and isinstance(have, dict):
        return want.keys() == have.keys() and all(_is_value_like(want[name], have[name]) for name in want)
    if isinstance(want, list) and isinstance(have, list):
        return len(want) == len(have) and all(map(_is_value_like, want, have))
    if isinstance(want, str) and isinstance(have, str) and _ANY in want:
        return re.fullmatch(".*".join(map(re.escape, want.split(_ANY))), have, re.DOTALL) is not None
    return type(want) is type(have) and want == have
