"""Installs nats-server and weed from Python wheels, in a cache folder that all runs share.

Third parties package the wheels. They are for development only and pinned in requirements.txt.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Optional, Tuple

from . import apt, process
from .console import StackError, say
from .home import REPOSITORY, cache_folder

_REQUIREMENTS = REPOSITORY / "scripts" / "requirements.txt"
_NATS_AT_LEAST = (2, 14)


def nats_server() -> str:
    """Returns WAYBILL_NATS_SERVER, or else a new enough nats-server on the PATH, or else that of the wheel."""
    named = os.environ.get("WAYBILL_NATS_SERVER")
    found = named or shutil.which("nats-server")
    if found and _nats_version(found) >= _NATS_AT_LEAST:
        return found
    if named:
        raise StackError(f"WAYBILL_NATS_SERVER={named} is not nats-server 2.14 or newer")
    return str(_servers() / "bin" / "nats-server")


def weed() -> str:
    """Returns WAYBILL_WEED, or else that of the pinned wheel, because versions behave too differently."""
    return os.environ.get("WAYBILL_WEED") or str(_servers() / "bin" / "weed")


def _nats_version(binary: str) -> Tuple[int, ...]:
    try:
        text = subprocess.run([binary, "--version"], stdout=subprocess.PIPE, text=True).stdout
    except OSError:
        return ()
    match = re.search(r"v(\d+)\.(\d+)", text)
    return tuple(map(int, match.groups())) if match else ()


def _servers() -> Path:
    return installed(
        _REQUIREMENTS, "nats-server and weed (SeaweedFS)",
        "Set WAYBILL_NATS_SERVER and WAYBILL_WEED to your own binaries, or "
        "WAYBILL_NATS_URL and WAYBILL_S3_ENDPOINT to running servers.",
    )


def installed(requirements: Path, what: str, otherwise: str) -> Path:
    """Installs each set of pins once, in its own folder, and returns it. Concurrent runs wait for the first."""
    pins = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = cache_folder() / "venv" / pins
    folder.parent.mkdir(exist_ok=True)
    with open(folder.with_name(pins + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = folder / "complete"
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder, requirements, what, otherwise)
            complete.touch()
    return folder


def _install(folder: Path, requirements: Path, what: str, otherwise: str) -> None:
    say(f"installing {what} into {folder}, pinned by hash: for development only")
    result = process.run(
        _pip(folder) + ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps",
                        "--only-binary=:all:", "-r", str(requirements)], capture=True,
    )
    if result.returncode != 0:
        raise StackError(
            f"pip could not install {requirements.name}:\n{result.stdout.strip()}\n{otherwise}"
        )


def _pip(folder: Path) -> List[str]:
    """Returns a pip command that installs into the folder. Debian's python3 may lack venv or pip."""
    command = _venv(folder) or _target(folder)
    if command is None and apt.install("python3-venv"):
        command = _venv(folder)
    if command is None:
        raise StackError(
            f"{sys.executable} has neither venv nor pip: install one (Debian: python3-venv)"
        )
    return command


def _venv(folder: Path) -> Optional[List[str]]:
    if process.run([sys.executable, "-m", "venv", str(folder)], capture=True).returncode == 0:
        return [str(folder / "bin" / "python"), "-m", "pip", "install"]
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _target(folder: Path) -> Optional[List[str]]:
    if process.run([sys.executable, "-m", "pip", "--version"], capture=True).returncode == 0:
        return [sys.executable, "-m", "pip", "install", "--target", str(folder)]
    return None
