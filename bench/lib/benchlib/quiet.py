"""When the work is done that an upload causes, and when the machine is ready for the next one."""

import os
import time

from stacklib.console import StackError

from . import roles, usage
from .rig import Rig

_DONE_WITHIN_S = 120
_SETTLED_WITHIN_S = 60
_LOOK_S = 0.4
# Of one core. The roles look at one another now and then even when nothing happens.
_IDLE_SHARE = 0.06


def until_done(rig: Rig, within_s: float = _DONE_WITHIN_S) -> None:
    """Every event was reacted to and is in the read models, and no new one came of that."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        seq = rig.log.last_seq()
        if rig.log.unfinished_reactions() == 0 and _projected(rig, seq):
            if rig.log.last_seq() == seq and rig.log.unfinished_reactions() == 0:
                return
        rig.stack.must_live()
        time.sleep(0.02)
    raise StackError(f"Waybill was not done within {within_s:.0f} s of the last answer")


def until_settled(rig: Rig) -> None:
    """Dirty pages are on disk and no process works any more: whoever is next begins like everybody.

    A store that tidies up for longer than the limit is left to it; the spread of the runs tells.
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
