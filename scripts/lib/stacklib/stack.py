"""Manages several servers as one stack: starts them in order, watches them, and stops them in reverse order."""

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional

from . import interrupts, process
from .console import StackError, say, tail
from .process import Child, User


@dataclass(frozen=True)
class Role:
    """Name of a server, the signal that stops it, and the time that it may take, in seconds."""

    name: str
    stop_signal: signal.Signals
    grace_s: float


POSTGRES = Role("postgres", signal.SIGINT, 20)  # SIGINT is its fast shutdown; SIGTERM waits for clients
NATS = Role("nats", signal.SIGTERM, 15)
WEED = Role("weed", signal.SIGTERM, 15)
CLAMD = Role("clamd", signal.SIGTERM, 10)
WAYBILL = Role("waybill", signal.SIGTERM, 30)

START_ORDER = (POSTGRES, NATS, WEED, CLAMD, WAYBILL)


class Stack:
    """Child processes of this run. Tethered children end with this process, and detached children continue."""

    def __init__(self, run_folder: Path, log_folder: Path, *, tethered: bool = True):
        self._run_folder = run_folder
        self._log_folder = log_folder
        self._tethered = tethered
        self._children: List[Child] = []
        self._after_stop: List[Callable[[], None]] = []

    def log(self, role: Role) -> Path:
        return self._log_folder / f"{role.name}.log"

    def start(
        self, role: Role, argv: List[str], env: Optional[Dict[str, str]] = None,
        run_as: Optional[User] = None,
    ) -> Child:
        log = self.log(role)
        if log.exists():
            log.replace(log.with_suffix(".log.old"))
        with interrupts.uninterrupted():
            child = process.start(
                role.name, argv, env=dict(os.environ) if env is None else env,
                log=log, pid_file=_pid_file(self._run_folder, role),
                tether=role.stop_signal if self._tethered else None, run_as=run_as,
            )
            self._children.append(child)
        return child

    def wait_ready(self, role: Role, child: Child, probe: Callable[[], bool], limit_s: float):
        """Waits until the probe succeeds. Raises an error with the log if the child ends or the time limit passes."""
        deadline = time.monotonic() + limit_s
        while child.is_alive():
            if probe():
                return
            if time.monotonic() > deadline:
                raise StackError(
                    f"{role.name} was not ready within {limit_s:.0f} s:\n{tail(self.log(role))}"
                )
            time.sleep(0.05)
        raise StackError(f"{role.name} ended while starting:\n{tail(self.log(role))}")

    def watch(self) -> None:
        """Waits until a child ends, and raises an error then. A signal interrupts the wait."""
        while True:
            for child in self._children:
                if not child.is_alive():
                    code = child.popen.returncode
                    log = self._log_folder / f"{child.name}.log"
                    raise StackError(f"{child.name} died (exit code {code}):\n{tail(log)}")
            time.sleep(0.5)

    @contextmanager
    def stopped_on_error(self):
        """Stops the stack if an exception or a signal ends this block."""
        try:
            yield self
        except BaseException:
            self.stop()
            raise

    def after_stop(self, action: Callable[[], None]) -> None:
        self._after_stop.append(action)

    def stop(self) -> None:
        interrupts.ignore()
        stop_children({child.name: child for child in self._children})
        for action in self._after_stop:
            action()


def recorded(run_folder: Path) -> Dict[str, Child]:
    """Returns the running servers according to their pid files."""
    found = {r.name: Child.from_pid_file(r.name, _pid_file(run_folder, r)) for r in START_ORDER}
    return {name: child for name, child in found.items() if child is not None}


def died(run_folder: Path) -> List[str]:
    """Returns the names of servers that ended without being stopped."""
    alive = recorded(run_folder)
    return [r.name for r in START_ORDER if r.name not in alive and _pid_file(run_folder, r).exists()]


def stop_children(children: Dict[str, Child]) -> None:
    for role in reversed(START_ORDER):
        child = children.get(role.name)
        if child is None:
            continue
        if not child.stop(role.stop_signal, role.grace_s):
            say(f"{role.name} did not stop within {role.grace_s:.0f} s and was killed")


def _pid_file(run_folder: Path, role: Role) -> Path:
    return run_folder / f"{role.name}.pid"
