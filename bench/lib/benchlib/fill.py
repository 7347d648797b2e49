"""Events of other companies, written straight into the log: sessions that were opened, each on a subject of its own."""

import os
import secrets
import socket
import threading
import time
import uuid
from typing import Callable, List, Tuple
from urllib.parse import urlsplit

from stacklib.console import StackError

# How many events may be on their way without an acknowledgement.
_IN_FLIGHT = 2_000
_BATCH = 200


def sessions(url: str, owners: List[Tuple[str, str]], count: int, made: Callable[[int], None]) -> None:
    """Appends `count` events of these companies and users (`SessionOpened`, as schema/golden has it)."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        stream = connection.makefile("rb")
        stream.readline()  # INFO
        inbox = f"_INBOX.{secrets.token_hex(8)}"
        connection.sendall(
            f'CONNECT {{"verbose":false,"pedantic":false,"headers":true}}\r\nSUB {inbox} 1\r\n'.encode())
        acknowledged = _Acknowledged(connection, stream)
        acknowledged.start()
        sent = 0
        while sent < count:
            batch = min(_BATCH, count - sent)
            acknowledged.wait_for(sent + batch - _IN_FLIGHT)
            connection.sendall(b"".join(_message(inbox, *owners[(sent + n) % len(owners)]) for n in range(batch)))
            sent += batch
            if sent % 100_000 < batch:
                made(sent)
        acknowledged.wait_for(count)


def _message(inbox: str, company: str, user: str) -> bytes:
    now_ms = int(time.time() * 1_000)
    session = uuid.UUID(int=now_ms << 80 | 7 << 76 | 2 << 62 | int.from_bytes(os.urandom(7), "big"))
    headers = (
        "NATS/1.0\r\nWaybill-Type: SessionOpened\r\nWaybill-Version: 1\r\nWaybill-Schema: postcard/1\r\n"
        f"Waybill-Time: {now_ms}\r\nWaybill-Actor: user:{user}\r\nWaybill-Causation: request:{session}\r\n"
        "Nats-Expected-Last-Subject-Sequence: 0\r\n\r\n"
    ).encode()
    # The user's id; no name.
    body = bytes([16]) + uuid.UUID(user).bytes + b"\0"
    subject = f"evt.0.{company}.session.{session}"
    head = f"HPUB {subject} {inbox} {len(headers)} {len(headers) + len(body)}\r\n".encode()
    return head + headers + body + b"\r\n"


class _Acknowledged(threading.Thread):
    def __init__(self, connection: socket.socket, stream):
        super().__init__(daemon=True)
        self._connection, self._stream = connection, stream
        self._count, self._failed = 0, ""
        self._changed = threading.Condition()

    def run(self) -> None:
        for line in self._stream:
            if line.startswith(b"MSG "):
                answer = self._stream.read(int(line.split()[-1]) + 2)
                with self._changed:
                    self._count += 1
                    if b'"error"' in answer:
                        self._failed = answer.decode()
                    self._changed.notify()
            elif line.startswith(b"PING"):
                self._connection.sendall(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                self._failed = line.decode()

    def wait_for(self, count: int) -> None:
        with self._changed:
            while self._count < count:
                if self._failed or not self._changed.wait(60):
                    raise StackError(f"the log does not take events: {self._failed or 'no answer'}")
