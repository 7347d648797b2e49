"""Measures the peak memory of each process during many large, concurrent uploads."""

import shutil
from pathlib import Path

from stacklib.console import StackError, say

from . import ours, pairs, tus
from .attempt import Run, measure
from .rig import Rig
from .scenarios import Load
from .sources import Sources

# Disk space of the store per stored byte, and disk space that must stay free.
_STORE_FACTOR = 1.2
_SPARE_BYTES = 4_000_000_000
# Contestant of each scenario.
CONTESTANTS = {
    "memory": ("ours", ours.Whole), "memory-tus": ("ours-tus", tus.OursWhole), "memory-distant": ("ours", ours.Whole),
}


def run(rig: Rig, sources: Sources, scenario: str, load: Load) -> Run:
    contestant, kind = CONTESTANTS[scenario]
    file = sources.file(f"memory-{load.file_bytes >> 20}", load.file_bytes)
    [result] = measure(contestant, kind(rig, [file] * load.files))
    say(f"  {pairs.line(result)}")
    return result


def must_have_room(folder: Path, bytes_stored: int, what: str) -> None:
    needed = int(bytes_stored * _STORE_FACTOR) + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StackError(
            f"{what} needs {needed / 1e9:.0f} GB of disk in {folder}, but only {free / 1e9:.0f} GB are "
            "free: choose another folder with --folder, or smaller files with --memory-size-mib"
        )
