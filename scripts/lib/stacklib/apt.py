"""Debian packages, installed only where we are root and apt-get exists."""

import os
import shutil

from . import process
from .console import StackError, say


def install(*packages: str) -> bool:
    """False where installing is not ours to do; an error where it was and failed."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return False
    say(f"installing {' '.join(packages)} with apt-get")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Package lists that cannot be brought up to date may still do: only the next step decides.
    process.run([apt, "-qq", "update"], env=env, stdin="", capture=True)
    command = [apt, "-qq", "install", "--yes", "--no-install-recommends", *packages]
    result = process.run(command, env=env, stdin="", capture=True)
    if result.returncode != 0:
        raise StackError(f"apt-get install failed:\n{result.stdout.strip()}")
    return True
