"""Finds clamd, the virus scanner, or installs it if the user is root on a Debian-like system."""

import os
import shutil
from typing import Optional

from . import apt
from .console import StackError


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
