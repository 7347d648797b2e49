"""Creates files of many types with real programs, in a cache folder that all runs share.

The name of the folder is a hash of the scripts that create the files.
"""

import os
import sys
from pathlib import Path

from . import apt, clients, wheels
from .console import StackError, say
from .home import REPOSITORY

_SOURCES = REPOSITORY / "integration-tests" / "file-kinds"


def folder() -> Path:
    """Returns the folder with manifest.json and files/. The first run creates it."""
    sources = sorted([*_SOURCES.glob("*.py"), *_SOURCES.glob("*.txt")])
    return clients.once("corpus", clients.hash_of(sources), _make)


def _make(target: Path) -> None:
    make, env = str(_SOURCES / "make.py"), {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    packages = clients.run("listing the packages", [sys.executable, make, "--packages"], env=env).split()
    say(f"installing {len(packages)} packages that create the files")
    if not apt.install(*packages):
        raise StackError("the files need these Debian packages: " + " ".join(packages))
    python = wheels.installed(_SOURCES / "requirements.txt", "the Python packages that create the files", "")
    say(f"creating files of many types in {target}")
    clients.run("creating the files", [str(python / "bin" / "python"), make, str(target)], env=env)
