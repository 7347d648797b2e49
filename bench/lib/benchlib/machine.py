"""Describes the hardware and the versions of the programs, without names of the machine."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Dict

from stacklib import pgfind, wheels

from . import peer, tusd


def describe(program: Path) -> Dict[str, str]:
    node = shutil.which("node")
    return {
        "CPU": _cpu(),
        "cores": str(os.cpu_count()),
        "RAM": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "kernel": f"{os.uname().sysname} {os.uname().release.partition('-')[0]}",
        "waybill": _version([str(program), "--version"]),
        "nats-server": _version([wheels.nats_server(), "--version"]),
        "PostgreSQL": _version([str(pgfind.programs() / "postgres"), "--version"]),
        "SeaweedFS": _version([wheels.weed(), "version"]),
        "node": _version([node, "--version"]) if node else "none",
        "tus": peer.version(),
        "tusd": tusd.VERSION,
        "curl": _version(["curl", "--version"]),
    }


def _cpu() -> str:
    match = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return match.group(1).strip() if match else os.uname().machine


def _version(command) -> str:
    """Returns the first number with a dot in the output of a command."""
    answer = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    match = re.search(r"\d+\.\d+(\.\d+)*", answer.stdout)
    return match.group(0) if match else "unknown"
