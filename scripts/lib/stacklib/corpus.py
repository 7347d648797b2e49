"""Files of all kinds, made by real programs into a folder of the cache that all runs share.

The folder is named after the hash of the scripts that make the files.
"""

import os
import sys
from pathlib import Path

from . import apt, clients, wheels
from .console import StackError, say
from .home import REPOSITORY

_SOURCES = REPOSITORY / "integration-tests" / "file-kinds"


def folder() -> Path:
    """The folder with manifest.json and files/; made by the first run that asks for it."""
    sources = sorted([*_SOURCES.glob("*.py"), *_SOURCES.glob("*.txt")])
    return clients.once("corpus", clients.hash_of(sources), _make)


def _make(target: Path) -> None:
    make, env = str(_SOURCES / "make.py"), {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    packages = clients.run("asking for packages", [sys.executable, make, "--packages"], env=env).split()
    say(f"installing {len(packages)} packages that make files")
    if not apt.install(*packages):
        raise StackError("the files need these Debian packages: " + " ".join(packages))
    python = wheels.installed(_SOURCES / "requirements.txt", "what makes files", "")
    say(f"making files of all kinds in {target}")
    clients.run("making files", [str(python / "bin" / "python"), make, str(target)], env=env)
