"""A proxy that simulates a distant store: it delays each answer and limits the throughput of each request. As a program, this
module is the proxy; `start` runs it beside a stack."""

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import Dict

from stacklib.stack import Role, Stack

_ROLE = Role("distance", signal.SIGTERM, 5)
_PIECE = 256 << 10


@dataclass(frozen=True)
class Distance:
    """Latency and throughput of a store. Amazon documents 100 to 200 ms to the first byte and tens of MB/s per request for S3."""

    delay_ms: int
    mb_per_s: int = 60

    def __str__(self) -> str:
        return f"{self.delay_ms} ms to the first byte, {self.mb_per_s} MB/s per request"


def start(stack: Stack, env: Dict[str, str], port: int, endpoint: str, distance: Distance) -> str:
    """Starts the proxy. Returns its URL, through which the store is reached."""
    to = endpoint.rpartition(":")[2]
    arguments = [str(port), to, str(distance.delay_ms), str(distance.mb_per_s)]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    child = stack.start(_ROLE, [sys.executable, __file__, *arguments], {**env, **path})
    stack.wait_ready(_ROLE, child, lambda: _answers(port), 10)
    return f"http://127.0.0.1:{port}"


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class _Connection:
    """A proxied connection. Requires HTTP/1.1 without pipelining: a client sends its next request only after an answer."""

    def __init__(self, delay_s: float, bytes_per_s: float):
        self._delay_s, self._bytes_per_s = delay_s, bytes_per_s
        self._is_asked = False
        self._free_at = 0.0

    async def forward(self, reader, writer) -> None:
        while data := await reader.read(_PIECE):
            if not self._is_asked:
                self._is_asked, self._free_at = True, time.monotonic()
            await self._paced(writer, data)
        writer.close()

    async def back(self, reader, writer) -> None:
        while data := await reader.read(_PIECE):
            if self._is_asked:
                self._is_asked = False
                await asyncio.sleep(self._delay_s)
                self._free_at = time.monotonic()
            await self._paced(writer, data)
        writer.close()

    async def _paced(self, writer, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self._free_at += len(data) / self._bytes_per_s
        wait_s = self._free_at - time.monotonic()
        if wait_s > 0.001:
            await asyncio.sleep(wait_s)


async def _serve(port: int, to: int, delay_s: float, bytes_per_s: float) -> None:
    async def accept(reader, writer) -> None:
        connection = _Connection(delay_s, bytes_per_s)
        try:
            store_reader, store_writer = await asyncio.open_connection("127.0.0.1", to, limit=_PIECE)
            await asyncio.gather(connection.forward(reader, store_writer), connection.back(store_reader, writer))
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", port, limit=_PIECE)
    async with server:
        await server.serve_forever()


def _main() -> None:
    parser = argparse.ArgumentParser()
    for name, kind in (("port", int), ("to", int), ("delay_ms", float), ("mb_per_s", float)):
        parser.add_argument(name, type=kind)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    asyncio.run(_serve(given.port, given.to, given.delay_ms / 1_000, given.mb_per_s * 1e6))


if __name__ == "__main__":
    _main()
