"""Writes events directly into the log: sessions of many companies, each on its own subject, or files of one company."""

import base64
import json
import os
import secrets
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Callable, Dict, List, Tuple
from urllib.parse import urlsplit

from stacklib.console import StackError

# Maximum number of events that are not acknowledged yet.
_IN_FLIGHT = 2_000
_BATCH = 200
# Maximum number of uploads per event of the quota.
_TOGETHER = 64
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n'

# Subject, headers and body.
Message = Tuple[str, bytes, bytes]


@dataclass(frozen=True)
class Like:
    """A file that was uploaded in one request, as the template for other files."""

    company: str
    upload: str
    sha256: bytes
    size_bytes: int


def sessions(url: str, owners: List[Tuple[str, str]], count: int, made: Callable[[int], None]) -> None:
    """Appends `count` events `SessionOpened` of these companies and users, encoded as in schema/golden."""
    bulk, sent = _Bulk(url), 0
    while sent < count:
        batch = min(_BATCH, count - sent)
        bulk.send([_session(*owners[(sent + n) % len(owners)]) for n in range(batch)])
        sent += batch
        if sent % 100_000 < batch:
            made(sent)
    bulk.end()


def divide(url: str, partitions: int) -> None:
    """Lets `waybill provision` add streams to the existing one. All its companies must belong to partition 0."""
    api = _Api(url)
    config = api.request("STREAM.INFO.EVT-0", {})["config"]
    config["metadata"]["waybill.partitions"] = str(partitions)
    api.request("STREAM.UPDATE.EVT-0", config)


def files(url: str, like: Like, count: int, made: Callable[[int], None]) -> None:
    """Appends the events of `count` files: `FileUploaded` like that of `like`, with other ids, digests and keys. Appends a
    reservation and a settlement for every 64 files before them, so that the fold of the quota is right."""
    subject = f"evt.0.{like.company}.quota"
    api, bulk, sent = _Api(url), _Bulk(url), 0
    file, settled = api.last(f"evt.0.{like.company}.upload.{like.upload}.lc"), api.last(subject)
    reserved = api.at(int(settled.headers[_EXPECTED]))
    kinds = [event.headers["Waybill-Type"] for event in (reserved, settled, file)]
    if kinds != ["QuotaReserved", "QuotaSettled", "FileUploaded"]:
        raise StackError(f"a small file has unexpected events: {', '.join(kinds)}")
    size, until, seq = _varint(like.size_bytes), reserved.body[-6:], settled.seq
    while sent < count:
        ids = [_id() for _ in range(min(_TOGETHER, count - sent))]
        head = _varint(len(ids))
        # Each item has an id, no session and a size. The expiry is at the end of the event.
        items = b"".join(b"\x10" + one.bytes + b"\x00" + size for one in ids)
        seq = api.append(subject, reserved.encoded(_message_id(), seq), head + items + until)
        caused_by = {"Waybill-Causation": f"event:0:{seq}"}
        items = b"".join(b"\x10" + one.bytes + b"\x01" + size for one in ids)
        seq = api.append(subject, settled.encoded(_message_id(), seq), head + items)
        bulk.send([_file(file, like, one, caused_by) for one in ids])
        sent += len(ids)
        if sent % 100_000 < _TOGETHER:
            made(sent)
    bulk.end()


def _file(of_like: "_Stored", like: Like, upload: uuid.UUID, caused_by: Dict[str, str]) -> Message:
    prefix = f"o/{like.company}/{like.upload}-".encode()
    name = of_like.body.index(prefix) + len(prefix)
    body = of_like.body[:name] + uuid.uuid4().hex.encode() + of_like.body[name + 32:]
    body = body.replace(like.sha256, os.urandom(32)).replace(like.upload.encode(), str(upload).encode())
    body = body.replace(uuid.UUID(like.upload).bytes, upload.bytes)
    return f"evt.0.{like.company}.upload.{upload}.lc", of_like.encoded(caused_by, 0), body


def _message_id() -> Dict[str, str]:
    """Returns a message id. The repository takes a snapshot only if the last event has one."""
    return {"Nats-Msg-Id": uuid.uuid4().hex}


def _session(company: str, user: str) -> Message:
    session = _id()
    headers = _encoded({
        "Waybill-Type": "SessionOpened", "Waybill-Version": "1", "Waybill-Schema": "postcard/1",
        "Waybill-Time": str(_now_ms()), "Waybill-Actor": f"user:{user}", "Waybill-Causation": f"request:{session}",
        _EXPECTED: "0",
    })
    # The id of the user, and no name.
    return f"evt.0.{company}.session.{session}", headers, bytes([16]) + uuid.UUID(user).bytes + b"\0"


