"""Picks free loopback ports that concurrent runs do not share.

If a run asked the kernel for a free port and closed it again, another run or any outgoing connection
could take the port before the server binds it. Therefore ports come from below the ephemeral range,
and a run locks the block of its ports until it ends.

`weed` uses the HTTP port of a part plus 10,000 for gRPC and partly relies on that. Therefore the port
10,000 above each picked port is free as well.
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
        # Connections of the previous run in TIME_WAIT do not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _is_usable(port: int) -> bool:
    return is_free(port) and is_free(port + TWIN_OFFSET)


class Ports:
    """Picks ports from one locked block. The lock lasts as long as the object."""

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
        """Returns the port of the previous run, so that addresses stay the same, or a new port if it is taken."""
        kept: Optional[str] = settings.kept(name)
        if kept and _is_usable(int(kept)):
            return int(kept)
        port = self.pick()
        if kept:
            say(f"port {kept} of {purpose} is taken by another program: using {port} from now on")
        settings.keep(name, str(port))
        return port
