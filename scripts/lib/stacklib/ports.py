"""Free loopback ports that two runs started at the same moment do not share.

Asking the kernel for any free port and closing it again invites a second run, or any outgoing
connection, to take it before the server has bound it. So ports come from below the ephemeral
range, and a run holds the lock of the block that it picks from until it ends.

`weed` puts the gRPC port of a part 10,000 above its HTTP port and in places relies on that, so
each port handed out has a free twin there.
"""

import fcntl
import random
import socket
from typing import Optional

from .console import StackError, say
from .home import cache_folder
from .settings import Settings

TWIN_OFFSET = 10_000
_FIRST_PORT, _BLOCK_SIZE, _BLOCKS = 11_000, 20, 500


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections of the last run that linger in TIME_WAIT do not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _is_usable(port: int) -> bool:
    return is_free(port) and is_free(port + TWIN_OFFSET)


class Ports:
    """Hands out ports of one locked block; the lock lives as long as the object."""

    def __init__(self):
        folder = cache_folder() / "ports"
        folder.mkdir(exist_ok=True)
        for block in random.SystemRandom().sample(range(_BLOCKS), _BLOCKS):
            self._lock = open(folder / str(block), "w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
                continue
            first = _FIRST_PORT + block * _BLOCK_SIZE
            self._candidates = iter(range(first, first + _BLOCK_SIZE))
            return
        raise StackError("every block of ports is taken by another run of these scripts")

    def pick(self) -> int:
        for port in self._candidates:
            if _is_usable(port):
                return port
        raise StackError("no free ports left in this run's block; try again")

    def remembered(self, settings: Settings, name: str, purpose: str) -> int:
        """Yesterday's port, so that addresses stay the same; another one where it is taken."""
        kept: Optional[str] = settings.kept(name)
        if kept and _is_usable(int(kept)):
            return int(kept)
        port = self.pick()
        if kept:
            say(f"port {kept} of {purpose} is taken by another program: using {port} from now on")
        settings.keep(name, str(port))
        return port
