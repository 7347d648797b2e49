"""Starts a child process with a log and a pid file, finds it again, and stops it.

The system reuses pids. Therefore a pid file also contains the start time of the process, and a
process with another start time is never signalled.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional

from . import interrupts
from .console import StackError

_POLL_S = 0.05


@dataclass(frozen=True)
class User:
    """User of a child that does not run as the caller."""

    name: str
    uid: int
    gid: int


def start_time(pid: int) -> Optional[str]:
    """Returns the start time of a process in the format of the system, or None if it has ended or is a zombie.

    Detached children stay zombies after they are stopped if process 1 of a container does not reap them.
    """
    if sys.platform == "linux":
        try:
            # The name in parentheses may contain any character, so the fields are counted after it.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] == "Z" else fields[19]
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], stdout=subprocess.PIPE, text=True
    ).stdout.split(None, 1)
    return None if len(answer) < 2 or answer[0].startswith("Z") else answer[1].strip()


@dataclass
class Child:
    name: str
    pid: int
    started: str
    pid_file: Path
    popen: Optional[subprocess.Popen] = None

    @classmethod
    def from_pid_file(cls, name: str, pid_file: Path) -> Optional["Child"]:
        """Returns the process of a pid file if it still runs."""
        try:
            pid, started = pid_file.read_text().split("\n", 1)
            child = cls(name, int(pid), started.strip(), pid_file)
        except (FileNotFoundError, ValueError):
            return None
        return child if child.is_alive() else None

    def is_alive(self) -> bool:
        if self.popen is not None:
            return self.popen.poll() is None
        return start_time(self.pid) == self.started

    def stop(self, how: signal.Signals, grace_s: float) -> bool:
        """Sends `how`, waits, and then kills the process. Returns False if the process had to be killed."""
        asked_sufficed = self._signal_and_wait(how, grace_s)
        if not asked_sufficed:
            self._signal_and_wait(signal.SIGKILL, 5)
        self.pid_file.unlink(missing_ok=True)
        return asked_sufficed

    def _signal_and_wait(self, number: signal.Signals, wait_s: float) -> bool:
        deadline = time.monotonic() + wait_s
        if self.is_alive():
            os.kill(self.pid, number)
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True


def start(
    name: str, argv: List[str], *, env: Dict[str, str], log: Path, pid_file: Path,
    tether: Optional[signal.Signals], run_as: Optional[User] = None,
) -> Child:
    """Starts a server in a new session, so that Ctrl-C reaches only this script, which stops the servers in order."""
    with interrupts.uninterrupted(), open(log, "ab") as output:
        popen = subprocess.Popen(
            argv, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_tether(tether),
            **_as_user(run_as),
        )
        child = Child(name, popen.pid, start_time(popen.pid) or "gone", pid_file, popen)
        pid_file.write_text(f"{child.pid}\n{child.started}\n")
    return child


def run(
    argv: List[str], *, env: Optional[Dict[str, str]] = None, cwd: Optional[Path] = None,
    stdin: Optional[str] = None, capture: bool = False, quiet: bool = False,
    run_as: Optional[User] = None,
) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end. If interrupted, also ends all processes of its group.

    `capture` returns the output, including errors. `quiet` discards errors.
    """
    popen = None
    try:
        with interrupts.uninterrupted():
            popen = subprocess.Popen(
                argv, env=env, cwd=cwd, text=True, start_new_session=True,
                stdin=subprocess.PIPE if stdin is not None else None,
                stdout=subprocess.PIPE if capture else None,
                stderr=subprocess.DEVNULL if quiet else subprocess.STDOUT if capture else None,
                preexec_fn=_tether(signal.SIGTERM), **_as_user(run_as),
            )
        output, _ = popen.communicate(stdin)
        return subprocess.CompletedProcess(argv, popen.returncode, output)
    except FileNotFoundError:
        raise StackError(f"{argv[0]} was not found") from None
    finally:
        if popen is not None:
            _end_group(popen)


def _end_group(popen: subprocess.Popen) -> None:
    """Ends the process group of a command, because a killed test can leave servers behind."""
    if popen.poll() is None:
        os.killpg(popen.pid, signal.SIGTERM)
        try:
            popen.wait(5)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(popen.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    popen.wait()


def _as_user(user: Optional[User]) -> dict:
    return {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}


def _tether(number: Optional[signal.Signals]):
    """Makes the kernel signal the child if this process is killed. Works only on Linux."""
    if number is None or sys.platform != "linux":
        return None
    libc, set_parent_death_signal = ctypes.CDLL(None, use_errno=True), 1
    return lambda: libc.prctl(set_parent_death_signal, int(number), 0, 0, 0)
