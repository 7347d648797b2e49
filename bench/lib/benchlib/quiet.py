"""Waits until the work that an upload causes is done, and until the machine is ready for the next run."""

import os
import time

from stacklib.console import StackError

from . import roles, usage
from .rig import Rig

_DONE_WITHIN_S = 120
_SETTLED_WITHIN_S = 60
_LOOK_S = 0.4
# Share of one core. The roles also do some periodic work when they are idle.
_IDLE_SHARE = 0.06


def until_done(rig: Rig, within_s: float = _DONE_WITHIN_S) -> None:
    """Waits until the workers have reacted to all events and the read model contains them, without new events."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        seq = rig.log.last_seq()
        if rig.log.unfinished_reactions() == 0 and _projected(rig, seq):
            if rig.log.last_seq() == seq and rig.log.unfinished_reactions() == 0:
                return
        rig.stack.must_live()
        time.sleep(0.02)
    raise StackError(f"Waybill was still working {within_s:.0f} s after the last answer")


def until_settled(rig: Rig) -> None:
    """Waits until dirty pages are on disk and all processes are idle, so that every run begins under the same conditions.

    If the store is still busy after the time limit, the run begins anyway. The spread of the results then shows it.
    """
    os.sync()
    groups = rig.stack.pids()
    deadline = time.monotonic() + _SETTLED_WITHIN_S
    while time.monotonic() < deadline:
        before = usage.busy(groups)
        time.sleep(_LOOK_S)
        if usage.busy(groups) - before < _IDLE_SHARE * _LOOK_S:
            return


def _projected(rig: Rig, seq: int) -> bool:
    headers = {"Authorization": f"Bearer {rig.observer}", "Waybill-Min-Position": f"0:{seq}"}
    return roles.answers(f"{rig.url}/v1/files?limit=1", headers=headers)
