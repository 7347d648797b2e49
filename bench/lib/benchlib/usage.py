"""CPU time and peak memory of processes, from /proc.

A group is a process with all its descendants. PostgreSQL works in child processes, some of which end between two readings. The
parent's counters for waited-for children include the CPU time of those.
"""

import os
import resource
from pathlib import Path
from typing import Dict, List

from stacklib.console import StackError

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Meter:
    """Measures what each group uses between start() and stop()."""

    def __init__(self, groups: Dict[str, int]):
        self._groups = groups

    def start(self) -> None:
        self.peaks_reset = all([_reset_peak(pid) for pid in self._groups.values()])
        self._cpu = self._read_cpu()

    def stop(self) -> "Usage":
        after = self._read_cpu()
        cpu_s = {name: round(after[name] - self._cpu[name], 3) for name in after}
        peaks = {name: _peak_kib(pid) for name, pid in self._groups.items()}
        return Usage(cpu_s, peaks, self.peaks_reset)

    def _read_cpu(self) -> Dict[str, float]:
        children = _children()
        cpu = {name: group_cpu_s(pid, children) for name, pid in self._groups.items()}
        if "all" in self._groups:
            cpu["gateway+worker"] = _threads_cpu_s(self._groups["all"], "actix-server")
        # curl is the only child process that is waited for between start() and stop().
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu["curl"] = used.ru_utime + used.ru_stime
        return cpu


class Usage:
    def __init__(self, cpu_s: Dict[str, float], peak_kib: Dict[str, int], peaks_reset: bool):
        self.cpu_s = cpu_s
        self.peak_kib = peak_kib
        self.peaks_reset = peaks_reset


def group_cpu_s(pid: int, children: Dict[int, List[int]]) -> float:
    ticks, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        waiting += children.get(one, [])
        ticks += _ticks(one)
    return ticks / _TICKS_PER_S


def _threads_cpu_s(pid: int, name: str) -> float:
    """CPU seconds of the threads of a process whose names begin with `name`. The threads of the HTTP server carry bodies from
    the client to the store. Reactions, projector, fan-out and the NATS client have other threads."""
    ticks = 0
    for folder in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text()
        except OSError:
            continue
        head, _, tail = text.rpartition(")")
        if head.partition("(")[2].startswith(name):
            ticks += sum(int(field) for field in tail.split()[11:13])
    return ticks / _TICKS_PER_S


def busy(groups: Dict[str, int]) -> float:
    """CPU seconds of all groups so far."""
    children = _children()
    return sum(group_cpu_s(pid, children) for pid in groups.values())


def _ticks(pid: int) -> int:
    fields = _stat(pid)
    # utime, stime, cutime and cstime are fields 14 to 17. `fields` begins with field 3, after the name.
    return sum(int(field) for field in fields[11:15]) if fields else 0


def _children() -> Dict[int, List[int]]:
    found: Dict[int, List[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(folder.name))
        if fields:
            found.setdefault(int(fields[1]), []).append(int(folder.name))
    return found


def _stat(pid: int) -> List[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _reset_peak(pid: int) -> bool:
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def resident_kib(pid: int) -> int:
    return _memory_kib(pid, "VmRSS")


def _peak_kib(pid: int) -> int:
    return _memory_kib(pid, "VmHWM")


def _memory_kib(pid: int, which: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        raise StackError(f"process {pid} ended during the measurement") from None
    return int(status.partition(f"{which}:")[2].split(None, 1)[0])
