"""The upload clients of integration-tests/clients, in folders of the cache that all runs share.

A folder is named after the hash of the lock file, and so is made once; a run that finds another
one making it waits.
"""

import fcntl
import hashlib
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterable

from . import apt, process
from .console import StackError, say
from .home import REPOSITORY, cache_folder

_SOURCES = REPOSITORY / "integration-tests" / "clients"
_PACKAGES = ("package.json", "package-lock.json", ".npmrc")
_REQUIREMENTS = _SOURCES / "tuspy" / "requirements.txt"


def environment() -> Dict[str, str]:
    """What the integration tests need to know to run every client."""
    folder = node_clients()
    return {
        "WAYBILL_TEST_NODE": _node(),
        "WAYBILL_TEST_TUS_JS": str(folder / "tus-js.mjs"),
        "WAYBILL_TEST_BROWSER": str(folder / "browser.mjs"),
        "WAYBILL_TEST_CHROMIUM": chromium(),
        "WAYBILL_TEST_TUSPY_PYTHON": str(tuspy_python()),
        "WAYBILL_TEST_TUSPY": str(_SOURCES / "tuspy" / "tuspy_client.py"),
    }


def node_clients() -> Path:
    """The folder of tus-js.mjs and browser.mjs.

    It lies inside the folder of their packages, where Node finds these, and has a name of its own:
    checkouts with other scripts but the same lock file share the packages.
    """
    _node()
    packages = _once("clients", _hash(_SOURCES / name for name in _PACKAGES), _install_packages)
    sources = [*sorted(_SOURCES.glob("*.mjs")), *sorted((_SOURCES / "uppy").glob("*.*"))]
    return _once(packages.relative_to(cache_folder()), _hash(sources), _copy_sources(sources))


def tuspy_python() -> Path:
    """The interpreter that has tuspy."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    folder = _once("tuspy", f"{_hash([_REQUIREMENTS])}-{version}", _install_tuspy)
    return folder / "bin" / "python"


def chromium() -> str:
    """WAYBILL_CHROMIUM, else the one on the PATH, else Debian's package, installed now."""
    named = os.environ.get("WAYBILL_CHROMIUM")
    if named:
        return named
    with _locked(cache_folder() / "chromium"):
        found = shutil.which("chromium")
        if found is None and apt.install("chromium"):
            found = shutil.which("chromium")
    if found is None:
        raise StackError("the browser tests need chromium: install it or set WAYBILL_CHROMIUM")
    return found


def _node() -> str:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise StackError("the JavaScript clients need node and npm")
    return node


def _install_packages(folder: Path) -> None:
    say(f"installing tus-js-client and Uppy into {folder}")
    folder.mkdir()
    for name in _PACKAGES:
        shutil.copyfile(_SOURCES / name, folder / name)
    command = ["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
    _run("npm ci", command, cwd=folder)


def _copy_sources(sources: Iterable[Path]) -> Callable[[Path], None]:
    def copy(folder: Path) -> None:
        for source in sources:
            target = folder / source.relative_to(_SOURCES)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return copy


def _install_tuspy(folder: Path) -> None:
    say(f"installing tuspy into {folder}")
    make = [sys.executable, "-m", "venv", str(folder)]
    if process.run(make, capture=True).returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        apt.install("python3-venv")
        _run("python3 -m venv", make)
    _run("pip install", [
        str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet",
        "--disable-pip-version-check", "--require-hashes", "--no-deps", "--only-binary=:all:",
        "-r", str(_REQUIREMENTS),
    ])


def _run(what: str, command: Iterable[str], **more) -> None:
    result = process.run(list(command), stdin="", capture=True, **more)
    if result.returncode != 0:
        raise StackError(f"{what} failed:\n{result.stdout.strip()}")


def _once(kind, name: str, make: Callable[[Path], None]) -> Path:
    """The folder of this name, made if no run has done so to its end."""
    folder = cache_folder() / kind / name
    folder.parent.mkdir(exist_ok=True)
    with _locked(folder):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            (folder / "complete").touch()
    return folder


@contextmanager
def _locked(path: Path):
    with open(path.with_name(path.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hash(files: Iterable[Path]) -> str:
    """Of names and contents: a renamed file is another set."""
    total = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        total.update(f"{file.name} {len(content)}\n".encode() + content)
    return total.hexdigest()[:12]
