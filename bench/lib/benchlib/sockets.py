"""Measures CPU and memory of the fan-out for WebSocket connections: while it accepts them, while they are idle, and after each
has subscribed to an upload."""

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import resource
import time
import uuid
from dataclasses import dataclass
from typing import List, Tuple
from urllib.parse import urlsplit

from stacklib import waybill
from stacklib.console import StackError, say

from . import quiet
from .progress import CLOSE, PING, PONG, TEXT, frame, handshake, subscription
from .rig import Rig
from .usage import busy, resident_kib

# Connections per user: the limit of the fan-out.
_OF_USER = 8
_AT_ONCE = 64
_IDLE_S = 60
# File descriptors in addition to those of the connections.
_MORE_FILES = 500


@dataclass
class Sockets:
    """CPU of the fan-out in ms per connection or as a share of one core, and the memory that each connection added in KiB."""

    connections: int
    accept_ms: float
    accept_s: float
    idle_core: float
    base_core: float
    idle_kib: float
    subscribed_kib: float
    subscribed_core: float


def measure(rig: Rig, connections: int) -> Sockets:
    _raise_limit(connections + _MORE_FILES)
    users = _users(rig, -(-connections // _OF_USER))
    quiet.until_done(rig)
    return asyncio.run(_measure(rig, users, connections))


def _raise_limit(files: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        raise StackError(f"{files} open files are needed, but only {hard} are allowed: raise `ulimit -Hn` or lower --sockets")
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


def _users(rig: Rig, count: int) -> List[Tuple[str, str]]:
    """Returns tokens of users of one company, and an upload of each user."""
    company = str(uuid.uuid4())
    like = waybill.token(rig.program, rig.env, company, str(uuid.uuid4()), roles=())
    users, connection = [], http.client.HTTPConnection(urlsplit(rig.url).netloc, timeout=30)
    say(f"  {count:,} users")
    for _ in range(count):
        token = _of_user(like, str(uuid.uuid4()), rig.env["WAYBILL_JWT_HS256_SECRET"])
        body = json.dumps({"name": "a.bin", "size_bytes": 10, "mime_type": ""})
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/uploads", body, headers)
        answer = connection.getresponse()
        made = json.loads(answer.read())
        if answer.status != 201:
            raise StackError(f"cannot start an upload: {made}")
        users.append((token, made["upload_id"]))
    return users


def _of_user(token: str, user: str, secret: str) -> str:
    """Returns the same token for another user (RFC 7519, HS256)."""
    head, claims, _ = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    said["sub"] = user
    signed = f"{head}.{_base64url(json.dumps(said).encode())}"
    return f"{signed}.{_base64url(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def _measure(rig: Rig, users: List[Tuple[str, str]], connections: int) -> Sockets:
    pid = rig.stack.pids()["fanout"]
    address = urlsplit(f"http://{rig.env['WAYBILL_FANOUT_ADDR']}").netloc
    base_core = await _share(pid)
    before_kib, before_s, began = resident_kib(pid), _cpu_s(pid), time.perf_counter()
    whose = [users[number // _OF_USER] for number in range(connections)]
    turns = asyncio.Semaphore(_AT_ONCE)
    opened = await asyncio.gather(*(_open(address, token, turns) for token, _ in whose))
    accept_s = time.perf_counter() - began
    accept_ms = (_cpu_s(pid) - before_s) * 1_000 / connections
    listeners = [asyncio.create_task(socket.listen()) for socket in opened]
    say(f"  {connections:,} connections; idle for {_IDLE_S} s")
    idle_core = await _share(pid)
    idle_kib = (resident_kib(pid) - before_kib) / connections
    for number in range(0, connections, _AT_ONCE):
        group = range(number, min(number + _AT_ONCE, connections))
        await asyncio.gather(*(opened[n].subscribe(f"upload:{whose[n][1]}") for n in group))
    say(f"  all subscribed; idle for {_IDLE_S} s")
    subscribed_core = await _share(pid)
    subscribed_kib = (resident_kib(pid) - before_kib) / connections
    ended = [task for task in listeners if task.done()]
    if ended:
        raise StackError(f"{len(ended)} connections ended: {ended[0].exception()}")
    for task in listeners:
        task.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    for socket in opened:
        socket.close()
    return Sockets(connections, accept_ms, accept_s, idle_core, base_core, idle_kib, subscribed_kib, subscribed_core)


async def _share(pid: int) -> float:
    before, began = _cpu_s(pid), time.perf_counter()
    await asyncio.sleep(_IDLE_S)
    return (_cpu_s(pid) - before) / (time.perf_counter() - began)


def _cpu_s(pid: int) -> float:
    return busy({"fanout": pid})


async def _open(address: str, token: str, turns: asyncio.Semaphore) -> "_Socket":
    async with turns:
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 14)
        writer.write(handshake(address, token))
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise StackError(f"no WebSocket: {head[:200]!r}")
        socket = _Socket(reader, writer)
        if json.loads((await socket.frame())[1])["t"] != "hello":
            raise StackError("the fan-out did not send `hello`")
        return socket


class _Socket:
    """A WebSocket client (RFC 6455) that answers pings."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader, self._writer = reader, writer
        self._snapshot: "asyncio.Future[str]" = asyncio.get_running_loop().create_future()

    async def frame(self) -> Tuple[int, bytes]:
        first, length = await self._reader.readexactly(2)
        if length == 126:
            length = int.from_bytes(await self._reader.readexactly(2), "big")
        elif length == 127:
            length = int.from_bytes(await self._reader.readexactly(8), "big")
        return first & 0x0F, await self._reader.readexactly(length)

    async def listen(self) -> None:
        while True:
            kind, payload = await self.frame()
            if kind == PING:
                self._writer.write(frame(PONG, payload))
            elif kind == CLOSE:
                raise StackError(f"a connection was closed: {payload!r}")
            elif kind == TEXT and not self._snapshot.done():
                self._snapshot.set_result(json.loads(payload)["t"])

    async def subscribe(self, topic: str) -> None:
        self._writer.write(subscription(topic))
        if (answer := await asyncio.wait_for(self._snapshot, 30)) != "snap":
            raise StackError(f"no snapshot: {answer}")

    def close(self) -> None:
        self._writer.close()
