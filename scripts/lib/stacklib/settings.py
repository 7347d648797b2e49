"""Settings that a stack keeps between runs: a KEY=VALUE file that a shell can source.

    set -a; . .waybill/env; set +a

A value comes from the environment, else from the file, else it is made once and kept. What comes
from the environment is written down as well, so that the file has all that the stack runs with,
but not used again: it belongs to its owner. A variable that merely equals the file's value is one
of ours that was sourced, not a server that somebody else runs, unless it was given before.
"""

import os
import secrets
import shlex
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional

from .home import write_private

_GIVEN = "WAYBILL_UP_GIVEN"


class Settings:
    def __init__(self, path: Path):
        self._path = path
        self._kept: Dict[str, str] = {}
        if path.exists():
            # comments=True drops the header; shlex undoes the quoting of save().
            for item in shlex.split(path.read_text(), comments=True):
                name, _, value = item.partition("=")
                self._kept[name] = value

    def given(self, name: str) -> Optional[str]:
        """The value that the environment sets on its own account."""
        value = os.environ.get(name) or None
        return None if value == self._kept.get(name) and name not in self._given() else value

    def _given(self) -> List[str]:
        """The names that the environment gave the last time."""
        return self._kept.get(_GIVEN, "").split()

    def record_given(self, values: Dict[str, str], ours: Iterable[str]) -> None:
        """Writes down what the environment gives now, and forgets what it gave before, unless that is ours by now."""
        for name in set(self._given()).difference(ours):
            self._kept.pop(name, None)
        self._kept.update(values)
        self._kept[_GIVEN] = " ".join(sorted(values))
        self._save()

    def kept(self, name: str) -> Optional[str]:
        return self._kept.get(name)

    def keep(self, name: str, value: str) -> str:
        """Written down at once: data made with a secret that was lost cannot be opened again."""
        if self._kept.get(name) != value:
            self._kept[name] = value
            self._save()
        return value

    def own(self, name: str, make: Callable[[], str]) -> str:
        """A value of servers that we start: whatever the environment says is about others."""
        return self._kept.get(name) or self.keep(name, make())

    def get(self, name: str, make: Callable[[], str]) -> str:
        return self.given(name) or self.own(name, make)

    def _save(self) -> None:
        lines = [f"{name}={shlex.quote(value)}" for name, value in sorted(self._kept.items())]
        header = "# Written by scripts/up. Holds secrets; without them the data is locked."
        write_private(self._path, "\n".join([header, *lines]) + "\n")


def secret() -> str:
    """256 random bits; hexadecimal, so that it needs no escaping in a URL or in SQL."""
    return secrets.token_hex(32)
