"""Settings that a stack keeps between runs, in a KEY=VALUE file that a shell can source.

    set -a; . .waybill/env; set +a

A value comes from the environment, or else from the file. Otherwise it is generated once and kept.
Values from the environment are also written to the file, so that it contains all settings of the
stack, but later runs do not use them. If a variable equals the value in the file, the shell has
probably sourced the file. Such a variable does not count as given by the user, unless the user gave
it in the previous run.
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
            # comments=True drops the header, and shlex reverts the quoting of _save().
            for item in shlex.split(path.read_text(), comments=True):
                name, _, value = item.partition("=")
                self._kept[name] = value

    def given(self, name: str) -> Optional[str]:
        """Returns the value that the user gave in the environment, if any."""
        value = os.environ.get(name) or None
        return None if value == self._kept.get(name) and name not in self._given() else value

    def _given(self) -> List[str]:
        """Returns the names of the variables that the user gave in the previous run."""
        return self._kept.get(_GIVEN, "").split()

    def record_given(self, values: Dict[str, str], ours: Iterable[str]) -> None:
        """Stores the variables that the user gave now. Forgets those of the previous run, except the names in `ours`."""
        for name in set(self._given()).difference(ours):
            self._kept.pop(name, None)
        self._kept.update(values)
        self._kept[_GIVEN] = " ".join(sorted(values))
        self._save()

    def kept(self, name: str) -> Optional[str]:
        return self._kept.get(name)

    def keep(self, name: str, value: str) -> str:
        """Stores a value immediately, because data cannot be read if its secret is lost."""
        if self._kept.get(name) != value:
            self._kept[name] = value
            self._save()
        return value

    def own(self, name: str, make: Callable[[], str]) -> str:
        """Returns a value for servers that these scripts start. Ignores the environment, which describes other servers."""
        return self._kept.get(name) or self.keep(name, make())

    def get(self, name: str, make: Callable[[], str]) -> str:
        return self.given(name) or self.own(name, make)

    def _save(self) -> None:
        lines = [f"{name}={shlex.quote(value)}" for name, value in sorted(self._kept.items())]
        header = "# Written by scripts/up. Contains secrets; the data cannot be read without them."
        write_private(self._path, "\n".join([header, *lines]) + "\n")


def secret() -> str:
    """Returns 256 random bits in hexadecimal, which need no escaping in a URL or in SQL."""
    return secrets.token_hex(32)