def _now_ms() -> int:
    return int(time.time() * 1_000)


def _id() -> uuid.UUID:
    """Returns a UUID of version 7."""
    return uuid.UUID(int=_now_ms() << 80 | 7 << 76 | 2 << 62 | int.from_bytes(os.urandom(7), "big"))


def _varint(number: int) -> bytes:
    """Encodes a number like postcard."""
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _encoded(headers: Dict[str, str]) -> bytes:
    return "".join(["NATS/1.0\r\n", *(f"{name}: {value}\r\n" for name, value in headers.items()), "\r\n"]).encode()


@dataclass(frozen=True)
class _Stored:
    seq: int
    headers: Dict[str, str]
    body: bytes

    def encoded(self, changed: Dict[str, str], expected: int) -> bytes:
        """Returns the headers for another event of the same kind."""
        kept = {name: value for name, value in self.headers.items() if not name.startswith("Nats-")}
        return _encoded({**kept, **changed, "Waybill-Time": str(_now_ms()), _EXPECTED: str(expected)})


def _connect(url: str):
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=60)
    stream = connection.makefile("rb")
    stream.readline()  # INFO
    inbox = f"_INBOX.{secrets.token_hex(8)}"
    connection.sendall(_CONNECT + f"SUB {inbox} 1\r\n".encode())
    return connection, stream, inbox


def _published(inbox: str, message: Message) -> bytes:
    subject, headers, body = message
    head = f"HPUB {subject} {inbox} {len(headers)} {len(headers) + len(body)}\r\n".encode()
    return head + headers + body + b"\r\n"


class _Api:
    """Sends requests to JetStream, one after the other."""

    def __init__(self, url: str):
        self._connection, self._stream, self._inbox = _connect(url)

    def last(self, subject: str) -> _Stored:
        return self._stored({"last_by_subj": subject})

    def at(self, seq: int) -> _Stored:
        return self._stored({"seq": seq})

    def append(self, subject: str, headers: bytes, body: bytes) -> int:
        self._connection.sendall(_published(self._inbox, (subject, headers, body)))
        return self._answer()["seq"]

    def request(self, what: str, body: dict) -> dict:
        asked = json.dumps(body).encode()
        self._connection.sendall(f"PUB $JS.API.{what} {self._inbox} {len(asked)}\r\n".encode() + asked + b"\r\n")
        return self._answer()

    def _stored(self, which: dict) -> _Stored:
        found = self.request("STREAM.MSG.GET.EVT-0", which)["message"]
        lines = base64.b64decode(found["hdrs"]).decode().split("\r\n")[1:]
        headers = dict(line.split(": ", 1) if ": " in line else line.split(":", 1) for line in lines if line)
        return _Stored(found["seq"], headers, base64.b64decode(found["data"]))

    def _answer(self) -> dict:
        for line in self._stream:
            if line.startswith(b"MSG "):
                answer = json.loads(self._stream.read(int(line.split()[-1]) + 2))
                if "error" in answer:
                    raise StackError(f"the log refused a request: {answer['error']}")
                return answer
            if line.startswith(b"PING"):
                self._connection.sendall(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                break
        raise StackError("the log did not answer")


class _Bulk:
    """Appends many events without waiting for each one."""

    def __init__(self, url: str):
        self._connection, stream, self._inbox = _connect(url)
        self._acknowledged = Acknowledged(self._connection, stream)
        self._acknowledged.start()
        self._sent = 0

    def send(self, messages: List[Message]) -> None:
        self._sent += len(messages)
        self._acknowledged.wait_for(self._sent - _IN_FLIGHT)
        self._connection.sendall(b"".join(_published(self._inbox, message) for message in messages))

    def end(self) -> None:
        self._acknowledged.wait_for(self._sent)
        self._connection.close()


class Acknowledged(threading.Thread):
    """Counts the acknowledgements of JetStream."""

    def __init__(self, connection: socket.socket, stream):
        super().__init__(daemon=True)
        self._connection, self._stream = connection, stream
        self._count, self._failed = 0, ""
        self._changed = threading.Condition()

    def run(self) -> None:
        try:
            self._read()
        except OSError:
            pass  # the connection was closed

    def _read(self) -> None:
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
                    raise StackError(f"the log does not accept events: {self._failed or 'no answer'}")
