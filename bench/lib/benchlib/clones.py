"""Copies the events of a few companies for many other companies: writes them with other ids directly into the log.

An id always has the same length, as text or as bytes, so this module need not know the encoding of events.
"""

import os
import re
import secrets
import socket
import uuid
from typing import Callable, Dict, Iterator, List, Tuple
from urllib.parse import urlsplit

from .fill import Acknowledged
from .jetstream import EventLog

_UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
_IN_FLIGHT = 4_000
# Number of consecutive events of one company, and number of companies that take turns in each partition.
_RUN, _TURNS = 20, 4


class Template:
    """The recorded events of a partition, and the places of ids in them."""

    def __init__(self, log: EventLog, inbox: str):
        messages = [_message(inbox, *log.message(seq)) for seq in range(1, log.last_seq() + 1)]
        self.events = len(messages)
        self._ends = _ends(messages)
        self._bytes = b"".join(messages)
        subjects = set(re.findall(rb"^HPUB (\S+)", self._bytes, re.M))
        self._companies = {subject.split(b".")[2] for subject in subjects}
        ids = {found for subject in subjects for found in re.findall(_UUID, subject)}
        ids |= set(re.findall(rb"Waybill-Actor: user:(\S+)", self._bytes))
        self._places = [(place, known) for known in ids for place in _places(self._bytes, known)]
        self._partitions = [found.start(1) for found in re.finditer(rb"^HPUB evt\.(0)\.", self._bytes, re.M)]

    def clone(self, partition: int, partitions: int) -> List[bytes]:
        """Returns the events of new companies that are like the recorded ones, in runs."""
        made = bytearray(self._bytes)
        new: Dict[bytes, bytes] = {known: _company(partition, partitions) for known in self._companies}
        for (place, is_text), known in self._places:
            if known not in new:
                # Keep the time in a UUIDv7, so that the order of ids stays the same.
                new[known] = uuid.UUID(known.decode()).bytes[:9] + os.urandom(7)
            text = str(uuid.UUID(bytes=new[known])).encode() if is_text else new[known]
            made[place:place + len(text)] = text
        for place in self._partitions:
            made[place] = ord(str(partition))
        cuts = [0, *self._ends[_RUN - 1::_RUN], len(made)]
        return [bytes(made[begin:end]) for begin, end in zip(cuts, cuts[1:])]


def fill(url: str, log: EventLog, count: int, partitions: int, made: Callable[[int], None]) -> int:
    """Appends about `count` events to `partitions` streams. Returns their number."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        stream = connection.makefile("rb")
        stream.readline()  # INFO
        inbox = f"_INBOX.{secrets.token_hex(8)}"
        connection.sendall(
            f'CONNECT {{"verbose":false,"pedantic":false,"headers":true}}\r\nSUB {inbox} 1\r\n'.encode())
        acknowledged = Acknowledged(connection, stream)
        acknowledged.start()
        template = Template(log, inbox)
        sent, told = 0, 0
        while sent < count:
            for run, events in _turns(template, partitions):
                acknowledged.wait_for(sent + events - _IN_FLIGHT)
                connection.sendall(run)
                sent += events
            if sent - told > 100_000:
                told = sent
                made(sent)
        acknowledged.wait_for(sent)
        return sent


def _turns(template: Template, partitions: int) -> Iterator[Tuple[bytes, int]]:
    clones = [template.clone(partition, partitions) for _ in range(_TURNS) for partition in range(partitions)]
    for number, runs in enumerate(zip(*clones)):
        events = min(_RUN, template.events - number * _RUN)
        for run in runs:
            if events > 0:
                yield run, events


def _message(inbox: str, subject: str, headers: bytes, body: bytes) -> bytes:
    # A copy can keep only the expectation that its subject has no event yet.
    kept = [line for line in headers.split(b"\r\n")
            if not line.startswith(b"Nats-Msg-Id")
            and not (line.startswith(b"Nats-Expected-") and not line.endswith(b": 0"))]
    headers = b"\r\n".join(kept)
    head = f"HPUB {subject} {inbox} {len(headers)} {len(headers) + len(body)}\r\n".encode()
    return head + headers + body + b"\r\n"


def _ends(messages: List[bytes]) -> List[int]:
    ends, end = [], 0
    for message in messages:
        end += len(message)
        ends.append(end)
    return ends


def _places(text: bytes, known: bytes) -> Iterator[Tuple[int, bool]]:
    for form, is_text in ((known, True), (uuid.UUID(known.decode()).bytes, False)):
        place = text.find(form)
        while place >= 0:
            yield place, is_text
            place = text.find(form, place + 1)


def _company(partition: int, partitions: int) -> bytes:
    """Returns an id that belongs to the partition, by the same hash as in schema/src/subject.rs."""
    while True:
        company = uuid.uuid4()
        digest = 0x811C9DC5
        for byte in str(company).encode():
            digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
        if digest % partitions == partition:
            return company.bytes
