"""Reads the state of the event log through the JetStream API, over connections of its own."""

import base64
import json
import secrets
import socket
import urllib.parse
from typing import Tuple

from stacklib.console import StackError

_STREAM = "EVT-0"
_CONSUMER = "reactions"


class EventLog:
    def __init__(self, url: str):
        address = urllib.parse.urlsplit(url)
        self._address = (address.hostname, address.port)

    def last_seq(self) -> int:
        return self._ask(f"STREAM.INFO.{_STREAM}")["state"]["last_seq"]

    def stored_bytes(self) -> int:
        return self._ask(f"STREAM.INFO.{_STREAM}")["state"]["bytes"]

    def subjects(self) -> int:
        # JetStream omits the field if there are no subjects.
        return self._ask(f"STREAM.INFO.{_STREAM}")["state"].get("num_subjects", 0)

    def unfinished_reactions(self) -> int:
        """Returns the number of events whose reactions are pending or running."""
        info = self._ask(f"CONSUMER.INFO.{_STREAM}.{_CONSUMER}")
        return info["num_pending"] + info["num_ack_pending"]

    def message(self, seq: int) -> Tuple[str, bytes, bytes]:
        """Returns subject, headers and body of a stored message."""
        found = self._ask(f"STREAM.MSG.GET.{_STREAM}", json.dumps({"seq": seq}))["message"]
        return found["subject"], base64.b64decode(found.get("hdrs", "")), base64.b64decode(found.get("data", ""))

    def _ask(self, what: str, body: str = "") -> dict:
        inbox = f"_INBOX.{secrets.token_hex(8)}"
        with socket.create_connection(self._address, timeout=10) as connection:
            lines = connection.makefile("rb")
            lines.readline()  # INFO
            request = (
                'CONNECT {"verbose":false,"pedantic":false}\r\n'
                f"SUB {inbox} 1\r\nPUB $JS.API.{what} {inbox} {len(body)}\r\n{body}\r\n"
            )
            connection.sendall(request.encode())
            answer = json.loads(_message(lines))
        if "error" in answer:
            raise StackError(f"JetStream {what}: {answer['error']}")
        return answer


def _message(lines) -> bytes:
    for _ in range(10):
        line = lines.readline()
        if line.startswith(b"MSG "):
            return lines.read(int(line.split()[-1]))
        if line.startswith(b"-ERR") or not line:
            break
    raise StackError("NATS did not answer a request to the JetStream API")
