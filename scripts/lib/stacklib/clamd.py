"""Finds clamd, the virus scanner, starts it, or installs it for tests if the user is root on a Debian-like system."""

import os
import shutil
from pathlib import Path
from typing import Optional

from . import apt
from .console import StackError
from .stack import CLAMD, Stack

# The folder of signatures in all packages.
_DATABASE = Path("/var/lib/clamav")
_CONFIG = """\
Foreground yes
DatabaseDirectory {database}
TemporaryDirectory {temporary}
TCPSocket {port}
TCPAddr 127.0.0.1
StreamMaxLength 100M
MaxFileSize 100M
MaxScanSize 400M
AlertExceedsMax yes
AlertEncrypted yes
MaxThreads 24
"""


def find() -> Optional[str]:
    """Returns the path of clamd, or nothing if it is not installed."""
    return shutil.which("clamd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def program() -> str:
    """Returns the path of clamd. Installs it if necessary."""
    found = find()
    if found is None and apt.install("clamav-daemon"):
        found = find()
    if found is None:
        raise StackError("clamd is needed. Install it (Debian, Ubuntu: apt-get install clamav-daemon; "
                         "Fedora: dnf install clamd; macOS: brew install clamav), or set WAYBILL_TEST_CLAMD.")
    return found


def has_signatures() -> bool:
    return any(_DATABASE.glob("*.c[vl]d"))


def start(stack: Stack, clamd: str, folder: Path, port: int, signatures: Path = _DATABASE) -> str:
    """Starts clamd and returns its address. It loads its signatures for some time, and Waybill waits for it."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    config = folder / "clamd.conf"
    config.write_text(_CONFIG.format(database=signatures, temporary=temporary, port=port))
    stack.start(CLAMD, [clamd, "--config-file", str(config)])
    return f"tcp:127.0.0.1:{port}"
