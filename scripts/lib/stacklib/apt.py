"""Installs Debian packages if the user is root and apt-get exists."""

import os
import shutil

from . import process
from .console import StackError, say


def install(*packages: str) -> bool:
    """Returns False if the user is not root or apt-get does not exist. Raises an error if the installation fails."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return False
    say(f"installing {' '.join(packages)} with apt-get")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Old package lists may be sufficient, so only the next step can fail.
    process.run([apt, "-qq", "update"], env=env, stdin="", capture=True)
    command = [apt, "-qq", "install", "--yes", "--no-install-recommends", *packages]
    result = process.run(command, env=env, stdin="", capture=True)
    if result.returncode != 0:
        raise StackError(f"apt-get install failed:\n{result.stdout.strip()}")
    return True
