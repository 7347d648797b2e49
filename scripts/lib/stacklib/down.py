"""`scripts/down`: stops the stack of `$WAYBILL_HOME`, whether it is detached or runs in a terminal."""

import signal

from . import servers, stack as stacks, weed
from .console import say
from .home import Home
from .process import Child
from .settings import Settings

# Maximum time in seconds that a supervising `up` needs to stop its children one after another.
_SUPERVISOR_GRACE_S = 90


def main() -> int:
    home = Home.from_environment()
    supervisor = Child.from_pid_file("up", home.run / "up.pid")
    children = stacks.recorded(home.run)
    if supervisor is None and not children:
        say(f"no stack is running with {home.root}")
        return 0
    if supervisor is not None:
        supervisor.stop(signal.SIGTERM, _SUPERVISOR_GRACE_S)
        children = stacks.recorded(home.run)
    stacks.stop_children(children)
    _remove_sockets(Settings(home.env_file))
    say(f"stopped the stack of {home.root}")
    return 0


def _remove_sockets(settings: Settings) -> None:
    kept = {part: settings.kept(servers.weed_port_name(part)) for part in weed.PARTS}
    weed.remove_sockets({part: int(port) for part, port in kept.items() if port})
