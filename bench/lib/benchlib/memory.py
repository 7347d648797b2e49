"""How much memory many large uploads at once take: the peak of each process."""

import shutil
from pathlib import Path

from stacklib.console import StackError, say

from . import ours, pairs
from .attempt import Run, measure
from .rig import Rig
from .scenarios import Sizes
from .sources import Sources

# What the store takes beside the bytes, and what should be left over for everybody else.
_STORE_FACTOR = 1.2
_SPARE_BYTES = 4_000_000_000


def run(rig: Rig, sources: Sources, sizes: Sizes) -> Run:
    file = sources.file(f"memory-{sizes.memory_bytes >> 20}", sizes.memory_bytes)
    result = measure("ours", ours.Whole(rig, [file] * sizes.memory_files))
    say(f"  {pairs.line(result)}")
    return result


def must_have_room(folder: Path, bytes_stored: int, what: str) -> None:
    needed = int(bytes_stored * _STORE_FACTOR) + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StackError(
            f"{what} needs {needed / 1e9:.0f} GB of disk in {folder}, {free / 1e9:.0f} GB are "
            "free: choose another place with --folder, or smaller files with --memory-size-mib"
        )
